//! `direct_descriptors`: connections are slots of the ring's own file table, not descriptors of the
//! process (IORING_FILE_INDEX_ALLOC, see io_uring_prep_accept_direct(3)).
//!
//! Replaces the descriptors of connections: an SQE with IOSQE_FIXED_FILE names the slot.
//!
//! Kernel: Linux 5.19.
//!
//! Helps in processes with many threads, where the kernel must lock and reference-count the shared
//! descriptor table. Hurts where a system call is needed: shutdown(2) takes no slot, so
//! IORING_OP_SHUTDOWN is used, which needs an io-wq worker thread. An ACCEPT with a full table
//! accepts a connection and drops it; so it is submitted only while a slot is free, and multishot
//! only while more slots are free than the completion queue has entries. Off by default.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use ::io_uring::{opcode, squeue, types};

use crate::io_uring::ring::{Completion, Ring};

/// The result of an ACCEPT.
#[derive(Debug)]
pub(crate) enum AcceptedSocket {
    Fd(OwnedFd),
    /// The slot in the direct descriptor table.
    Fixed(u32),
}

impl AcceptedSocket {
    /// Takes ownership of what an ACCEPT returned.
    ///
    /// # Safety
    /// This must be a completion of an ACCEPT that is direct if `is_direct`, and be used once.
    pub(crate) unsafe fn from_completion(
        completion: Completion,
        is_direct: bool,
    ) -> io::Result<Self> {
        if is_direct {
            return completion.result().map(|slot| Self::Fixed(slot as u32));
        }
        // SAFETY: the caller's promise.
        unsafe { completion.accepted_fd() }.map(Self::Fd)
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        match self {
            Self::Fd(fd) => Descriptor { number: fd.as_raw_fd(), is_fixed: false },
            Self::Fixed(slot) => Descriptor { number: *slot as RawFd, is_fixed: true },
        }
    }
}

/// A descriptor as an SQE names it, regular or direct. It does not own the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    number: RawFd,
    is_fixed: bool,
}

impl Descriptor {
    pub(crate) const NONE: Self = Self { number: -1, is_fixed: false };

    pub(crate) fn from_fd(number: RawFd) -> Self {
        Self { number, is_fixed: false }
    }

    /// Returns the number for an SQE, which must then pass [`Descriptor::set_fixed_flag`].
    pub(crate) fn number(self) -> types::Fd {
        types::Fd(self.number)
    }

    /// Sets IOSQE_FIXED_FILE if the number is a slot of the direct descriptor table.
    pub(crate) fn set_fixed_flag(self, sqe: squeue::Entry) -> squeue::Entry {
        if self.is_fixed { sqe.flags(squeue::Flags::FIXED_FILE) } else { sqe }
    }

    /// Returns the SQE of a CLOSE, which names a slot in `file_index` instead of by a flag.
    pub(crate) fn close_sqe(self) -> squeue::Entry {
        if self.is_fixed {
            opcode::Close::new(types::Fixed(self.number as u32)).build()
        } else {
            opcode::Close::new(types::Fd(self.number)).build()
        }
    }

    /// Returns the descriptor of the process, or `None` for a direct descriptor.
    pub(crate) fn fd(self) -> Option<RawFd> {
        (!self.is_fixed).then_some(self.number)
    }
}

/// Registers a direct descriptor table and returns its size: `wanted`, or less if RLIMIT_NOFILE is
/// lower, above which the kernel returns EMFILE.
pub(crate) fn register_table(ring: &mut Ring, wanted: usize) -> io::Result<usize> {
    let slots = wanted.min(max_descriptors());
    ring.register(|submitter| submitter.register_files_sparse(slots as u32))?;
    Ok(slots)
}

fn max_descriptors() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a struct that lives through the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    if known { usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX).min(1 << 20) } else { 1024 }
}

/// Returns the SQE of a single ACCEPT into any free slot.
pub(crate) fn accept_sqe(listener: RawFd) -> squeue::Entry {
    let no_address = std::ptr::null_mut();
    let accept = opcode::Accept::new(types::Fd(listener), no_address, std::ptr::null_mut());
    accept.file_index(Some(types::DestinationSlot::auto_target())).build()
}
