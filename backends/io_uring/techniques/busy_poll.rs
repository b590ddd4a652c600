//! `busy_poll_us`: before the server sleeps it looks for completions for so long, unless there is
//! something to submit: then it enters the kernel at once, and looks the next time.
//!
//! A processor that goes to sleep takes longer to wake than a request takes to serve. Looking
//! costs no system call: the kernel says in the ring's own memory whether there is a completion,
//! or work that would make one (IORING_SQ_TASKRUN, Linux 5.19).
//!
//! Gain: with one request on its way at a time, 8 µs in place of 22; nothing where there is always
//! something to do. It hurts wherever somebody else could use the processor. Off by default.

use std::time::{Duration, Instant};

use crate::io_uring::ring::Queues;

/// Looks for so long; whether something has come.
pub(super) fn spin(time: Duration, ring: &mut Queues) -> bool {
    if time.is_zero() || !ring.submission().is_empty() {
        return false;
    }
    let began = Instant::now();
    while began.elapsed() < time {
        if !ring.completion().is_empty() || ring.submission().taskrun() {
            return true;
        }
        std::hint::spin_loop();
    }
    false
}
