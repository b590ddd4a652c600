//! What can go wrong with a request, counted by kind, with the first of each kind in full.

use std::fmt;

use rustix::io::Errno;

use super::answer::Mismatch;
use super::exchange::Fault;

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum FailureKind {
    /// Nobody listens there.
    ConnectRefused,
    /// The peer, or something between, reset the connection, even if the whole answer had come.
    Reset,
    /// No connection, or no end of the answer, within the time allowed.
    Timeout,
    /// A byte of the answer was not what it must be, or one too many.
    WrongBytes,
    /// The connection ended before the answer did.
    EarlyEnd,
    /// No free port was left to connect from, on any address that may be used.
    PortsExhausted,
    /// Open loop: due, and not begun in time, because all connections were busy.
    NeverBegun,
    /// Anything else.
    Other,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ConnectRefused,
        Self::Reset,
        Self::Timeout,
        Self::WrongBytes,
        Self::EarlyEnd,
        Self::PortsExhausted,
        Self::NeverBegun,
        Self::Other,
    ];

    /// Its name for machines: a key of the JSON form.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectRefused => "connect_refused",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::WrongBytes => "wrong_bytes",
            Self::EarlyEnd => "early_end",
            Self::PortsExhausted => "ports_exhausted",
            Self::NeverBegun => "never_begun",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::ConnectRefused => "connection refused",
            Self::Reset => "connection reset",
            Self::Timeout => "timed out",
            Self::WrongBytes => "wrong bytes",
            Self::EarlyEnd => "ended early",
            Self::PortsExhausted => "no port left",
            Self::NeverBegun => "never begun",
            Self::Other => "other",
        })
    }
}

/// One failure. Nothing is formatted until somebody reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A system call failed.
    SystemCall {
        /// Which.
        operation: &'static str,
        /// How.
        errno: Errno,
    },
    /// A byte was wrong.
    WrongBytes(Mismatch),
    /// The answer was cut short, or came before the request was whole.
    EarlyEnd {
        /// How many bytes had come.
        matched: usize,
        /// How many should have.
        length: usize,
    },
    /// It took too long.
    Timeout {
        /// How many bytes of the answer had come.
        matched: usize,
    },
    /// It was due for too long without a free connection.
    NeverBegun,
}

impl Failure {
    /// Which kind it is.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::WrongBytes(_) => FailureKind::WrongBytes,
            Self::EarlyEnd { .. } => FailureKind::EarlyEnd,
            Self::Timeout { .. } => FailureKind::Timeout,
            Self::NeverBegun => FailureKind::NeverBegun,
            Self::SystemCall { errno, .. } => match *errno {
                Errno::CONNREFUSED => FailureKind::ConnectRefused,
                Errno::CONNRESET | Errno::PIPE => FailureKind::Reset,
                Errno::TIMEDOUT => FailureKind::Timeout,
                Errno::ADDRNOTAVAIL | Errno::ADDRINUSE => FailureKind::PortsExhausted,
                _ => FailureKind::Other,
            },
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::WrongBytes(mismatch) => Self::WrongBytes(mismatch),
            Fault::EarlyEnd { matched, length } => Self::EarlyEnd { matched, length },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemCall { operation, errno } => {
                write!(formatter, "{operation}: {}", std::io::Error::from(*errno))
            }
            Self::WrongBytes(mismatch) => mismatch.fmt(formatter),
            Self::EarlyEnd { matched, length } if matched == length => {
                formatter.write_str("answered before the request was whole")
            }
            Self::EarlyEnd { matched, length } => {
                write!(formatter, "ended after {matched} of {length} bytes")
            }
            Self::Timeout { matched: 0 } => formatter.write_str("no byte of an answer in time"),
            Self::Timeout { matched } => {
                write!(formatter, "no end of the answer in time, after {matched} bytes")
            }
            Self::NeverBegun => formatter.write_str("all connections were busy for too long"),
        }
    }
}

/// How many failures there were of each kind, and the first of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    counts: [u64; FailureKind::ALL.len()],
    first: [Option<Failure>; FailureKind::ALL.len()],
}

impl Failures {
    pub(super) fn count(&mut self, failure: Failure) {
        let index = failure.kind() as usize;
        self.counts[index] += 1;
        self.first[index].get_or_insert(failure);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for index in 0..self.counts.len() {
            self.counts[index] += other.counts[index];
            self.first[index] = self.first[index].or(other.first[index]);
        }
    }

    /// How many of that kind.
    pub fn of(&self, kind: FailureKind) -> u64 {
        self.counts[kind as usize]
    }

    /// How many requests were due and never begun: the failures without a connection.
    pub fn never_begun(&self) -> u64 {
        self.of(FailureKind::NeverBegun)
    }

    /// The first of that kind.
    pub fn first(&self, kind: FailureKind) -> Option<Failure> {
        self.first[kind as usize]
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_where_they_are_counted() {
        for (index, kind) in FailureKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    #[test]
    fn each_errno_is_of_its_kind() {
        for (errno, kind) in [
            (Errno::CONNREFUSED, FailureKind::ConnectRefused),
            (Errno::CONNRESET, FailureKind::Reset),
            (Errno::PIPE, FailureKind::Reset),
            (Errno::TIMEDOUT, FailureKind::Timeout),
            (Errno::ADDRNOTAVAIL, FailureKind::PortsExhausted),
            (Errno::ADDRINUSE, FailureKind::PortsExhausted),
            (Errno::MFILE, FailureKind::Other),
            (Errno::HOSTUNREACH, FailureKind::Other),
        ] {
            assert_eq!(Failure::SystemCall { operation: "connect", errno }.kind(), kind);
        }
    }

    #[test]
    fn the_first_of_each_kind_is_kept() {
        let early = |matched| Failure::EarlyEnd { matched, length: 9 };
        let (mut failures, mut others) = (Failures::default(), Failures::default());
        failures.count(early(1));
        others.count(early(2));
        others.count(Failure::NeverBegun);
        failures.add(&others);
        assert_eq!(failures.first(FailureKind::EarlyEnd), Some(early(1)));
        assert_eq!(failures.first(FailureKind::NeverBegun), Some(Failure::NeverBegun));
        assert_eq!((failures.of(FailureKind::EarlyEnd), failures.total()), (2, 3));
        assert_eq!(failures.first(FailureKind::Reset), None);
    }
}
