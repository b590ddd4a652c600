//! `min_wait_us`: a wait continues for this time to collect completions (IORING_ENTER_EXT_ARG with
//! `min_wait_usec`, see io_uring_enter(2)).
//!
//! Replaces the wait for one completion. It ends when [`BATCH`] completions are available, or when
//! the time has passed and there is at least one.
//!
//! Kernel: Linux 6.12 (IORING_FEAT_MIN_TIMEOUT).
//!
//! Helps with many requests in flight: fewer wake-ups. Hurts with few, since every request waits
//! for the batch. Off by default.

use ::io_uring::types::Timespec;

use crate::kernel::GeteventsArg;
use crate::worker::TICK;

/// Completions that end the wait early.
pub(crate) const BATCH: u32 = 16;

/// The kernel needs a timeout too: without one the wait fails with ETIME whenever the minimum
/// passes without a completion (`io_cqring_min_timer_wakeup`). The tick always ends it earlier.
static MAX_WAIT: Timespec = Timespec::new().sec(2 * TICK.as_secs());

pub(crate) fn argument(min_wait_us: u32) -> GeteventsArg {
    GeteventsArg { min_wait_us, timeout: (&raw const MAX_WAIT) as u64, ..GeteventsArg::default() }
}
