//! The server's side of the simulated ring.

use std::collections::VecDeque;
use std::io;

use io_uring::{cqueue, squeue};
use ringpoll_backends::EngineOptions;
use ringpoll_backends::testing::{KernelRing, RingSetup, SubmissionStatus};

use crate::queue_entries::RawSqe;
use crate::ring::Ring;
use crate::state::State;

/// A ring of the thread's kernel, which has one.
pub(crate) struct SimulatedRing(());

impl State {
    /// Sets up a ring with the options that are in effect, as the setup of a real one does.
    pub(crate) fn set_up_ring(&mut self, requested: &EngineOptions) -> RingSetup<SimulatedRing> {
        let mut options = requested.clone();
        let techniques = &mut options.techniques;
        techniques.defer_taskrun &= !techniques.sqpoll;
        techniques.coop_taskrun &= !techniques.sqpoll && !techniques.defer_taskrun;
        techniques.multishot_receive &= techniques.provided_buffers > 0;
        techniques.bundles &= techniques.multishot_receive;
        self.ring = Ring::new(&options);
        let shutdown_by_call = self.setup.shutdown_by_call;
        RingSetup { ring: SimulatedRing(()), options, shutdown_by_call }
    }
}

impl KernelRing for SimulatedRing {
    fn cq_entries(&self) -> usize {
        State::with(|state| state.ring.cq_entries())
    }

    unsafe fn push(&mut self, sqes: &mut VecDeque<squeue::Entry>) {
        State::with(|state| {
            while sqes.front().is_some_and(|sqe| state.ring.push(RawSqe::from(sqe))) {
                sqes.pop_front();
            }
        });
    }

    fn submission_status(&mut self) -> SubmissionStatus {
        State::with(|state| {
            state.run_asynchronously();
            SubmissionStatus {
                queued: state.ring.queued() as u32,
                cq_overflow: state.ring.cq_overflow(),
                taskrun: state.has_task_work(),
            }
        })
    }

    fn need_wakeup(&mut self) -> bool {
        State::with(|state| {
            state.run_asynchronously();
            state.ring.is_sq_thread_asleep()
        })
    }

    fn has_completions(&mut self) -> bool {
        State::with(|state| {
            state.run_asynchronously();
            state.ring.has_completions()
        })
    }

    fn completions(&mut self) -> impl Iterator<Item = cqueue::Entry> {
        State::with(State::take_completions).into_iter().map(cqueue::Entry::from)
    }

    fn enter(&mut self, to_submit: u32, min_complete: u32, flags: u32) -> io::Result<usize> {
        State::with(|state| {
            let result = state.enter(to_submit, min_complete, flags);
            state.trace(format_args!("io_uring_enter({to_submit}, {min_complete}) = {result:?}"));
            result
        })
        .map_err(io::Error::from_raw_os_error)
    }

    unsafe fn register_buffer_ring(
        &mut self,
        address: u64,
        entries: u16,
        _group: u16,
    ) -> io::Result<()> {
        State::with(|state| state.ring.lend_buffers(address, entries));
        Ok(())
    }

    fn unregister_buffer_ring(&mut self, _group: u16) -> io::Result<()> {
        State::with(|state| state.ring.take_buffers_back());
        Ok(())
    }
}

impl Drop for SimulatedRing {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            State::with(|state| state.ring.check_dropped());
        }
    }
}
