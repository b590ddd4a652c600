//! Connections that outlast a run, for the next one to the same server.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Connections that persist, between runs. All of them are to one server, which has answered on
/// each and owes nothing.
#[derive(Debug, Default)]
pub struct KeptConnections {
    connections: Mutex<VecDeque<Kept>>,
    runs: AtomicU64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) socket: OwnedFd,
    /// How many requests it can still carry, at least one; `None` is no limit. Short runs would
    /// hardly ever have a long life in them if each began anew.
    pub(super) left: Option<u32>,
}

impl KeptConnections {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.connections().len()
    }

    pub(super) fn begin_run(&self) {
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    /// How many runs have begun, the one at hand among them.
    pub(super) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// The one that has waited longest: all have their turn, however few a run needs.
    pub(super) fn take(&self) -> Option<Kept> {
        self.connections().pop_front()
    }

    pub(super) fn put(&self, kept: Kept) {
        self.connections().push_back(kept);
    }

    fn connections(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
