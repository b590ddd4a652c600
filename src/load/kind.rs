//! The loads by name.

use std::fmt;

use clap::ValueEnum;
use rustix::process::{Resource, getrlimit};

use super::life::Life;

/// A load by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoadKind {
    /// One connection a request.
    Churn,
    /// Persistent connections, one request under way on each.
    KeepAlive,
    /// Persistent connections, --depth requests under way on each; the answers come in order.
    Pipelined,
    /// One connection a request, answered with a body of --bytes.
    Large,
    /// One connection a request, beside --idle connections that say nothing.
    Idle,
    /// Four of five connections carry one request, the fifth 16 one after the other, as drawn by
    /// --seed: a fifth of the requests has a connection of its own. All have the same body, since
    /// a server has one.
    Mixed,
}

/// Requests under way on each connection of [`LoadKind::Pipelined`] where nobody says.
pub(crate) const DEFAULT_DEPTH: usize = 16;

/// The body of [`LoadKind::Large`] where nobody says: 1 MiB.
pub(crate) const DEFAULT_LARGE_BYTES: u64 = 1024 * 1024;

/// The idle connections of [`LoadKind::Idle`] to each server where nobody says, if there are
/// descriptors for them.
const DEFAULT_IDLE: u64 = 1000;

impl LoadKind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Churn => "churn",
            Self::KeepAlive => "keep-alive",
            Self::Pipelined => "pipelined",
            Self::Large => "large",
            Self::Idle => "idle",
            Self::Mixed => "mixed",
        }
    }

    /// What its connections are like.
    pub fn life(self, depth: usize, seed: u64) -> Life {
        match self {
            Self::Churn | Self::Large | Self::Idle => Life::OneRequest,
            Self::KeepAlive => Life::Persistent { depth: 1 },
            Self::Pipelined => Life::Persistent { depth },
            Self::Mixed => Life::Mixed { seed },
        }
    }

    /// How many connections to each of `servers` are idle beside it where nobody says: half of the
    /// descriptors are for the rest.
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
    fn the_command_line_knows_them_by_their_names() {
        for kind in LoadKind::value_variants() {
            assert_eq!(LoadKind::from_str(kind.name(), false), Ok(*kind));
        }
    }
}
