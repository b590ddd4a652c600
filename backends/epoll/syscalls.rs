//! The system calls of the epoll engines, one thin wrapper each: it makes the call, counts it,
//! and turns -1 into its errno. Nothing here decides anything.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::counters::{SystemCall, SystemCalls};
use crate::error::BackendError;
use crate::server::TICK;
// Tests put a simulated kernel in the place of the real one.
#[cfg(any(test, feature = "simulation"))]
use crate::simulation::calls as libc;
use crate::socket::check;
use crate::token::Token;
use crate::unsent::Unsent;

/// An epoll instance, and the count of all calls made through it and beside it.
pub(crate) struct Syscalls {
    epoll: OwnedFd,
    events: Box<[libc::epoll_event]>,
    counts: SystemCalls,
}

impl Syscalls {
    /// `epoll_create1`, with room for so many events a wait.
    pub(crate) fn new(events_per_wait: usize) -> Result<Self, BackendError> {
        let mut counts = SystemCalls::default();
        counts.count(SystemCall::EpollCreate1);
        // SAFETY: epoll_create1 takes no pointers.
        let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
            .map_err(|error| BackendError::unexpected("epoll_create1", error))?;
        let none = libc::epoll_event { events: 0, u64: 0 };
        Ok(Self {
            // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
            epoll: unsafe { OwnedFd::from_raw_fd(epoll) },
            events: vec![none; events_per_wait.clamp(1, i32::MAX as usize)].into_boxed_slice(),
            counts,
        })
    }

    /// All calls so far.
    pub(crate) fn counts(&self) -> &SystemCalls {
        &self.counts
    }

    /// `epoll_wait` until an event comes or the tick has passed; the number of events. A signal
    /// ends the wait like the tick, SA_RESTART or not (signal(7)).
    pub(crate) fn wait(&mut self) -> Result<usize, BackendError> {
        self.wait_for(TICK)
    }

    /// The same for another time, in whole milliseconds; no time at all does not wait.
    pub(crate) fn wait_for(&mut self, time: Duration) -> Result<usize, BackendError> {
        self.counts.count(SystemCall::EpollWait);
        // SAFETY: the pointer is to a slice that outlives the call, and its length is said.
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

    /// The event of that index of the last wait: what was asked for, and what happened to it.
    pub(crate) fn event(&self, index: usize) -> (Token, u32) {
        let event = self.events[index];
        let token = Token::from_bits(event.u64).expect("epoll hands back only what it was given");
        (token, event.events)
    }

    /// `EPOLL_CTL_ADD`
    pub(crate) fn add(&mut self, fd: RawFd, events: u32, token: Token) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, token)
    }

    /// `EPOLL_CTL_MOD`
    pub(crate) fn modify(&mut self, fd: RawFd, events: u32, token: Token) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, token)
    }

    fn control(&mut self, what: i32, fd: RawFd, events: u32, token: Token) -> io::Result<()> {
        self.counts.count(SystemCall::EpollCtl);
        let mut event = libc::epoll_event { events, u64: token.to_bits() };
        // SAFETY: the event lives through the call, which copies it.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), what, fd, &raw mut event) })?;
        Ok(())
    }

    /// `EPOLL_CTL_DEL`
    pub(crate) fn delete(&mut self, fd: RawFd) -> io::Result<()> {
        self.counts.count(SystemCall::EpollCtl);
        // Nobody looks at it; the documents hand one over, as kernels before 2.6.9 wanted it.
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: the event lives through the call.
        check(unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, &raw mut event)
        })?;
        Ok(())
    }

    /// `accept4`; the peer's address is asked for, as the documents do.
    pub(crate) fn accept4(&mut self, listener: RawFd) -> io::Result<OwnedFd> {
        self.counts.count(SystemCall::Accept4);
        // SAFETY: all-zero bytes are a valid sockaddr_in. Nobody looks at it, so a longer address
        // may be cut off (accept(2)).
        let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_in>() as u32;
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: both pointers live through the call, and the length says how much room there is.
        let fd = check(unsafe {
            libc::accept4(listener, (&raw mut address).cast(), &raw mut length, flags)
        })?;
        // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// `recv` into `buffer`; 0 is the end of the peer's stream.
    pub(crate) fn recv(&mut self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| {
            self.counts.count(SystemCall::Recvfrom);
            // SAFETY: the buffer is borrowed for the call, and its length is said.
            unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) }
        })
    }

    /// `send` as much of it as there is room for.
    pub(crate) fn send(&mut self, fd: RawFd, unsent: Unsent<'_>) -> io::Result<usize> {
        uninterrupted(|| {
            self.counts.count(SystemCall::Sendto);
            let Unsent { bytes, flags } = unsent;
            // SAFETY: the bytes are borrowed for the call, and their length is said.
            unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) }
        })
    }

    /// `shutdown`
    pub(crate) fn shutdown(&mut self, fd: RawFd, how: i32) -> io::Result<()> {
        self.counts.count(SystemCall::Shutdown);
        // SAFETY: shutdown takes no pointers.
        check(unsafe { libc::shutdown(fd, how) })?;
        Ok(())
    }

    /// `close`. Whatever it returns, the descriptor is gone: trying again could hit another's
    /// (close(2), "Dealing with error returns").
    pub(crate) fn close(&mut self, fd: OwnedFd) {
        self.counts.count(SystemCall::Close);
        // Not by dropping it, which in debug builds asks first whether it is open.
        // SAFETY: the descriptor is owned, and given up here.
        unsafe { libc::close(fd.into_raw_fd()) };
    }
}

/// Makes a call again for as long as a signal ends it before it has done anything.
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
