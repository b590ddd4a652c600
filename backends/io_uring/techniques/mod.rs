//! io_uring features beyond one SQE for each step, one file for each technique. It states what the
//! technique replaces, which kernel it needs, and when it helps and hurts. [`Techniques`] turns
//! them on and off.
//!
//! Probes ([`super::capabilities`]), not the version, determine which of them a kernel supports:
//! distributions backport features, and sandboxes remove them.

pub(crate) mod bundles;
pub(crate) mod busy_poll;
pub(crate) mod cqe_skip_success;
pub(crate) mod defer_taskrun;
pub(crate) mod direct_descriptors;
pub(crate) mod linked_close;
pub(crate) mod min_wait;
pub(crate) mod multishot_accept;
pub(crate) mod multishot_receive;
mod no_sqarray;
pub(crate) mod provided_buffers;
mod registered_ring;
pub(crate) mod send_zc;
mod setup;
pub(crate) mod shutdown;
mod sqpoll;
mod wait_policy;

pub(crate) use setup::set_up;
pub(crate) use wait_policy::WaitPolicy;

/// The techniques of `io_uring:tuned`. Those that paid in measurements are on by default. What this
/// kernel does not support, or what has no effect, is disabled: `linked_close` and
/// `cqe_skip_success` need a [`crate::ShutdownBy`] other than `Call`, the default.
/// [`crate::Backend::techniques`] returns the techniques in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Techniques {
    /// Runs task work only when the server waits: IORING_SETUP_DEFER_TASKRUN (Linux 6.1).
    pub defer_taskrun: bool,
    /// Runs task work without interrupting the server: IORING_SETUP_COOP_TASKRUN (Linux 5.19).
    /// Used if `defer_taskrun` is not in effect.
    pub coop_taskrun: bool,
    /// Accepts all connections with one ACCEPT (Linux 5.19).
    pub multishot_accept: bool,
    /// Receives all bytes of a keep-alive connection with one RECV (Linux 6.0). Needs
    /// `provided_buffers`.
    pub multishot_receive: bool,
    /// Number of receive buffers that all connections share, a power of two up to 32,768
    /// (Linux 5.19); 0 gives each connection its own.
    pub provided_buffers: u16,
    /// Fills several provided buffers with one receive (Linux 6.10). Needs `multishot_receive`.
    pub bundles: bool,
    /// Keeps connections in the ring's file table, not as descriptors (Linux 5.19).
    pub direct_descriptors: bool,
    /// Skips the CQE of a SEND that succeeds (Linux 5.17). Needs `linked_close`.
    pub cqe_skip_success: bool,
    /// Submits SHUTDOWN and CLOSE linked to the SEND (Linux 5.19).
    pub linked_close: bool,
    /// Enters the kernel with a registered index instead of the ring's descriptor (Linux 5.18).
    pub registered_ring: bool,
    /// Sets up the submission queue without its index array (Linux 6.6).
    pub no_sqarray: bool,
    /// Time for which a wait collects completions, in microseconds (Linux 6.12); 0 ends the wait
    /// with the first completion.
    pub min_wait_us: u32,
    /// Minimum response size for zero-copy send, in bytes (Linux 6.0); 0 turns it off.
    pub send_zc_min_bytes: usize,
    /// Lets a kernel thread poll the submission queue, which uses a CPU (Linux 5.11).
    pub sqpoll: bool,
}

impl Techniques {
    /// No techniques: as `io_uring:single_shot`, except for the shutdown.
    pub const NONE: Self = Self {
        defer_taskrun: false,
        coop_taskrun: false,
        multishot_accept: false,
        multishot_receive: false,
        provided_buffers: 0,
        bundles: false,
        direct_descriptors: false,
        cqe_skip_success: false,
        linked_close: false,
        registered_ring: false,
        no_sqarray: false,
        min_wait_us: 0,
        send_zc_min_bytes: 0,
        sqpoll: false,
    };

    /// The set that measured best; the default.
    pub const BEST: Self = Self {
        defer_taskrun: true,
        coop_taskrun: true,
        multishot_accept: true,
        multishot_receive: true,
        provided_buffers: 1024,
        cqe_skip_success: true,
        linked_close: true,
        ..Self::NONE
    };

    /// Returns the names of the techniques that are on.
    pub fn names(&self) -> Vec<&'static str> {
        let all = [
            ("defer_taskrun", self.defer_taskrun),
            ("coop_taskrun", self.coop_taskrun),
            ("multishot_accept", self.multishot_accept),
            ("multishot_receive", self.multishot_receive),
            ("provided_buffers", self.provided_buffers > 0),
            ("bundles", self.bundles),
            ("direct_descriptors", self.direct_descriptors),
            ("cqe_skip_success", self.cqe_skip_success),
            ("linked_close", self.linked_close),
            ("registered_ring", self.registered_ring),
            ("no_sqarray", self.no_sqarray),
            ("min_wait", self.min_wait_us > 0),
            ("send_zc", self.send_zc_min_bytes > 0),
            ("sqpoll", self.sqpoll),
        ];
        all.into_iter().filter(|&(_, is_on)| is_on).map(|(name, _)| name).collect()
    }
}

impl Techniques {
    /// Returns each technique's name with the smallest set in which it has an effect: alone or with
    /// those that it needs.
    pub fn each() -> Vec<(&'static str, Self)> {
        let none = Self::NONE;
        let provided = Self { provided_buffers: 8, ..none.clone() };
        let linked = Self { linked_close: true, ..none.clone() };
        let multishot_receive = Self { multishot_receive: true, ..provided.clone() };
        vec![
            ("defer_taskrun", Self { defer_taskrun: true, ..none.clone() }),
            ("coop_taskrun", Self { coop_taskrun: true, ..none.clone() }),
            ("multishot_accept", Self { multishot_accept: true, ..none.clone() }),
            ("multishot_receive", multishot_receive.clone()),
            ("provided_buffers", provided),
            ("bundles", Self { bundles: true, ..multishot_receive }),
            ("direct_descriptors", Self { direct_descriptors: true, ..none.clone() }),
            ("cqe_skip_success", Self { cqe_skip_success: true, ..linked.clone() }),
            ("linked_close", linked),
            ("registered_ring", Self { registered_ring: true, ..none.clone() }),
            ("no_sqarray", Self { no_sqarray: true, ..none.clone() }),
            ("min_wait", Self { min_wait_us: 1, ..none.clone() }),
            ("send_zc", Self { send_zc_min_bytes: 1, ..none.clone() }),
            ("sqpoll", Self { sqpoll: true, ..none }),
        ]
    }
}

impl Default for Techniques {
    fn default() -> Self {
        Self::BEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_has_its_technique_and_at_most_two_others() {
        let each = Techniques::each();
        let all = Techniques {
            defer_taskrun: true,
            coop_taskrun: true,
            direct_descriptors: true,
            bundles: true,
            registered_ring: true,
            no_sqarray: true,
            min_wait_us: 1,
            send_zc_min_bytes: 1,
            sqpoll: true,
            ..Techniques::BEST
        };
        let names: Vec<_> = each.iter().map(|&(name, _)| name).collect();
        assert_eq!(names, all.names());
        for (name, set) in &each {
            assert!(set.names().contains(name), "{name}");
            assert!(set.names().len() <= 3, "{name}");
        }
        assert_eq!(Techniques::NONE.names(), [""; 0]);
    }
}
