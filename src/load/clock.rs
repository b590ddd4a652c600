//! The time, as nanoseconds since a beginning.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Counts from when it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// As `CLOCK_MONOTONIC` counts.
    beginning_ns: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { beginning_ns: monotonic_ns() }
    }

    /// No system call: the kernel's page in this process knows it.
    pub(super) fn now_ns(self) -> u64 {
        monotonic_ns() - self.beginning_ns
    }

    /// The same moment as timers of `CLOCK_MONOTONIC` count it.
    pub(super) fn as_monotonic(self, at_ns: u64) -> Timespec {
        let at = Duration::from_nanos(self.beginning_ns.saturating_add(at_ns));
        Timespec { tv_sec: at.as_secs() as i64, tv_nsec: i64::from(at.subsec_nanos()) }
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
