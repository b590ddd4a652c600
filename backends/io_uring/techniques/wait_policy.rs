//! Enters the kernel to submit and wait. Combines [`super::busy_poll`], [`super::sqpoll`],
//! [`super::experimental::min_wait`] and [`super::experimental::registered_ring`].

use std::io;
use std::time::Duration;

use super::busy_poll;
use super::experimental::min_wait;
use super::experimental::registered_ring::RegisteredRing;
use crate::counters::{SystemCall, SystemCalls};
use crate::io_uring::ring::Queues;

/// Sleep while the SQPOLL thread makes room in a full submission queue.
const SQPOLL_WAIT: Duration = Duration::from_micros(100);

/// By default one completion ends the wait, and there is no busy polling.
#[derive(Default)]
pub(crate) struct WaitPolicy {
    pub(super) busy_poll: Duration,
    pub(super) min_wait_us: u32,
    pub(super) registered: Option<RegisteredRing>,
    pub(super) is_sqpoll: bool,
}

impl WaitPolicy {
    /// Busy-polls. Returns true if there is a completion or task work.
    pub(crate) fn busy_poll(&self, ring: &mut Queues) -> bool {
        busy_poll::spin(self.busy_poll, ring)
    }

    /// Submits the SQEs in the queue and waits for `want` completions. If the SQPOLL thread must
    /// make room in the queue first and `may_sleep` is set, sleeps a moment.
    pub(crate) fn enter(
        &self,
        ring: &mut Queues,
        mut want: usize,
        may_sleep: bool,
        counts: &mut SystemCalls,
    ) -> io::Result<usize> {
        if self.is_sqpoll {
            let no_completions = ring.completion().is_empty();
            want = want.min(usize::from(no_completions));
            #[allow(unused_mut, reason = "the queues of tests need it")]
            let mut queue = ring.submission();
            let is_awake = !queue.need_wakeup() && !queue.cq_overflow();
            if want == 0 && is_awake {
                if may_sleep && no_completions {
                    // An SQE waits for room in the queue. Spinning here could take the
                    // CPU that the SQPOLL thread needs.
                    std::thread::sleep(SQPOLL_WAIT);
                }
                return Ok(0);
            }
        }
        counts.count(SystemCall::IoUringEnter);
        if want > 0 && self.min_wait_us > 0 {
            want = min_wait::BATCH;
        }
        self.enter_counted(ring, want)
    }

    #[cfg(not(any(test, feature = "simulation")))]
    fn enter_counted(&self, ring: &mut Queues, want: usize) -> io::Result<usize> {
        let min_wait_us = if want > 0 { self.min_wait_us } else { 0 };
        match &self.registered {
            Some(registered) => registered.enter(ring, want, min_wait_us),
            None if min_wait_us > 0 => {
                ring.submitter().submit_with_args(want, &min_wait::submit_args(min_wait_us))
            }
            None => ring.submit_and_wait(want),
        }
    }

    /// The queues of tests enter the kernel in one way only.
    #[cfg(any(test, feature = "simulation"))]
    fn enter_counted(&self, ring: &mut Queues, want: usize) -> io::Result<usize> {
        let _ = (&self.registered, min_wait::submit_args(self.min_wait_us));
        ring.submit_and_wait(want.min(1))
    }
}
