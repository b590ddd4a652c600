//! Connections that outlast a run, for the next one to the same server.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

/// Connections that persist, between runs. All of them are to one server, which has answered on
/// each and owes nothing.
#[derive(Debug, Default)]
pub struct KeptConnections {
    sockets: Mutex<Vec<OwnedFd>>,
}

impl KeptConnections {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sockets().len()
    }

    pub(super) fn take(&self) -> Option<OwnedFd> {
        self.sockets().pop()
    }

    pub(super) fn put(&self, socket: OwnedFd) {
        self.sockets().push(socket);
    }

    fn sockets(&self) -> std::sync::MutexGuard<'_, Vec<OwnedFd>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
