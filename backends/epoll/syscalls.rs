//! The system calls of the epoll engines: thin wrappers that count each call and convert -1 to its
//! errno.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::counters::{SystemCall, SystemCalls};
use crate::error::BackendError;
use crate::pending_output::PendingOutput;
// Tests replace the kernel by a simulated one.
use crate::clock::coarse_clock_ms;
#[cfg(any(test, feature = "simulation"))]
use crate::simulation::calls as libc;
use crate::socket::check;
use crate::token::Token;
use crate::worker::TICK;

/// An epoll instance, and the counts of all system calls of its engine.
pub(crate) struct Syscalls {
    epoll: OwnedFd,
    events: Box<[libc::epoll_event]>,
    counts: SystemCalls,
}

impl Syscalls {
    /// Makes an epoll instance; a wait returns at most `events_per_wait` events.
    pub(crate) fn new(events_per_wait: usize) -> Result<Self, BackendError> {
        let mut counts = SystemCalls::default();
        counts.count(SystemCall::EpollCreate1);
        // SAFETY: epoll_create1 takes no pointers.
        let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
            .map_err(|error| BackendError::unexpected("epoll_create1", error))?;
        let none = libc::epoll_event { events: 0, u64: 0 };
        Ok(Self {
            // SAFETY: the kernel has just returned this descriptor; nothing else owns it.
            epoll: unsafe { OwnedFd::from_raw_fd(epoll) },
            events: vec![none; events_per_wait.clamp(1, i32::MAX as usize)].into_boxed_slice(),
            counts,
        })
    }

    /// Returns the milliseconds since boot, with the resolution of the kernel's timer tick.
    pub(crate) fn now_ms(&self) -> u64 {
        coarse_clock_ms()
    }

    pub(crate) fn counts(&self) -> &SystemCalls {
        &self.counts
    }

    /// Waits for events, at most for a tick, and returns their number. A signal ends the wait
    /// without events: epoll_wait(2) is never restarted (signal(7)).
    pub(crate) fn wait(&mut self) -> Result<usize, BackendError> {
        self.wait_for(TICK)
    }

    /// Waits for events, at most for `time` in whole milliseconds; zero only polls.
    pub(crate) fn wait_for(&mut self, time: Duration) -> Result<usize, BackendError> {
        self.counts.count(SystemCall::EpollWait);
        // SAFETY: the pointer is to a slice that outlives the call, and its length is passed.
        let waited = check(unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                time.as_millis() as i32,
            )
        });
        match waited {
            Ok(count) => Ok(count as usize),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(BackendError::unexpected("epoll_wait", error)),
        }
    }

    /// Returns the token and the event mask of an event of the last wait.
    pub(crate) fn event(&self, index: usize) -> (Token, u32) {
        let event = self.events[index];
        let token =
            Token::from_bits(event.u64).expect("epoll returns the data that was registered");
        (token, event.events)
    }

    pub(crate) fn add(&mut self, fd: RawFd, events: u32, token: Token) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, token)
    }

    pub(crate) fn modify(&mut self, fd: RawFd, events: u32, token: Token) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, token)
    }

    fn control(&mut self, operation: i32, fd: RawFd, events: u32, token: Token) -> io::Result<()> {
        self.counts.count(SystemCall::EpollCtl);
        let mut event = libc::epoll_event { events, u64: token.to_bits() };
        // SAFETY: the event lives through the call, which copies it.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event) })?;
        Ok(())
    }

    pub(crate) fn delete(&mut self, fd: RawFd) -> io::Result<()> {
        self.counts.count(SystemCall::EpollCtl);
        // Ignored, but passed by the reference programs: Linux before 2.6.9 required it
        // (epoll_ctl(2), BUGS).
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: the event lives through the call.
        check(unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, &raw mut event)
        })?;
        Ok(())
    }

    /// Accepts a connection, with the peer's address, as the reference programs do.
    pub(crate) fn accept4(&mut self, listener: RawFd) -> io::Result<OwnedFd> {
        self.counts.count(SystemCall::Accept4);
        // SAFETY: all-zero bytes are a valid sockaddr_in. It is never read, so a longer address may
        // be truncated (accept(2)).
        let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_in>() as u32;
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: both pointers live through the call, and the length is the size of the storage.
        let fd = check(unsafe {
            libc::accept4(listener, (&raw mut address).cast(), &raw mut length, flags)
        })?;
        // SAFETY: the kernel has just returned this descriptor; nothing else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Receives into `buffer`; 0 is the end of the peer's stream.
    pub(crate) fn recv(&mut self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| {
            self.counts.count(SystemCall::Recvfrom);
            // SAFETY: the buffer is borrowed for the call, and its length is passed.
            unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) }
        })
    }

    /// Sends as many bytes as the socket buffer accepts.
    pub(crate) fn send(&mut self, fd: RawFd, output: PendingOutput<'_>) -> io::Result<usize> {
        uninterrupted(|| {
            self.counts.count(SystemCall::Sendto);
            let PendingOutput { bytes, flags } = output;
            // SAFETY: the bytes are borrowed for the call, and their length is passed.
            unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) }
        })
    }

    pub(crate) fn shutdown(&mut self, fd: RawFd, how: i32) -> io::Result<()> {
        self.counts.count(SystemCall::Shutdown);
        // SAFETY: shutdown takes no pointers.
        check(unsafe { libc::shutdown(fd, how) })?;
        Ok(())
    }

    /// Closes a descriptor. It is closed even after an error, and a retry could close one that was
    /// reused (close(2), "Dealing with error returns from close()").
    pub(crate) fn close(&mut self, fd: OwnedFd) {
        self.counts.count(SystemCall::Close);
        // Not by drop, which in debug builds makes an fcntl(2) first.
        // SAFETY: the descriptor is owned, and ownership ends here.
        unsafe { libc::close(fd.into_raw_fd()) };
    }
}

/// Repeats a system call while it fails with EINTR.
fn uninterrupted(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(count) => return Ok(count),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}
