//! What comes back.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use ::io_uring::cqueue;

/// What the kernel says with an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    /// The count or the descriptor, or the errno below zero.
    pub(super) result: i32,
    flags: u32,
}

impl Completion {
    /// What the kernel has said in so many words.
    pub(super) fn new(result: i32, flags: u32) -> Self {
        Self { result, flags }
    }

    /// What a step that needed nothing of the kernel's, or that goes without saying, would say.
    pub(crate) fn of(result: i32) -> Self {
        Self { result, flags: 0 }
    }

    /// Whether others of the same operation follow (IORING_CQE_F_MORE).
    pub(crate) fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// Whether it only says that the kernel no longer reads what was sent (IORING_CQE_F_NOTIF).
    pub(crate) fn is_notification(self) -> bool {
        cqueue::notif(self.flags)
    }

    /// The provided buffer that it was received into, if there is one.
    pub(crate) fn buffer(self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// Whether that buffer goes on being filled by the next completion (IORING_CQE_F_BUF_MORE).
    pub(super) fn buffer_more(self) -> bool {
        cqueue::buffer_more(self.flags)
    }

    /// The errno, if it failed.
    pub(crate) fn errno(self) -> Option<i32> {
        (self.result < 0).then_some(-self.result)
    }

    /// The count or the descriptor, or the errno that came in its place.
    pub(crate) fn result(self) -> io::Result<i32> {
        if self.result < 0 {
            Err(io::Error::from_raw_os_error(-self.result))
        } else {
            Ok(self.result)
        }
    }

    /// The descriptor that an ACCEPT has made.
    ///
    /// # Safety
    /// It must be a completion of an ACCEPT that makes descriptors of the process's, and be asked
    /// once.
    pub(crate) unsafe fn descriptor(self) -> io::Result<OwnedFd> {
        // SAFETY: the kernel has made this descriptor, and nobody else owns it, as the caller
        // vouches.
        self.result().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
