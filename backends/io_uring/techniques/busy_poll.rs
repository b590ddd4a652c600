//! `busy_poll_us`: before the server sleeps, it polls for completions for this time.
//!
//! Replaces the sleep in io_uring_enter(2). Polling makes no system call: the kernel reports in
//! shared memory that there is a CQE, or task work that would post one (IORING_SQ_TASKRUN). With
//! SQEs to submit the server enters the kernel at once and polls the next time.
//!
//! Kernel: Linux 5.19 with [`super::defer_taskrun`] or `coop_taskrun`, for IORING_SQ_TASKRUN.
//!
//! Helps latency with few requests in flight: an idle CPU may take longer to wake than a request
//! takes to serve. Hurts where another task needs the CPU. Off by default.

use std::time::Duration;

use crate::kernel::{Kernel, KernelRing};

/// Polls for at most `time`. Returns true if there is a completion or task work.
pub(crate) fn spin<K: Kernel>(time: Duration, ring: &mut K::Ring) -> bool {
    if time.is_zero() || ring.submission_status().queued > 0 {
        return false;
    }
    let end = K::clock() + time;
    while K::clock() < end {
        if ring.has_completions() || ring.submission_status().taskrun {
            return true;
        }
        std::hint::spin_loop();
    }
    false
}
