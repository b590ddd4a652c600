//! Persistent connections that stay open between runs.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::message::MessageStream;

/// A pool of idle persistent connections to one server, shared by consecutive runs. No response is
/// outstanding on any of them.
#[derive(Debug, Default)]
pub struct ConnectionPool {
    connections: Mutex<VecDeque<PooledConnection>>,
    runs: AtomicU64,
}

#[derive(Debug)]
pub(super) struct PooledConnection {
    pub(super) socket: OwnedFd,
    /// The number of requests it can still carry, at least one; `None` is unlimited. It is stored
    /// between runs: otherwise a short run would rarely complete a long connection.
    pub(super) requests_left: Option<u32>,
    pub(super) messages: MessageStream,
}

impl ConnectionPool {
    /// Creates an empty pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty pool whose runs draw other requests and lengths of connections than those
    /// of a new pool: as if this many runs had started.
    pub fn after_runs(runs: u64) -> Self {
        Self { runs: AtomicU64::new(runs), ..Self::default() }
    }

    /// Returns the number of connections in the pool.
    pub fn count(&self) -> usize {
        self.connections().len()
    }

    pub(super) fn start_run(&self) {
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of runs started so far, including the current one.
    pub(super) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// Takes the connection that has been idle longest, so that all of them are used.
    pub(super) fn take(&self) -> Option<PooledConnection> {
        self.connections().pop_front()
    }

    pub(super) fn put(&self, connection: PooledConnection) {
        self.connections().push_back(connection);
    }

    fn connections(&self) -> MutexGuard<'_, VecDeque<PooledConnection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
