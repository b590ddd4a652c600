//! What the io_uring of this kernel can do for this process, found by doing it.
//!
//! Every answer comes from a small trial: a ring of its own, a pair of sockets, the operation,
//! and a look at its *effect*. No version is read, and nothing that a kernel says of itself is
//! believed alone: kernels take flags that they do not know, and distributions carry features
//! back. Each trial waits for two seconds at the most for what is bound to come at once, and
//! leaves nothing open.
//!
//! A single question is a function, such as [`accept::multishot`]; all of them in the order in
//! which one reads them are [`all`], and [`Capabilities::probe`] asks them all.

pub mod accept;
mod ask;
pub mod buffers;
pub mod cancel;
pub mod close;
pub mod files;
pub mod links;
pub mod messages;
pub mod receive;
pub mod send;
pub mod setup;
mod sockets;
#[cfg(test)]
mod tests;
pub mod timers;
mod trial;
pub mod waiting;

use std::fmt;
use std::io;

/// What was found: `Ok` is yes, the rest is why not.
pub type Answer = Result<(), Missing>;

/// Why something cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The kernel refused with an errno.
    Refused {
        /// What it refused, such as `IORING_OP_ACCEPT`.
        operation: &'static str,
        /// The errno, as in errno(3).
        errno: i32,
    },
    /// The kernel took it, and then something else happened than what was asked for.
    Otherwise {
        /// What happened, in words.
        instead: String,
    },
}

impl Missing {
    /// The errno, where there was one.
    pub const fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Otherwise { .. } => None,
        }
    }

    fn refused(operation: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| match error.raw_os_error() {
            Some(errno) => Self::Refused { operation, errno },
            None => Self::otherwise(format!("{operation}: {error}")),
        }
    }

    fn otherwise(instead: impl Into<String>) -> Self {
        Self::Otherwise { instead: instead.into() }
    }
}

impl fmt::Display for Missing {
    /// `IORING_OP_ACCEPT: Invalid argument (os error 22)`, or what happened instead.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { operation, errno } => {
                write!(formatter, "{operation}: {}", io::Error::from_raw_os_error(*errno))
            }
            Self::Otherwise { instead } => formatter.write_str(instead),
        }
    }
}

impl std::error::Error for Missing {}

/// Nothing but what was asked for will do.
fn require(happened: bool, instead: impl Into<String>) -> Answer {
    if happened { Ok(()) } else { Err(Missing::otherwise(instead)) }
}

/// One question that can be asked of the kernel.
#[derive(Clone, Copy)]
pub struct Capability {
    /// Its name, which never changes: lower case, words joined by `_`.
    pub name: &'static str,
    /// What it is, with the flags and operations as the manual pages name them.
    pub meaning: &'static str,
    /// Asks the kernel, each time anew.
    pub probe: fn() -> Answer,
}

impl fmt::Debug for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Capability").field(&self.name).finish()
    }
}

const fn capability(
    name: &'static str,
    meaning: &'static str,
    probe: fn() -> Answer,
) -> Capability {
    Capability { name, meaning, probe }
}

/// All questions, by group and in the order in which one reads them.
pub const GROUPS: &[(&str, &[Capability])] = &[
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

/// All questions.
pub fn all() -> impl Iterator<Item = &'static Capability> {
    GROUPS.iter().flat_map(|(_, group)| group.iter())
}

/// All answers.
#[derive(Clone, Debug)]
pub struct Capabilities {
    answers: Vec<(&'static Capability, Answer)>,
}

impl Capabilities {
    /// Asks everything: some seventy small trials, a few milliseconds in all, unless a kernel
    /// leaves out what it has promised.
    ///
    /// Where no ring can be made at all, one refusal answers everything, and nothing is tried.
    pub fn probe() -> Self {
        let refused = setup::ring().err();
        let answer = |capability: &Capability| match &refused {
            Some(missing) => Err(missing.clone()),
            None => (capability.probe)(),
        };
        Self { answers: all().map(|capability| (capability, answer(capability))).collect() }
    }

    /// The answer to the question of that name; `None` if there is no such question.
    pub fn get(&self, name: &str) -> Option<&Answer> {
        self.iter().find(|(capability, _)| capability.name == name).map(|(_, answer)| answer)
    }

    /// Whether the question of that name was answered with yes.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(Result::is_ok)
    }

    /// All questions with their answers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Capability, &Answer)> {
        self.answers.iter().map(|(capability, answer)| (*capability, answer))
    }
}
