//! A completion queue entry (CQE) without its token.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use ::io_uring::cqueue;

/// The result and flags of a CQE.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    /// A byte count or a descriptor; -errno on error.
    pub(crate) result: i32,
    flags: u32,
}

impl Completion {
    pub(crate) fn new(result: i32, flags: u32) -> Self {
        Self { result, flags }
    }

    /// Creates a completion for which the kernel posted no CQE, since the step was a system call.
    pub(crate) fn with_result(result: i32) -> Self {
        Self { result, flags: 0 }
    }

    /// Returns true if the operation will post further CQEs (IORING_CQE_F_MORE).
    pub(crate) fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// Returns true for the second CQE of a zero-copy send: the kernel no longer reads the bytes
    /// (IORING_CQE_F_NOTIF).
    pub(crate) fn is_notification(self) -> bool {
        cqueue::notif(self.flags)
    }

    /// Returns the ID of the provided buffer that the kernel picked (IORING_CQE_F_BUFFER).
    pub(crate) fn buffer_id(self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// Returns true if the kernel will continue to fill this buffer (IORING_CQE_F_BUF_MORE).
    pub(crate) fn buffer_more(self) -> bool {
        cqueue::buffer_more(self.flags)
    }

    pub(crate) fn errno(self) -> Option<i32> {
        (self.result < 0).then_some(-self.result)
    }

    pub(crate) fn result(self) -> io::Result<i32> {
        if self.result < 0 {
            Err(io::Error::from_raw_os_error(-self.result))
        } else {
            Ok(self.result)
        }
    }

    /// Takes ownership of the descriptor that an ACCEPT returned.
    ///
    /// # Safety
    /// This must be a completion of an ACCEPT, and be called once.
    pub(crate) unsafe fn accepted_fd(self) -> io::Result<OwnedFd> {
        // SAFETY: the kernel has just created this descriptor, and the caller promises that nothing
        // else owns it.
        self.result().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
