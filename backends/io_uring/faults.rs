//! For tests only: what stands in the place of a ring's two queues. It hands entries on to a real
//! ring and brings its completions back, but fails, cuts short, delays and shuffles them as the
//! thread's [`Plan`] says; or it hands them to the simulated kernel.
//!
//! No tool reaches the completions of a ring from outside, as strace does system calls: the
//! kernel writes them into memory.

mod entry;
mod faulty;
#[cfg_attr(not(test), allow(dead_code))] // only tests plan anything
mod plan;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::VecDeque;
use std::io;

use ::io_uring::{IoUring, squeue};

use crate::simulation::SimulatedRing;
pub(crate) use entry::{Entry, RawEntry};
use faulty::Faulty;
pub(crate) use plan::plan;
#[cfg(test)]
pub(crate) use plan::{Plan, account_for_buffers, set_plan, take_accounts};

/// The queues, as far as [`crate::io_uring::ring`] uses them.
pub(crate) enum Queues {
    /// Those of a ring of the kernel's.
    Real(Box<Faulty>),
    /// Those of the simulated kernel.
    Simulated(SimulatedRing),
}

impl From<IoUring> for Queues {
    fn from(ring: IoUring) -> Self {
        Self::Real(Box::new(Faulty::new(ring)))
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

    /// For what belongs to the ring as a whole; a simulated one has nothing of the kind.
    pub(crate) fn submitter(&self) -> ::io_uring::Submitter<'_> {
        match self {
            Self::Real(faulty) => faulty.submitter(),
            Self::Simulated(_) => unreachable!("the techniques that need it are off"),
        }
    }

    /// Whether the kernel that is lent a ring of buffers is the simulated one; no entries take it
    /// back.
    pub(crate) fn lends_to_the_simulation(&mut self, address: u64, entries: u16) -> bool {
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

/// There is no room for one more entry.
#[derive(Debug)]
pub(crate) struct Full;

pub(crate) struct Submission<'a>(&'a mut Queues);

impl Submission<'_> {
    /// # Safety
    /// That of [`squeue::SubmissionQueue::push`].
    pub(crate) unsafe fn push(&mut self, entry: &squeue::Entry) -> Result<(), Full> {
        match self.0 {
            // SAFETY: passed on to the caller.
            Queues::Real(faulty) => unsafe { faulty.push(entry) },
            Queues::Simulated(ring) => ring.push(RawEntry::of(entry)),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        match &self.0 {
            Queues::Real(faulty) => faulty.capacity(),
            Queues::Simulated(ring) => ring.capacity(),
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

    /// Tests enter the kernel to find out.
    #[allow(clippy::unused_self)]
    pub(crate) fn taskrun(&self) -> bool {
        true
    }

    /// The same.
    #[allow(clippy::unused_self)]
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

/// The completions that have come; those that nobody takes stay.
pub(crate) struct Completions<'a>(&'a mut VecDeque<Entry>);

impl Completions<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Iterator for Completions<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.0.pop_front()
    }
}
