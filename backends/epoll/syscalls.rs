//! The system calls of the epoll engines: thin wrappers that count each call and convert -1 to its
//! errno.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::counters::{SystemCall, SystemCalls};
use crate::error::BackendError;
use crate::kernel::Kernel;
use crate::pending_output::PendingOutput;
use crate::token::Token;
use crate::worker::TICK;

/// An epoll instance, and the counts of all system calls of its engine.
pub(crate) struct Syscalls<K: Kernel> {
    epoll: OwnedFd,
    events: Box<[libc::epoll_event]>,
    counts: SystemCalls,
    _kernel: PhantomData<K>,
}

impl<K: Kernel> Syscalls<K> {
    /// Makes an epoll instance; a wait returns at most `events_per_wait` events.
    pub(crate) fn new(events_per_wait: usize) -> Result<Self, BackendError> {
        let mut counts = SystemCalls::default();
        counts.count(SystemCall::EpollCreate1);
        let none = libc::epoll_event { events: 0, u64: 0 };
        Ok(Self {
            epoll: K::epoll_create1()
                .map_err(|error| BackendError::unexpected("epoll_create1", error))?,
            events: vec![none; events_per_wait.clamp(1, i32::MAX as usize)].into_boxed_slice(),
            counts,
            _kernel: PhantomData,
        })
    }

    pub(crate) fn counts(&self) -> &SystemCalls {
        &self.counts
    }

    /// Returns the milliseconds since boot; not a system call.
    pub(crate) fn now_ms(&self) -> u64 {
        K::coarse_clock_ms()
    }

    /// Waits for events, at most for a tick, and returns their number. A signal ends the wait
    /// without events: epoll_wait(2) is never restarted (signal(7)).
    pub(crate) fn wait(&mut self) -> Result<usize, BackendError> {
        self.wait_for(TICK)
    }

    /// Waits for events, at most for `time` in whole milliseconds; zero only polls.
    pub(crate) fn wait_for(&mut self, time: Duration) -> Result<usize, BackendError> {
        self.counts.count(SystemCall::EpollWait);
        let timeout_ms = time.as_millis() as i32;
        match K::epoll_wait(self.epoll.as_raw_fd(), &mut self.events, timeout_ms) {
            Ok(count) => Ok(count),
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
        self.control(libc::EPOLL_CTL_ADD, fd, events, token.to_bits())
    }

    pub(crate) fn modify(&mut self, fd: RawFd, events: u32, token: Token) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, token.to_bits())
    }

    /// Deletes a registration. Its event is ignored, but passed by the reference programs: Linux
    /// before 2.6.9 required it (epoll_ctl(2), BUGS).
    pub(crate) fn delete(&mut self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    fn control(&mut self, operation: i32, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
        self.counts.count(SystemCall::EpollCtl);
        let event = libc::epoll_event { events, u64: data };
        K::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, event)
    }

    /// Accepts a connection.
    pub(crate) fn accept4(&mut self, listener: RawFd) -> io::Result<OwnedFd> {
        self.counts.count(SystemCall::Accept4);
        K::accept4(listener, libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
    }

    /// Receives into `buffer`; 0 is the end of the peer's stream.
    pub(crate) fn recv(&mut self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| {
            self.counts.count(SystemCall::Recvfrom);
            K::recv(fd, buffer)
        })
    }

    /// Sends as many bytes as the socket buffer accepts.
    pub(crate) fn send(&mut self, fd: RawFd, output: PendingOutput<'_>) -> io::Result<usize> {
        uninterrupted(|| {
            self.counts.count(SystemCall::Sendto);
            K::send(fd, output.bytes, output.flags)
        })
    }

    pub(crate) fn shutdown(&mut self, fd: RawFd, how: i32) -> io::Result<()> {
        self.counts.count(SystemCall::Shutdown);
        K::shutdown(fd, how)
    }

    pub(crate) fn close(&mut self, fd: OwnedFd) {
        self.counts.count(SystemCall::Close);
        K::close(fd);
    }
}

/// Repeats a system call while it fails with EINTR.
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
