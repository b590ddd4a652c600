//! Time in nanoseconds since the start of a phase.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A clock that starts at 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Its start in CLOCK_MONOTONIC.
    start_ns: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start_ns: monotonic_ns() }
    }

    /// Returns the time. This makes no system call where the vDSO implements clock_gettime.
    pub(super) fn now_ns(self) -> u64 {
        monotonic_ns() - self.start_ns
    }

    /// Converts a time to CLOCK_MONOTONIC.
    pub(super) fn to_monotonic(self, at_ns: u64) -> Timespec {
        let at = Duration::from_nanos(self.start_ns.saturating_add(at_ns));
        Timespec { tv_sec: at.as_secs() as i64, tv_nsec: i64::from(at.subsec_nanos()) }
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
