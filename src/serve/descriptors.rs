//! The limit of descriptors: raised as far as it is needed, and what it has room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::console::say;

/// How many connections there can be where nobody says and descriptors abound.
const MOST_BY_DEFAULT: u64 = 10_000;

/// What one worker's process needs beside connections: standard streams, signals, the listener,
/// the engine, and some to spare.
const KEPT_BACK: u64 = 32;

/// What each further worker adds to it.
const KEPT_BACK_EACH_WORKER: u64 = 4;

/// Connections at the same time, of all workers together: what is configured, or what the limit
/// of descriptors, raised as [`serve`](super::serve) raises it, has room for.
pub fn connections_in_force(config: &Config) -> usize {
    match config.limits.connections {
        0 => {
            let room = within_reach(config).unwrap_or(u64::MAX).saturating_sub(kept_back(config));
            room.clamp(1, MOST_BY_DEFAULT) as usize
        }
        configured => configured,
    }
}

/// Raises the soft limit to what the connections need, if the hard one allows it.
pub(super) fn raise_limit(config: &Config) {
    let limit = getrlimit(Resource::Nofile);
    let current = within_reach(config);
    if current != limit.current {
        // If it fails the old limit stays, and accepting pauses where descriptors run out.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum });
    }
    let configured = config.limits.connections as u64;
    if let Some(current) = current
        && current < configured.saturating_add(kept_back(config))
    {
        say(format_args!(
            "limits.connections is {configured}, but the limit of descriptors, {current}, has no \
             room for so many; raise it (`ulimit -n`, LimitNOFILE=)"
        ));
    }
}

/// The soft limit after it has been raised; `None` is no limit.
fn within_reach(config: &Config) -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = match config.limits.connections as u64 {
        0 => MOST_BY_DEFAULT,
        configured => configured,
    };
    let needed = wanted + kept_back(config);
    Some(limit.current?.max(needed.min(limit.maximum.unwrap_or(u64::MAX))))
}

fn kept_back(config: &Config) -> u64 {
    KEPT_BACK + (config.server.workers as u64 - 1) * KEPT_BACK_EACH_WORKER
}
