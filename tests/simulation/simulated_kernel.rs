//! The system calls of the simulated kernel, which is that of the calling thread.

use std::fmt::Debug;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use libc::epoll_event;
use ringpoll_backends::testing::{Kernel, RingSetup};
use ringpoll_backends::{BackendError, EngineOptions};

use crate::simulated_ring::SimulatedRing;
use crate::state::State;

/// A kernel whose state is a [`State`] of the thread.
pub(crate) struct SimulatedKernel;

/// Makes a system call, which is counted and traced.
fn call<T: Debug>(
    name: &'static str,
    fd: RawFd,
    call: impl FnOnce(&mut State) -> Result<T, i32>,
) -> io::Result<T> {
    State::with(|state| {
        if std::thread::panicking() {
            // A check has failed: calls made while unwinding are not checked.
            return Err(libc::EIO);
        }
        state.count_call(name);
        let result = call(state);
        state.trace(format_args!("{name}({fd}) = {result:?}"));
        result
    })
    .map_err(io::Error::from_raw_os_error)
}

impl Kernel for SimulatedKernel {
    type Ring = SimulatedRing;

    fn set_up_ring(requested: &EngineOptions) -> Result<RingSetup<SimulatedRing>, BackendError> {
        Ok(State::with(|state| state.set_up_ring(requested)))
    }

    fn coarse_clock_ms() -> u64 {
        State::with(State::begin_iteration)
    }

    fn clock() -> Duration {
        State::with(State::busy_poll_clock)
    }

    fn sleep(time: Duration) {
        State::with(|state| state.sleep(time));
    }

    fn epoll_create1() -> io::Result<OwnedFd> {
        // Any descriptor will do.
        call("epoll_create1", -1, |_| {
            Ok(UnixDatagram::unbound().expect("a free descriptor").into())
        })
    }

    fn epoll_ctl(_: RawFd, operation: i32, fd: RawFd, event: epoll_event) -> io::Result<()> {
        call("epoll_ctl", fd, |state| state.epoll_ctl(operation, fd, event))
    }

    fn epoll_wait(epoll: RawFd, events: &mut [epoll_event], timeout_ms: i32) -> io::Result<usize> {
        let wait = |state: &mut State| state.epoll_wait(events.len(), timeout_ms as u64);
        let ready = call("epoll_wait", epoll, wait)?;
        for (event, &(happened, data)) in events.iter_mut().zip(&ready) {
            *event = epoll_event { events: happened, u64: data };
        }
        Ok(ready.len())
    }

    fn accept4(listener: RawFd, _flags: i32) -> io::Result<OwnedFd> {
        let fd = call("accept4", listener, |state| state.accept(listener))?;
        // SAFETY: the descriptor is a new one, and nothing else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn recv(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        call("recvfrom", fd, |state| state.receive(fd, buffer))
    }

    fn send(fd: RawFd, bytes: &[u8], _flags: i32) -> io::Result<usize> {
        call("sendto", fd, |state| state.send(fd, bytes))
    }

    fn shutdown(fd: RawFd, how: i32) -> io::Result<()> {
        call("shutdown", fd, |state| {
            let result = state.shutdown(fd, how);
            state.epoll.mark_changed(fd);
            result
        })
    }

    fn close(fd: OwnedFd) {
        let number = fd.as_raw_fd();
        // The descriptor is released even if the call fails.
        let _ = call("close", number, |state| {
            state.epoll.forget(number);
            state.close(fd.into_raw_fd())
        });
    }
}
