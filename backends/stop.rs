//! How a worker is told to stop: an eventfd(2) that both loops watch, so that a worker which
//! waits for nothing but quiet clients wakes up.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::BackendError;
use crate::socket::check;

/// Asks every worker that holds a clone of it to stop. It cannot be taken back.
#[derive(Clone, Debug)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Never read: it stays readable, so that each of the workers that share it hears of it.
    eventfd: OwnedFd,
    /// Whether it is true: an event alone may also be an error of the watching.
    requested: AtomicBool,
}

impl Stop {
    /// Makes one that has not been asked for.
    ///
    /// # Errors
    /// When the process or the machine is out of descriptors.
    pub fn new() -> Result<Self, BackendError> {
        // SAFETY: eventfd takes no pointers.
        let eventfd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
            .map_err(|error| BackendError::unexpected("eventfd", error))?;
        // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
        let eventfd = unsafe { OwnedFd::from_raw_fd(eventfd) };
        let requested = AtomicBool::new(false);
        Ok(Self { shared: Arc::new(Shared { eventfd, requested }) })
    }

    /// Asks for the stop: accept no more, let those who are being served come to their end.
    pub fn request(&self) {
        self.shared.requested.store(true, Ordering::Release);
        let one = 1u64.to_ne_bytes();
        loop {
            // SAFETY: the eight bytes live through the call.
            let written = unsafe { libc::write(self.fd(), one.as_ptr().cast(), one.len()) };
            // EAGAIN would mean a full counter, which is as readable as one that took the write.
            let interrupted = io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
            if written >= 0 || !interrupted {
                return;
            }
        }
    }

    /// What becomes readable then.
    pub(crate) fn fd(&self) -> RawFd {
        self.shared.eventfd.as_raw_fd()
    }

    /// Whether it has been asked for.
    pub fn is_requested(&self) -> bool {
        self.shared.requested.load(Ordering::Acquire)
    }
}
