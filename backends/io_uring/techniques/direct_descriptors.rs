//! `direct_descriptors`: replaces the descriptors of connections with entries of a table that the
//! ring alone knows (IORING_FILE_INDEX_ALLOC, Linux 5.19).
//!
//! Gain: the kernel neither fills nor looks up the process's table of descriptors, which is worth
//! something to a process of many threads and could not be measured with one. It hurts where a
//! system call is needed: shutdown(2) takes no index, so IORING_OP_SHUTDOWN, which costs a worker
//! thread, has to be used in its place. And an ACCEPT with a full table accepts somebody and drops
//! them: it is asked only while there is a free entry, and one at a time unless there are more
//! than completions can come at once. Off by default.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use ::io_uring::{opcode, squeue, types};

use crate::io_uring::ring::{Completion, Ring};

/// Where a connection is.
#[derive(Debug)]
pub(crate) enum Descriptor {
    /// Among the process's own.
    OfProcess(OwnedFd),
    /// In the ring's table, under this index.
    OfRing(u32),
}

impl Descriptor {
    /// What an ACCEPT has made.
    ///
    /// # Safety
    /// It must be a completion of an ACCEPT of a ring that accepts so, and be asked once.
    pub(crate) unsafe fn of(completion: Completion, directly: bool) -> io::Result<Self> {
        if directly {
            return completion.result().map(|index| Self::OfRing(index as u32));
        }
        // SAFETY: passed on to the caller.
        unsafe { completion.descriptor() }.map(Self::OfProcess)
    }

    /// How an entry names it.
    pub(crate) fn name(&self) -> Name {
        match self {
            Self::OfProcess(fd) => Name { number: fd.as_raw_fd(), of_ring: false },
            Self::OfRing(index) => Name { number: *index as RawFd, of_ring: true },
        }
    }
}

/// A descriptor as it stands in an entry. It owns nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    number: RawFd,
    of_ring: bool,
}

impl Name {
    /// Nobody's.
    pub(crate) const NONE: Self = Self { number: -1, of_ring: false };

    /// One of the process's.
    pub(crate) fn of_fd(number: RawFd) -> Self {
        Self { number, of_ring: false }
    }

    /// For an entry that is then to pass through [`Name::complete`].
    pub(crate) fn number(self) -> types::Fd {
        types::Fd(self.number)
    }

    /// Says in which table the number counts.
    pub(crate) fn complete(self, entry: squeue::Entry) -> squeue::Entry {
        if self.of_ring { entry.flags(squeue::Flags::FIXED_FILE) } else { entry }
    }

    /// The end of it. A CLOSE alone names the table in a field of its own.
    pub(crate) fn close(self) -> squeue::Entry {
        if self.of_ring {
            opcode::Close::new(types::Fixed(self.number as u32)).build()
        } else {
            opcode::Close::new(types::Fd(self.number)).build()
        }
    }

    /// The descriptor, if it is the process's.
    pub(crate) fn of_process(self) -> Option<RawFd> {
        (!self.of_ring).then_some(self.number)
    }
}

/// The table: as many entries as there are slots and completions, if the process may have so many
/// (EMFILE above RLIMIT_NOFILE); their number.
pub(crate) fn register_table(ring: &mut Ring, wanted: usize) -> io::Result<usize> {
    let entries = wanted.min(most_descriptors());
    ring.register(|submitter| submitter.register_files_sparse(entries as u32))?;
    Ok(entries)
}

fn most_descriptors() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a struct that lives through the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    if known { usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX).min(1 << 20) } else { 1024 }
}

/// One connection, into any free entry.
pub(crate) fn accept(listener: RawFd) -> squeue::Entry {
    let nobody = std::ptr::null_mut();
    let accept = opcode::Accept::new(types::Fd(listener), nobody, std::ptr::null_mut());
    accept.file_index(Some(types::DestinationSlot::auto_target())).build()
}
