//! Test replacement for the submission and completion queue of a ring. It passes SQEs to a real
//! ring and returns its CQEs, but fails, shortens, delays and shuffles them according to the
//! thread's [`Plan`]; or it passes the SQEs to the simulated kernel.
//!
//! External tools cannot inject faults here, as strace does for system calls: the kernel writes
//! CQEs to shared memory.

mod faulty_ring;
#[cfg_attr(not(test), allow(dead_code))] // only tests plan anything
mod plan;
mod queue_entries;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::VecDeque;
use std::io;

use ::io_uring::{IoUring, squeue};

use crate::simulation::SimulatedRing;
use faulty_ring::FaultyRing;
pub(crate) use plan::plan;
#[cfg(test)]
pub(crate) use plan::{Plan, record_buffers_dropped, set_plan, take_outcome};
pub(crate) use queue_entries::{Cqe, RawSqe};

/// The part of [`IoUring`] that [`crate::io_uring::ring`] uses.
pub(crate) enum Queues {
    Real(Box<FaultyRing>),
    Simulated(SimulatedRing),
}

impl From<IoUring> for Queues {
    fn from(ring: IoUring) -> Self {
        Self::Real(Box::new(FaultyRing::new(ring)))
    }
}

impl Queues {
    pub(crate) fn submission(&mut self) -> Submission<'_> {
        Submission(self)
    }

    pub(crate) fn completion(&mut self) -> Completions<'_> {
        Completions(match self {
            Self::Real(faulty) => faulty.take_completions(),
            Self::Simulated(ring) => ring.take_completions(),
        })
    }

    /// Returns the submitter, to register resources. A simulated ring has none.
    pub(crate) fn submitter(&self) -> ::io_uring::Submitter<'_> {
        match self {
            Self::Real(faulty) => faulty.submitter(),
            Self::Simulated(_) => unreachable!("the techniques that need it are off"),
        }
    }

    /// Registers a buffer ring with the simulated kernel, or unregisters it if `entries` is 0.
    /// Returns false for a real ring.
    pub(crate) fn register_simulated_buffers(&mut self, address: u64, entries: u16) -> bool {
        if let Self::Simulated(ring) = self {
            ring.lend_buffers(address, entries);
            return true;
        }
        false
    }

    pub(crate) fn submit_and_wait(&mut self, want: usize) -> io::Result<usize> {
        match self {
            Self::Real(faulty) => faulty.submit_and_wait(want),
            Self::Simulated(ring) => ring.submit_and_wait(want),
        }
    }
}

#[derive(Debug)]
pub(crate) struct QueueFull;

pub(crate) struct Submission<'a>(&'a mut Queues);

impl Submission<'_> {
    /// # Safety
    /// As for [`squeue::SubmissionQueue::push`].
    pub(crate) unsafe fn push(&mut self, sqe: &squeue::Entry) -> Result<(), QueueFull> {
        match self.0 {
            // SAFETY: the caller's promise.
            Queues::Real(faulty) => unsafe { faulty.push(sqe) },
            Queues::Simulated(ring) => ring.push(RawSqe::from_entry(sqe)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Queues::Real(faulty) => faulty.len(),
            Queues::Simulated(ring) => ring.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true, so that tests always enter the kernel.
    #[allow(clippy::unused_self, reason = "the signature is that of the real queue")]
    pub(crate) fn taskrun(&self) -> bool {
        true
    }

    /// Returns true, so that tests always enter the kernel.
    #[allow(clippy::unused_self, reason = "the signature is that of the real queue")]
    pub(crate) fn need_wakeup(&self) -> bool {
        true
    }

    pub(crate) fn cq_overflow(&mut self) -> bool {
        match self.0 {
            Queues::Real(faulty) => faulty.cq_overflow(),
            Queues::Simulated(ring) => ring.cq_overflow(),
        }
    }
}

/// Iterates over the available completions. Those that are not taken stay in the queue.
pub(crate) struct Completions<'a>(&'a mut VecDeque<Cqe>);

impl Completions<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Iterator for Completions<'_> {
    type Item = Cqe;

    fn next(&mut self) -> Option<Cqe> {
        self.0.pop_front()
    }
}
