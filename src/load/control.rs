//! What a run can be told and asked while it lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shared with a run. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Control {
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    completed: AtomicU64,
    failed: AtomicU64,
    measuring: AtomicBool,
}

impl Control {
    /// Nothing asked, nothing done.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the run within a tenth of a second, with the figures so far.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The flag that [`Control::stop`] raises; for a signal handler.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Whether the run has been told to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Requests answered rightly so far, after the warm-up.
    pub fn completed(&self) -> u64 {
        self.progress.completed.load(Ordering::Relaxed)
    }

    /// Requests that failed so far, after the warm-up.
    pub fn failed(&self) -> u64 {
        self.progress.failed.load(Ordering::Relaxed)
    }

    /// Whether the warm-up is over.
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
