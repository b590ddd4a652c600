//! Failures of requests: counts by kind, and the details of the first of each kind.

use std::fmt;

use rustix::io::Errno;
use serde::Serialize;

use super::plan::Plan;
use super::response::Fault;

/// The kinds of failure, each with its key in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(usize)]
pub enum FailureKind {
    /// The server refused the connection: no socket listens there.
    ConnectRefused,
    /// The connection was reset, possibly after the whole response.
    Reset,
    /// The response was not complete within the timeout.
    Timeout,
    /// The response was not the expected one, or not valid.
    WrongBytes,
    /// The connection ended before the response was complete.
    PrematureEof,
    /// No ephemeral port was left on any usable source address.
    PortsExhausted,
    /// Open loop: not sent within the timeout, because all connections were busy.
    NotSent,
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
        Self::PrematureEof,
        Self::PortsExhausted,
        Self::NotSent,
        Self::Other,
    ];
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::ConnectRefused => "connection refused",
            Self::Reset => "connection reset",
            Self::Timeout => "timed out",
            Self::WrongBytes => "wrong bytes",
            Self::PrematureEof => "premature end",
            Self::PortsExhausted => "no port left",
            Self::NotSent => "not sent",
            Self::Other => "other",
        })
    }
}

/// The failure of one request. Nothing is formatted while the load runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFailure {
    /// A system call failed.
    SystemCall {
        /// Name of the system call.
        operation: &'static str,
        /// Its error.
        errno: Errno,
    },
    /// The response was wrong or incomplete.
    Response(Fault),
    /// The response was complete, but the server did not close the connection in time.
    NotClosed,
    /// The request timed out.
    Timeout {
        /// Bytes of the response received.
        matched: usize,
    },
    /// No connection was free within the timeout.
    NotSent,
}

impl RequestFailure {
    /// Its kind.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Response(Fault::PrematureEof { .. }) => FailureKind::PrematureEof,
            Self::Response(_) => FailureKind::WrongBytes,
            Self::Timeout { .. } | Self::NotClosed => FailureKind::Timeout,
            Self::NotSent => FailureKind::NotSent,
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

impl From<Fault> for RequestFailure {
    fn from(fault: Fault) -> Self {
        Self::Response(fault)
    }
}

impl fmt::Display for RequestFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemCall { operation, errno } => {
                write!(formatter, "{operation}: {}", std::io::Error::from(*errno))
            }
            Self::Response(fault) => fault.fmt(formatter),
            Self::NotClosed => formatter.write_str(
                "the response was complete, but the server did not close the connection. Try \
                 --close client.",
            ),
            Self::Timeout { matched: 0 } => formatter.write_str("no byte of the response in time"),
            Self::Timeout { matched } => {
                write!(formatter, "response incomplete after {matched} bytes")
            }
            Self::NotSent => formatter.write_str("all connections were busy until the timeout"),
        }
    }
}

/// Number of failures of each kind, and the first one of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureCounts {
    counts: [u64; FailureKind::ALL.len()],
    first: [Option<RequestFailure>; FailureKind::ALL.len()],
    /// The index of the request of the plan that failed first; `None` if it had none.
    first_entry: [Option<u32>; FailureKind::ALL.len()],
}

impl FailureCounts {
    /// Counts a failure of the request of the plan with this index, if it had one.
    pub(super) fn count(&mut self, failure: RequestFailure, entry: Option<u32>) {
        let index = failure.kind() as usize;
        self.counts[index] += 1;
        if self.first[index].is_none() {
            (self.first[index], self.first_entry[index]) = (Some(failure), entry);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for index in 0..self.counts.len() {
            self.counts[index] += other.counts[index];
            if self.first[index].is_none() {
                self.first[index] = other.first[index];
                self.first_entry[index] = other.first_entry[index];
            }
        }
    }

    /// Returns the number of failures of this kind.
    pub fn of(&self, kind: FailureKind) -> u64 {
        self.counts[kind as usize]
    }

    /// Returns the number of requests that were due but not sent. These have no connection.
    pub fn not_sent(&self) -> u64 {
        self.of(FailureKind::NotSent)
    }

    /// Returns the first failure of this kind.
    pub fn first(&self, kind: FailureKind) -> Option<RequestFailure> {
        self.first[kind as usize]
    }

    /// Returns the index of the request of the plan with the first failure of this kind; `None` if
    /// it has none.
    pub fn first_entry(&self, kind: FailureKind) -> Option<u32> {
        self.first_entry[kind as usize]
    }

    /// Describes the first failure of this kind; of a list, with its request.
    pub fn first_text(&self, kind: FailureKind, plan: &Plan) -> Option<String> {
        let first = self.first(kind)?;
        Some(match self.first_entry(kind).filter(|_| plan.list.is_some()) {
            Some(entry) => format!("{}: {first}", plan.requests()[entry as usize].line()),
            None => first.to_string(),
        })
    }

    /// Returns the total number of failures.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_index_of_its_count() {
        for (index, kind) in FailureKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    #[test]
    fn errno_determines_kind() {
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
            assert_eq!(RequestFailure::SystemCall { operation: "connect", errno }.kind(), kind);
        }
    }

    #[test]
    fn first_failure_of_each_kind_is_stored() {
        let early =
            |matched| RequestFailure::Response(Fault::PrematureEof { matched, length: Some(9) });
        let (mut failures, mut others) = (FailureCounts::default(), FailureCounts::default());
        failures.count(early(1), None);
        others.count(early(2), Some(3));
        others.count(RequestFailure::NotSent, None);
        failures.add(&others);
        assert_eq!(failures.first(FailureKind::PrematureEof), Some(early(1)));
        assert_eq!(failures.first(FailureKind::NotSent), Some(RequestFailure::NotSent));
        assert_eq!((failures.of(FailureKind::PrematureEof), failures.total()), (2, 3));
        assert_eq!(failures.first(FailureKind::Reset), None);
    }
}
