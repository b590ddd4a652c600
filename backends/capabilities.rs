//! Probes for the io_uring features that this kernel offers to this process.
//!
//! Each probe sets up its own ring and sockets, submits the operation, and checks its *effect*.
//! Probes never read the kernel version: distributions backport features. Nor do they trust that
//! an operation was accepted: some kernels ignore flags that they do not know. A probe waits at
//! most two seconds for a completion, and closes everything that it opened.
//!
//! A probe is a function, such as [`accept::multishot`]. [`all`] lists every probe, and
//! [`Capabilities::probe`] runs them all.
//!
//! ```
//! use ringpoll_backends::capabilities::{Capabilities, accept};
//!
//! if let Err(error) = accept::multishot() {
//!     println!("no multishot accept: {error}");
//! }
//! let found = Capabilities::probe();
//! println!("{} of {}", found.iter().filter(|(_, it)| it.is_ok()).count(), found.iter().count());
//! ```

pub mod accept;
pub mod buffers;
pub mod calls;
pub mod cancel;
pub mod close;
pub mod files;
pub mod links;
pub mod messages;
mod probe_ring;
pub mod receive;
pub mod send;
pub mod setup;
mod sockets;
mod sqe;
#[cfg(test)]
mod tests;
pub mod timers;
pub mod waiting;

use std::fmt;
use std::io;

/// Result of a probe: `Ok` if the kernel has the capability.
pub type ProbeResult<T = ()> = Result<T, ProbeError>;

/// Reason why a probe failed, so that its capability is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// A system call or an operation failed.
    Refused {
        /// The call or operation, such as `IORING_OP_ACCEPT`.
        operation: &'static str,
        /// The errno, as in errno(3).
        errno: i32,
    },
    /// The kernel accepted the operation, but its effect was not the documented one.
    Unexpected {
        /// Description of the observed effect.
        observed: String,
    },
}

impl ProbeError {
    /// Returns the errno of a failed call or operation.
    pub const fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Unexpected { .. } => None,
        }
    }

    fn refused(operation: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| match error.raw_os_error() {
            Some(errno) => Self::Refused { operation, errno },
            None => Self::unexpected(format!("{operation}: {error}")),
        }
    }

    fn unexpected(instead: impl Into<String>) -> Self {
        Self::Unexpected { observed: instead.into() }
    }
}

impl fmt::Display for ProbeError {
    /// Writes `IORING_OP_ACCEPT: Invalid argument (os error 22)`, or the observed effect.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { operation, errno } => {
                write!(formatter, "{operation}: {}", io::Error::from_raw_os_error(*errno))
            }
            Self::Unexpected { observed: instead } => formatter.write_str(instead),
        }
    }
}

impl std::error::Error for ProbeError {}

/// Returns an error with `observed` unless `condition` holds.
fn require(condition: bool, observed: impl Into<String>) -> ProbeResult {
    if condition { Ok(()) } else { Err(ProbeError::unexpected(observed)) }
}

/// Returns an error unless a call failed with `errno`.
fn expect_errno<T>(result: io::Result<T>, call: &'static str, errno: i32) -> ProbeResult {
    match result {
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        Err(error) => Err(ProbeError::refused(call)(error)),
        Ok(_) => Err(ProbeError::unexpected(format!("{call} succeeded"))),
    }
}

/// A capability and the probe that tests for it.
#[derive(Clone, Copy, Debug)]
pub struct Capability {
    /// Name in lower case with `_` between words. It stays the same in later releases.
    pub name: &'static str,
    /// Description, with flags and operations as in the manual pages.
    pub meaning: &'static str,
    /// Tests for the capability. Results are not cached.
    pub probe: fn() -> ProbeResult,
}

/// Returns an entry of a table of capabilities.
const fn probe(
    name: &'static str,
    meaning: &'static str,
    probe: fn() -> ProbeResult,
) -> Capability {
    Capability { name, meaning, probe }
}

/// Group whose probes need no ring.
const SYSTEM_CALLS: &str = "system calls";

/// All capabilities, by group.
pub const GROUPS: &[(&str, &[Capability])] = &[
    (SYSTEM_CALLS, calls::ALL),
    ("setup", setup::ALL),
    ("waiting", waiting::ALL),
    ("accept", accept::ALL),
    ("receive", receive::ALL),
    ("buffers", buffers::ALL),
    ("send", send::ALL),
    ("shutdown and close", close::ALL),
    ("files", files::ALL),
    ("links", links::ALL),
    ("timers and polls", timers::ALL),
    ("cancel", cancel::ALL),
    ("messages", messages::ALL),
];

/// Iterates over all capabilities in the order of [`GROUPS`].
pub fn all() -> impl Iterator<Item = &'static Capability> {
    GROUPS.iter().flat_map(|(_, group)| group.iter())
}

/// Results of all probes.
#[derive(Clone, Debug)]
pub struct Capabilities {
    results: Vec<(&'static Capability, ProbeResult)>,
}

impl Capabilities {
    /// Runs all probes.
    ///
    /// If no ring can be set up, every capability but the system calls gets that error.
    pub fn probe() -> Self {
        let refused = setup::ring().err();
        let mut results = Vec::new();
        for (name, group) in GROUPS {
            for capability in *group {
                let result = match &refused {
                    Some(error) if *name != SYSTEM_CALLS => Err(error.clone()),
                    _ => (capability.probe)(),
                };
                results.push((capability, result));
            }
        }
        Self { results }
    }

    /// Returns the result for the capability `name`, or `None` if there is no such capability.
    pub fn get(&self, name: &str) -> Option<&ProbeResult> {
        self.iter().find(|(capability, _)| capability.name == name).map(|(_, result)| result)
    }

    /// Returns true if the kernel has the capability `name`.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(Result::is_ok)
    }

    /// Iterates over all capabilities and their results in the order of [`GROUPS`].
    pub fn iter(&self) -> impl Iterator<Item = (&'static Capability, &ProbeResult)> {
        self.results.iter().map(|(capability, result)| (*capability, result))
    }
}
