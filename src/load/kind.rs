//! The kinds of load.

use std::fmt;

use clap::ValueEnum;
use rustix::process::{Resource, getrlimit};

use super::lifetime::Lifetime;

/// A kind of load, named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoadKind {
    /// One request per connection
    Churn,
    /// Persistent connections with one request in flight on each
    KeepAlive,
    /// Persistent connections with --depth requests in flight on each
    Pipelined,
    /// One request per connection; the response body has --bytes
    Large,
    /// One request per connection, with --idle idle connections in addition
    Idle,
    /// Persistent connections: 4 of 5 carry one request, the fifth 16 in sequence, in a random
    /// order given by --seed
    Mixed,
    /// Echo server: messages of --message-bytes over persistent connections, --depth in flight on
    /// each (neper tcp_rr, netperf TCP_RR)
    Rr,
    /// Echo server: connect, one message of --message-bytes and its echo, close (neper tcp_crr,
    /// netperf TCP_CRR)
    Crr,
    /// Bytes in the --direction without pause, in messages of --message-bytes: to a discard server,
    /// from a chargen server, or both with an echo server (neper tcp_stream; netperf TCP_STREAM,
    /// TCP_MAERTS)
    Stream,
}

/// Default number of requests in flight on each connection of [`LoadKind::Pipelined`] and
/// [`LoadKind::Stream`].
const DEFAULT_DEPTH: usize = 16;

/// Default length of a message in bytes of [`LoadKind::Stream`]: one receive.
const DEFAULT_STREAM_MESSAGE_BYTES: usize = 64 * 1024;

/// Default length of the response body of [`LoadKind::Large`]: 1 MiB.
pub(crate) const DEFAULT_LARGE_BYTES: u64 = 1024 * 1024;

/// Default number of idle connections to each server for [`LoadKind::Idle`], if the descriptor
/// limit allows it.
const DEFAULT_IDLE: u64 = 1000;

impl LoadKind {
    /// Returns its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Churn => "churn",
            Self::KeepAlive => "keep-alive",
            Self::Pipelined => "pipelined",
            Self::Large => "large",
            Self::Idle => "idle",
            Self::Mixed => "mixed",
            Self::Rr => "rr",
            Self::Crr => "crr",
            Self::Stream => "stream",
        }
    }

    /// Returns true if the load has messages instead of HTTP requests.
    pub const fn has_messages(self) -> bool {
        matches!(self, Self::Rr | Self::Crr | Self::Stream)
    }

    /// Returns the default length of a message in bytes.
    pub const fn default_message_bytes(self) -> usize {
        match self {
            Self::Stream => DEFAULT_STREAM_MESSAGE_BYTES,
            // As neper and netperf.
            _ => 1,
        }
    }

    /// Returns the default number of requests in flight on each connection; 0 if the load does not
    /// let the user choose it.
    pub const fn default_depth(self) -> usize {
        match self {
            Self::Pipelined | Self::Stream => DEFAULT_DEPTH,
            Self::Rr => 1,
            _ => 0,
        }
    }

    /// Returns the number of requests on each connection.
    pub fn lifetime(self, depth: usize, seed: u64) -> Lifetime {
        match self {
            Self::Churn | Self::Large | Self::Idle | Self::Crr => Lifetime::OneRequest,
            Self::KeepAlive => Lifetime::Persistent { depth: 1 },
            Self::Pipelined | Self::Rr | Self::Stream => Lifetime::Persistent { depth },
            Self::Mixed => Lifetime::Mixed { seed },
        }
    }

    /// Returns the default number of idle connections to each of `servers`. At most half of the
    /// descriptors are used for them.
    pub fn default_idle(self, servers: usize) -> usize {
        if self != Self::Idle {
            return 0;
        }
        let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        DEFAULT_IDLE.min(limit / 2 / servers as u64) as usize
    }
}

impl fmt::Display for LoadKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_that_on_the_command_line() {
        for kind in LoadKind::value_variants() {
            assert_eq!(LoadKind::from_str(kind.name(), false), Ok(*kind));
        }
    }
}
