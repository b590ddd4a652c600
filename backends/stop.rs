//! The stop of workers: an eventfd(2) that every event loop watches, so that a worker without any
//! traffic wakes up.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::BackendError;
use crate::socket::check;

/// Requests every worker that holds a clone of it to stop. A request cannot be revoked.
#[derive(Clone, Debug)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Never read: it stays readable for all workers that share it.
    eventfd: OwnedFd,
    /// Tells a request from an error of watching the eventfd.
    requested: AtomicBool,
}

impl Stop {
    /// Makes a stop that is not requested yet.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Resources`] if there is no descriptor left (eventfd(2)).
    pub fn new() -> Result<Self, BackendError> {
        // SAFETY: eventfd takes no pointers.
        let eventfd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
            .map_err(|error| BackendError::unexpected("eventfd", error))?;
        // SAFETY: the kernel has just returned this descriptor; nothing else owns it.
        let eventfd = unsafe { OwnedFd::from_raw_fd(eventfd) };
        let requested = AtomicBool::new(false);
        Ok(Self { shared: Arc::new(Shared { eventfd, requested }) })
    }

    /// Requests the stop: workers refuse new connections and drain those that are open.
    pub fn request(&self) {
        self.shared.requested.store(true, Ordering::Release);
        let one = 1u64.to_ne_bytes();
        loop {
            // SAFETY: the eight bytes live through the call.
            let written = unsafe { libc::write(self.fd(), one.as_ptr().cast(), one.len()) };
            // EAGAIN would mean a full counter, which is readable as well.
            let interrupted = io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
            if written >= 0 || !interrupted {
                return;
            }
        }
    }

    /// Returns the descriptor that is readable after a request.
    pub fn fd(&self) -> RawFd {
        self.shared.eventfd.as_raw_fd()
    }

    /// Returns true after a request.
    pub fn is_requested(&self) -> bool {
        self.shared.requested.load(Ordering::Acquire)
    }
}
