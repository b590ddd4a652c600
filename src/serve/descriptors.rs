//! The limit of open files (RLIMIT_NOFILE), and the number of connections that it allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::console::eprint_line;

/// The default of `limits.connections`, if the limit of open files allows it.
const DEFAULT_MAX_CONNECTIONS: u64 = 10_000;

/// Descriptors of a process with one worker that are not connections: standard streams, signals,
/// listener and engine, with a margin.
const RESERVED_DESCRIPTORS: u64 = 32;

/// Descriptors of each further worker: listener and engine.
const RESERVED_PER_FURTHER_WORKER: u64 = 4;

/// Returns the maximum number of concurrent connections of all workers together: the configured
/// number, or what the limit of open files allows after [`serve`](super::serve) has raised it.
pub(super) fn max_connections(config: &Config) -> usize {
    match config.limits.connections {
        0 => {
            let room =
                raised_soft_limit(config).unwrap_or(u64::MAX).saturating_sub(reserved(config));
            room.clamp(1, DEFAULT_MAX_CONNECTIONS) as usize
        }
        configured => configured,
    }
}

/// Raises the soft limit to what the connections need, up to the hard limit.
pub(super) fn raise_limit(config: &Config) {
    let limit = getrlimit(Resource::Nofile);
    let current = raised_soft_limit(config);
    if current != limit.current {
        // On failure the old limit stays, and accepting pauses while descriptors run out.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum });
    }
    let configured = config.limits.connections as u64;
    if let Some(current) = current
        && current < configured.saturating_add(reserved(config))
    {
        eprint_line(format_args!(
            "warning: limits.connections is {configured}, but the limit of open files ({current}) \
             is too low for that; raise it (`ulimit -n`, LimitNOFILE=)"
        ));
    }
}

/// Returns the soft limit after it has been raised; `None` is no limit.
fn raised_soft_limit(config: &Config) -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = match config.limits.connections as u64 {
        0 => DEFAULT_MAX_CONNECTIONS,
        configured => configured,
    };
    let needed = wanted + reserved(config);
    Some(limit.current?.max(needed.min(limit.maximum.unwrap_or(u64::MAX))))
}

fn reserved(config: &Config) -> u64 {
    RESERVED_DESCRIPTORS + (config.server.workers as u64 - 1) * RESERVED_PER_FURTHER_WORKER
}
