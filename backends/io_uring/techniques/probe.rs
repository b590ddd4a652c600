//! Whether the kernel has a technique, found out by trying it on a ring of its own.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU8;

use ::io_uring::{IoUring, Probe, opcode, squeue, types};

use super::direct_descriptors;
use super::provided_buffers::ProvidedBuffers;
use crate::socket::check;

const A_MEBIBYTE: usize = 1 << 20;

/// Nobody writes to it, and the kernel may read it when the ring has gone.
static MORE_THAN_A_SOCKET_TAKES: [AtomicU8; A_MEBIBYTE] = [const { AtomicU8::new(0) }; A_MEBIBYTE];

/// The result of an operation, if it has one at once.
fn result_of(ring: &mut IoUring, entry: &squeue::Entry) -> Option<i32> {
    // SAFETY: what the entries here point to is a static, or nothing.
    unsafe { ring.submission().push(entry) }.ok()?;
    ring.submit().ok()?;
    ring.completion().next().map(|completion| completion.result())
}

/// Whether it waits, rather than being refused.
fn is_taken(result: Option<i32>) -> bool {
    result != Some(-libc::EINVAL)
}

/// A Unix socket that listens under a name that nobody knows: the kernel chooses it (unix(7),
/// "Autobind feature").
fn listener() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes no pointers.
    let socket = check(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })?;
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let family = libc::AF_UNIX as libc::sa_family_t;
    let length = size_of::<libc::sa_family_t>() as u32;
    // SAFETY: the address is its family alone, which lives through the call, and its size is said.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const family).cast(), length) })?;
    // SAFETY: listen takes no pointers.
    check(unsafe { libc::listen(socket.as_raw_fd(), 1) })?;
    Ok(socket)
}

pub(super) fn multishot_accept() -> bool {
    let Ok(listener) = listener() else { return false };
    let Ok(mut ring) = IoUring::new(2) else { return false };
    let accept = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd())).build();
    is_taken(result_of(&mut ring, &accept))
}

/// Whether a send with MSG_WAITALL goes on until all is sent: an older kernel says how much there
/// was room for, and what is linked to the send follows.
pub(super) fn whole_sends() -> bool {
    let (Ok((here, _there)), Ok(mut ring)) = (UnixStream::pair(), IoUring::new(2)) else {
        return false;
    };
    let bytes = (&raw const MORE_THAN_A_SOCKET_TAKES).cast();
    let send = opcode::Send::new(types::Fd(here.as_raw_fd()), bytes, A_MEBIBYTE as u32);
    result_of(&mut ring, &send.flags(libc::MSG_WAITALL).build()).is_none()
}

pub(super) fn provided_buffers() -> bool {
    let Ok(ring) = IoUring::new(2) else { return false };
    ProvidedBuffers::register(&ring.submitter(), 2, 1).is_ok()
}

pub(super) fn multishot_receive() -> bool {
    let (Ok((here, _there)), Ok(mut ring)) = (UnixStream::pair(), IoUring::new(2)) else {
        return false;
    };
    let recv = opcode::RecvMulti::new(types::Fd(here.as_raw_fd()), 0).build();
    is_taken(result_of(&mut ring, &recv))
}

pub(super) fn direct_descriptors() -> bool {
    let Ok(mut ring) = IoUring::new(2) else { return false };
    if ring.submitter().register_files_sparse(1).is_err() {
        return false;
    }
    // No descriptor at all: who does not know the field refuses it before looking there.
    is_taken(result_of(&mut ring, &direct_descriptors::accept(-1)))
}

pub(super) fn zero_copy_send() -> bool {
    let Ok(ring) = IoUring::new(2) else { return false };
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).is_ok()
        && probe.is_supported(opcode::SendZc::CODE)
}
