//! The clock of the event loops.

// Tests replace the kernel by a simulated one.
#[cfg(any(test, feature = "simulation"))]
use crate::simulation::calls as libc;

/// Returns the milliseconds since boot, with the resolution of the kernel's timer tick.
///
/// CLOCK_MONOTONIC_COARSE is read from the vDSO with every clock source, so this is never a system
/// call (clock_gettime(2), vdso(7)).
pub(crate) fn coarse_clock_ms() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the timespec lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}
