//! Descriptors of connections as SQEs name them: regular or direct
//! (`techniques/experimental/direct_descriptors.rs`).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use ::io_uring::{opcode, squeue, types};

use crate::completion::Completion;

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
