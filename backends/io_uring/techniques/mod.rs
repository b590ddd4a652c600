//! What io_uring offers beyond one submission for each step, one file a technique. Each says which
//! of the ten steps it replaces, what the kernel must have for it, what it was measured to gain,
//! and when it hurts; [`Techniques`] is the set of their switches.
//!
//! What a kernel has is found out by doing it ([`super::capabilities`]), never by its version:
//! distributions carry features back, and sandboxes take them away.

pub(crate) mod bundles;
pub(crate) mod busy_poll;
pub(crate) mod deferred_task_run;
pub(crate) mod direct_descriptors;
pub(crate) mod linked_close;
pub(crate) mod minimum_wait;
pub(crate) mod multishot_accept;
pub(crate) mod multishot_receive;
mod no_submission_queue_array;
pub(crate) mod provided_buffers;
mod registered_ring;
mod setup;
pub(crate) mod shutdown;
pub(crate) mod skip_success;
mod submission_queue_polling;
mod waits;
pub(crate) mod zero_copy_send;

pub(crate) use setup::set_up;
pub(crate) use waits::Waits;

/// The switches of `io_uring:tuned`, each described in the file of its name. What is on by default
/// is what was measured to pay; what this kernel does not have is left out, and
/// [`crate::Backend::techniques`] says what is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Techniques {
    /// Completions are made when the server waits for them, and at no other time (Linux 6.1).
    pub deferred_task_run: bool,
    /// Completions do not interrupt the server (Linux 5.19); where `deferred_task_run` is not in
    /// force.
    pub cooperative_task_run: bool,
    /// One ACCEPT brings all connections (Linux 5.19).
    pub multishot_accept: bool,
    /// One RECV brings all that comes on a connection whose life has several receives
    /// (Linux 6.0). It needs `provided_buffers`.
    pub multishot_receive: bool,
    /// How many receive buffers all connections share, a power of two up to 32,768 (Linux 5.19);
    /// 0 gives each connection one of its own.
    pub provided_buffers: u16,
    /// One receive may fill several provided buffers (Linux 6.10).
    pub bundles: bool,
    /// Connections are entries of the ring's own table instead of descriptors (Linux 5.19).
    pub direct_descriptors: bool,
    /// What is part of a chain says nothing when it succeeds (Linux 5.17).
    pub skip_success: bool,
    /// What follows the answer is submitted with it (Linux 5.19).
    pub linked_close: bool,
    /// The ring is named by an index and not looked up as a descriptor (Linux 5.18).
    pub registered_ring: bool,
    /// The submission queue has no second array of indices (Linux 6.6).
    pub no_submission_queue_array: bool,
    /// How long a wait goes on for more completions, in microseconds (Linux 6.12); 0 ends it with
    /// the first.
    pub minimum_wait_us: u32,
    /// From how many bytes on an answer is sent from where it stands (Linux 6.0); 0 is never.
    pub zero_copy_send_bytes: usize,
    /// A kernel thread looks for submissions, and burns a processor (Linux 5.11).
    pub submission_queue_polling: bool,
}

impl Techniques {
    /// None of them: then it is `io_uring:single_shot`, with another way to shut down.
    pub const NONE: Self = Self {
        deferred_task_run: false,
        cooperative_task_run: false,
        multishot_accept: false,
        multishot_receive: false,
        provided_buffers: 0,
        bundles: false,
        direct_descriptors: false,
        skip_success: false,
        linked_close: false,
        registered_ring: false,
        no_submission_queue_array: false,
        minimum_wait_us: 0,
        zero_copy_send_bytes: 0,
        submission_queue_polling: false,
    };

    /// Those that measured best, which is the default.
    pub const BEST: Self = Self {
        deferred_task_run: true,
        cooperative_task_run: true,
        multishot_accept: true,
        multishot_receive: true,
        provided_buffers: 1024,
        skip_success: true,
        linked_close: true,
        ..Self::NONE
    };

    /// The names of those that are on.
    pub fn names(&self) -> Vec<&'static str> {
        let all = [
            ("deferred_task_run", self.deferred_task_run),
            ("cooperative_task_run", self.cooperative_task_run),
            ("multishot_accept", self.multishot_accept),
            ("multishot_receive", self.multishot_receive),
            ("provided_buffers", self.provided_buffers > 0),
            ("bundles", self.bundles),
            ("direct_descriptors", self.direct_descriptors),
            ("skip_success", self.skip_success),
            ("linked_close", self.linked_close),
            ("registered_ring", self.registered_ring),
            ("no_submission_queue_array", self.no_submission_queue_array),
            ("minimum_wait", self.minimum_wait_us > 0),
            ("zero_copy_send", self.zero_copy_send_bytes > 0),
            ("submission_queue_polling", self.submission_queue_polling),
        ];
        all.into_iter().filter(|&(_, is_on)| is_on).map(|(name, _)| name).collect()
    }
}

/// Each alone.
impl Techniques {
    /// Every technique by its name, in the least set that it can be in force in: alone, or with
    /// those that it does nothing without.
    pub fn each() -> Vec<(&'static str, Self)> {
        let none = Self::NONE;
        let provided = Self { provided_buffers: 8, ..none.clone() };
        let linked = Self { linked_close: true, ..none.clone() };
        let multishot_receive = Self { multishot_receive: true, ..provided.clone() };
        let polled = Self { submission_queue_polling: true, ..none.clone() };
        let no_array = Self { no_submission_queue_array: true, ..none.clone() };
        vec![
            ("deferred_task_run", Self { deferred_task_run: true, ..none.clone() }),
            ("cooperative_task_run", Self { cooperative_task_run: true, ..none.clone() }),
            ("multishot_accept", Self { multishot_accept: true, ..none.clone() }),
            ("multishot_receive", multishot_receive.clone()),
            ("provided_buffers", provided),
            ("bundles", Self { bundles: true, ..multishot_receive }),
            ("direct_descriptors", Self { direct_descriptors: true, ..none.clone() }),
            ("skip_success", Self { skip_success: true, ..linked.clone() }),
            ("linked_close", linked),
            ("registered_ring", Self { registered_ring: true, ..none.clone() }),
            ("no_submission_queue_array", no_array),
            ("minimum_wait", Self { minimum_wait_us: 1, ..none.clone() }),
            ("zero_copy_send", Self { zero_copy_send_bytes: 1, ..none }),
            ("submission_queue_polling", polled),
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
    fn each_is_in_its_own_set_and_in_none_that_does_not_need_it() {
        let each = Techniques::each();
        let all = Techniques {
            deferred_task_run: true,
            cooperative_task_run: true,
            direct_descriptors: true,
            bundles: true,
            registered_ring: true,
            no_submission_queue_array: true,
            minimum_wait_us: 1,
            zero_copy_send_bytes: 1,
            submission_queue_polling: true,
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
