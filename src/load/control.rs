//! Control of a running load from another thread: stop and progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A handle to a running load. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Control {
    stop: Arc<AtomicBool>,
    progress: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    completed: AtomicU64,
    failed: AtomicU64,
    measuring: AtomicBool,
}

impl Control {
    /// Creates a handle for one run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the run within 100 ms. Its outcome covers the time until then.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Returns the flag that [`Control::stop`] sets, for a signal handler.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Returns true after [`Control::stop`].
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns the requests completed so far in the measured phase.
    pub fn completed(&self) -> u64 {
        self.progress.completed.load(Ordering::Relaxed)
    }

    /// Returns the requests failed so far in the measured phase.
    pub fn failed(&self) -> u64 {
        self.progress.failed.load(Ordering::Relaxed)
    }

    /// Returns true when the warm-up is over.
    pub fn is_measuring(&self) -> bool {
        self.progress.measuring.load(Ordering::Relaxed)
    }

    pub(super) fn set_measuring(&self) {
        self.progress.measuring.store(true, Ordering::Relaxed);
    }

    pub(super) fn add_progress(&self, completed: u64, failed: u64) {
        self.progress.completed.fetch_add(completed, Ordering::Relaxed);
        self.progress.failed.fetch_add(failed, Ordering::Relaxed);
    }
}
