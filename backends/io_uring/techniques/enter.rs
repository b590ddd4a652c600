//! Enters the kernel to submit and wait, with or without [`super::sqpoll`].

use std::io;
use std::time::Duration;

use crate::counters::{SystemCall, SystemCalls};
use crate::kernel::{Kernel, KernelRing};

/// Sleep while the SQPOLL thread makes room in a full submission queue.
const SQPOLL_WAIT: Duration = Duration::from_micros(100);

// Flags of io_uring_enter(2).
const GETEVENTS: u32 = 1;
const SQ_WAKEUP: u32 = 2;

/// Submits the SQEs in the queue and waits for `want` completions. If the SQPOLL thread must make
/// room in the queue first and `may_sleep` is set, sleeps a moment.
pub(crate) fn enter<K: Kernel>(
    ring: &mut K::Ring,
    is_sqpoll: bool,
    mut want: u32,
    may_sleep: bool,
    counts: &mut SystemCalls,
) -> io::Result<usize> {
    let status = ring.submission_status();
    let mut flags = 0;
    if is_sqpoll {
        let no_completions = !ring.has_completions();
        want = want.min(u32::from(no_completions));
        // Read after the last push: the thread looks at the queue again before it sleeps.
        if ring.need_wakeup() {
            flags |= SQ_WAKEUP;
        } else if want == 0 && !status.cq_overflow {
            if may_sleep && no_completions {
                // An SQE waits for room in the queue. Spinning here could take the CPU that the
                // SQPOLL thread needs.
                K::sleep(SQPOLL_WAIT);
            }
            return Ok(0);
        }
    }
    // Without this flag the kernel neither moves completions that had no room nor runs task
    // work that is deferred.
    if want > 0 || status.cq_overflow || status.taskrun {
        flags |= GETEVENTS;
    }
    counts.count(SystemCall::IoUringEnter);
    ring.enter(status.queued, want, flags)
}
