//! Control of a running load from another thread: stop and progress.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::outcome::{Latencies, Tally, new_latencies};

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
    /// The number of snapshots requested; it changes with the mutex locked. Load threads read it
    /// once per wait, and add to a snapshot only when it has changed.
    snapshots_requested: AtomicU64,
    snapshot: Mutex<Option<Snapshot>>,
}

/// The state of all load threads at about the same time.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Latencies of the measured phase so far, in an open loop corrected for coordinated omission.
    pub latencies: Latencies,
    /// Requests in flight.
    pub in_flight: usize,
    /// Threads that have added their part.
    pub threads: usize,
}

impl Control {
    /// Creates a handle for one run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a handle for one run, which also ends when this flag is set.
    pub fn with_stop_flag(stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..Self::default() }
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

    /// Requests a snapshot. Each load thread adds its part after its next wait, within 100 ms,
    /// which costs it one pass over a histogram.
    pub fn request_snapshot(&self) {
        // Allocated here, so that load threads need not.
        let empty = Snapshot { latencies: new_latencies(), in_flight: 0, threads: 0 };
        let mut snapshot = self.progress.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        *snapshot = Some(empty);
        self.progress.snapshots_requested.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the snapshot requested last, once; `None` without one.
    pub fn take_snapshot(&self) -> Option<Snapshot> {
        self.progress.snapshot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Adds a thread's part if a snapshot was requested after the one numbered `seen`.
    pub(super) fn add_to_snapshot(&self, seen: &mut u64, tally: &Tally, in_flight: usize) {
        let requested = || self.progress.snapshots_requested.load(Ordering::Relaxed);
        if requested() == *seen {
            return;
        }
        let mut snapshot = self.progress.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = requested();
        if let Some(snapshot) = &mut *snapshot {
            let latencies = tally.open_loop.as_ref().map_or(&tally.uncorrected, |it| &it.corrected);
            snapshot.latencies.add(latencies).expect("all histograms have the same bounds");
            snapshot.in_flight += in_flight;
            snapshot.threads += 1;
        }
    }

    pub(super) fn set_measuring(&self) {
        self.progress.measuring.store(true, Ordering::Relaxed);
    }

    pub(super) fn add_progress(&self, completed: u64, failed: u64) {
        self.progress.completed.fetch_add(completed, Ordering::Relaxed);
        self.progress.failed.fetch_add(failed, Ordering::Relaxed);
    }
}
