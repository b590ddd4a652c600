//! The trait of every engine.

use crate::error::BackendError;
use crate::protocol::Protocol;
use crate::worker::{Report, WorkerOptions};

/// A server engine: it accepts connections, moves the bytes of a [`Protocol`] and closes, until its
/// [`crate::Stop`] is requested.
///
/// Each engine is compiled for each protocol that it runs, without dynamic calls.
pub trait Backend {
    /// Returns the name in words, such as `epoll, level-triggered`.
    fn name(&self) -> &'static str;

    /// Returns the names of the techniques in force: those requested, without those that this
    /// kernel does not support or that have no effect. Empty for an engine without techniques.
    fn techniques(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Serves until [`WorkerOptions::stop`] is requested and every connection is drained or closed.
    ///
    /// Must be called on the thread that called [`crate::open`], since a ring belongs to one thread
    /// (IORING_SETUP_SINGLE_ISSUER). SIGPIPE must be ignored, as Rust's runtime does.
    ///
    /// # Errors
    /// Returns an error only before the first connection, or if the kernel breaks its contract.
    /// Neither a peer nor an error on a connection ends the run.
    fn run<P: Protocol>(
        &mut self,
        options: WorkerOptions,
        protocol: P,
    ) -> Result<Report, BackendError>;
}
