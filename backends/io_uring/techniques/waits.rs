//! How the server enters the kernel and waits there: what [`super::busy_poll`],
//! [`super::minimum_wait`], [`super::registered_ring`] and [`super::submission_queue_polling`]
//! make of it together.

use std::io;
use std::time::Duration;

use super::registered_ring::RegisteredRing;
use super::{busy_poll, minimum_wait};
use crate::counters::{SystemCall, SystemCalls};
use crate::io_uring::ring::Queues;

/// How long the thread of the kernel's has, each time, to make room in a full submission queue.
const UNTIL_THERE_IS_ROOM: Duration = Duration::from_micros(100);

/// By default: one completion ends the wait, and nothing is looked for before it.
#[derive(Default)]
pub(crate) struct Waits {
    pub(super) busy_poll: Duration,
    pub(super) minimum_wait_us: u32,
    pub(super) registered: Option<RegisteredRing>,
    /// A kernel thread submits.
    pub(super) is_polled: bool,
}

impl Waits {
    /// Whether something has come while it was looked for.
    pub(crate) fn spin_until_something_comes(&self, ring: &mut Queues) -> bool {
        busy_poll::spin(self.busy_poll, ring)
    }

    /// Submits what was pushed and waits for so many completions. Where a thread of the kernel's
    /// has to make room first, it is given time for that if the caller has nothing else to do.
    pub(crate) fn enter(
        &self,
        ring: &mut Queues,
        mut want: usize,
        may_rest: bool,
        counts: &mut SystemCalls,
    ) -> io::Result<usize> {
        if self.is_polled {
            let nothing_has_come = ring.completion().is_empty();
            want = want.min(usize::from(nothing_has_come));
            #[allow(unused_mut)] // the queues of tests have to be
            let mut queue = ring.submission();
            let is_awake = !queue.need_wakeup() && !queue.cq_overflow();
            if want == 0 && is_awake {
                if may_rest && nothing_has_come {
                    // Something waits for room, if only for a chain. Looking for it all the time
                    // would take the processor that the thread may need.
                    std::thread::sleep(UNTIL_THERE_IS_ROOM);
                }
                return Ok(0);
            }
        }
        counts.count(SystemCall::IoUringEnter);
        if want > 0 && self.minimum_wait_us > 0 {
            want = minimum_wait::BATCH;
        }
        self.enter_counted(ring, want)
    }

    #[cfg(not(any(test, feature = "simulation")))]
    fn enter_counted(&self, ring: &mut Queues, want: usize) -> io::Result<usize> {
        let minimum_wait_us = if want > 0 { self.minimum_wait_us } else { 0 };
        match &self.registered {
            Some(registered) => registered.enter(ring, want, minimum_wait_us),
            None if minimum_wait_us > 0 => {
                ring.submitter().submit_with_args(want, &minimum_wait::arguments(minimum_wait_us))
            }
            None => ring.submit_and_wait(want),
        }
    }

    /// Tests put their own queues in between, which enter the kernel in the one way.
    #[cfg(any(test, feature = "simulation"))]
    fn enter_counted(&self, ring: &mut Queues, want: usize) -> io::Result<usize> {
        let _ = (&self.registered, minimum_wait::arguments(self.minimum_wait_us));
        ring.submit_and_wait(want.min(1))
    }
}
