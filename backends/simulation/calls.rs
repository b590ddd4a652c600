//! Replacement for the crate libc in the server. Calls go to the simulated kernel of the thread if
//! it has one, and to the real kernel otherwise.

pub(crate) use ::libc::*;

use std::fmt::Debug;
use std::os::fd::RawFd;
use std::slice;

use super::kernel::Kernel;

/// Makes the call to this thread's simulated kernel, if it has one, and traces it.
fn simulated<T: Debug>(
    name: &'static str,
    fd: RawFd,
    call: impl FnOnce(&mut Kernel) -> Result<T, i32>,
) -> Option<Result<T, i32>> {
    Kernel::with(|kernel| {
        if std::thread::panicking() {
            // A check has failed: calls made while unwinding are not checked.
            return Err(libc::EIO);
        }
        kernel.count_call(name);
        let result = call(kernel);
        kernel.trace(format_args!("{name}({fd}) = {result:?}"));
        result
    })
}

/// Converts a result to a return value; an error is -1 and sets errno.
fn returned<T>(result: Result<T, i32>, value: impl FnOnce(T) -> isize) -> isize {
    match result {
        Ok(result) => value(result),
        Err(errno) => {
            // SAFETY: the call takes no pointers.
            let location = unsafe { __errno_location() };
            // SAFETY: the pointer is to this thread's errno, and lives as long as the thread.
            unsafe { location.write(errno) };
            -1
        }
    }
}

/// # Safety
/// That of `clock_gettime(2)`.
pub(crate) unsafe fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    let Some(now_ms) = Kernel::with(Kernel::begin_iteration) else {
        // SAFETY: passed on to the caller.
        return unsafe { ::libc::clock_gettime(clock, time) };
    };
    let now =
        timespec { tv_sec: (now_ms / 1000) as i64, tv_nsec: (now_ms % 1000 * 1_000_000) as i64 };
    // SAFETY: passed on to the caller.
    unsafe { time.write(now) };
    0
}

/// # Safety
/// That of `epoll_ctl(2)`.
pub(crate) unsafe fn epoll_ctl(
    epoll: RawFd,
    operation: c_int,
    fd: RawFd,
    event: *mut epoll_event,
) -> c_int {
    // SAFETY: passed on to the caller: it is null or an event.
    let event_data = unsafe { event.as_ref() }.map(|event| (event.events, event.u64));
    match simulated("epoll_ctl", fd, |kernel| kernel.epoll_ctl(operation, fd, event_data)) {
        Some(result) => returned(result, |()| 0) as c_int,
        // SAFETY: passed on to the caller.
        None => unsafe { ::libc::epoll_ctl(epoll, operation, fd, event) },
    }
}

/// # Safety
/// That of `epoll_wait(2)`.
pub(crate) unsafe fn epoll_wait(
    epoll: RawFd,
    events: *mut epoll_event,
    max_events: c_int,
    timeout_ms: c_int,
) -> c_int {
    let wait = |kernel: &mut Kernel| kernel.epoll_wait(max_events as usize, timeout_ms as u64);
    let Some(result) = simulated("epoll_wait", epoll, wait) else {
        // SAFETY: passed on to the caller.
        return unsafe { ::libc::epoll_wait(epoll, events, max_events, timeout_ms) };
    };
    let write = |ready: Vec<(u32, u64)>| {
        // SAFETY: passed on to the caller: there is room for `max_events`.
        let events = unsafe { slice::from_raw_parts_mut(events, max_events as usize) };
        for (event, &(happened, data)) in events.iter_mut().zip(&ready) {
            *event = epoll_event { events: happened, u64: data };
        }
        ready.len() as isize
    };
    returned(result, write) as c_int
}

/// # Safety
/// That of `accept4(2)`.
pub(crate) unsafe fn accept4(
    listener: RawFd,
    address: *mut sockaddr,
    length: *mut socklen_t,
    flags: c_int,
) -> RawFd {
    match simulated("accept4", listener, |kernel| kernel.accept(listener)) {
        Some(result) => returned(result, |fd| fd as isize) as RawFd,
        // SAFETY: passed on to the caller.
        None => unsafe { ::libc::accept4(listener, address, length, flags) },
    }
}

/// # Safety
/// That of `recv(2)`.
pub(crate) unsafe fn recv(fd: RawFd, buffer: *mut c_void, length: usize, flags: c_int) -> ssize_t {
    let simulated = simulated("recvfrom", fd, |kernel| {
        // SAFETY: passed on to the caller: it owns a buffer of this length.
        let buffer = unsafe { slice::from_raw_parts_mut(buffer.cast(), length) };
        kernel.receive(fd, buffer)
    });
    match simulated {
        Some(result) => returned(result, |count| count as isize),
        // SAFETY: passed on to the caller.
        None => unsafe { ::libc::recv(fd, buffer, length, flags) },
    }
}

/// # Safety
/// That of `send(2)`.
pub(crate) unsafe fn send(fd: RawFd, bytes: *const c_void, length: usize, flags: c_int) -> ssize_t {
    let simulated = simulated("sendto", fd, |kernel| {
        // SAFETY: passed on to the caller: these are `length` bytes that do not change.
        let bytes = unsafe { slice::from_raw_parts(bytes.cast(), length) };
        kernel.send(fd, bytes)
    });
    match simulated {
        Some(result) => returned(result, |count| count as isize),
        // SAFETY: passed on to the caller.
        None => unsafe { ::libc::send(fd, bytes, length, flags) },
    }
}

/// # Safety
/// That of `shutdown(2)`.
pub(crate) unsafe fn shutdown(fd: RawFd, how: c_int) -> c_int {
    let simulated = simulated("shutdown", fd, |kernel| {
        let result = kernel.shutdown(fd, how);
        kernel.epoll.mark_changed(fd);
        result
    });
    match simulated {
        Some(result) => returned(result, |()| 0) as c_int,
        // SAFETY: passed on to the caller.
        None => unsafe { ::libc::shutdown(fd, how) },
    }
}

/// # Safety
/// That of `close(2)`.
pub(crate) unsafe fn close(fd: RawFd) -> c_int {
    let simulated = simulated("close", fd, |kernel| {
        kernel.epoll.forget(fd);
        kernel.close(fd)
    });
    match simulated {
        Some(result) => returned(result, |()| 0) as c_int,
        // SAFETY: passed on to the caller.
        None => unsafe { ::libc::close(fd) },
    }
}
