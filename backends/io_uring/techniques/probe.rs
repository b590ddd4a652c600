//! Whether the kernel has a technique, found out by trying it on a ring of its own.

use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::ptr;

use ::io_uring::{IoUring, Probe, opcode, squeue, types};

use super::direct_descriptors;
use super::provided_buffers::ProvidedBuffers;

/// The result of an operation, if it has one at once.
fn result_of(ring: &mut IoUring, entry: &squeue::Entry) -> Option<i32> {
    // SAFETY: what the entries here point to outlives the rings that they are pushed to, whose
    // drop ends them.
    unsafe { ring.submission().push(entry) }.ok()?;
    ring.submit().ok()?;
    ring.completion().next().map(|completion| completion.result())
}

/// Whether it waits, rather than being refused.
fn is_taken(result: Option<i32>) -> bool {
    result != Some(-libc::EINVAL)
}

pub(super) fn multishot_accept() -> bool {
    // A Unix socket without a name in the file system: nobody will connect.
    let address = std::os::linux::net::SocketAddrExt::from_abstract_name([]);
    let Ok(listener) = address.and_then(|it| UnixListener::bind_addr(&it)) else { return false };
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
    // More than a socket takes by default.
    let bytes = vec![0; 8 << 20];
    let fd = types::Fd(here.as_raw_fd());
    let send = opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32);
    let result = result_of(&mut ring, &send.flags(libc::MSG_WAITALL | libc::MSG_DONTWAIT).build());
    if result.is_some_and(|count| count > 0) {
        return false;
    }
    let (Ok((here, _there)), Ok(mut ring)) = (UnixStream::pair(), IoUring::new(2)) else {
        return false;
    };
    let fd = types::Fd(here.as_raw_fd());
    let send = opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32);
    let waits = result_of(&mut ring, &send.flags(libc::MSG_WAITALL).build()).is_none();
    // The kernel reads them until the ring is gone.
    drop(ring);
    waits
}

pub(super) fn provided_buffers() -> bool {
    let Ok(ring) = IoUring::new(2) else { return false };
    ProvidedBuffers::register(2, 1, |registration| registration(&ring.submitter())).is_ok()
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
    // An address that is no socket's: what does not know the field refuses it before it looks.
    let nobody = ptr::null_mut();
    let accept = opcode::Accept::new(types::Fd(-1), nobody, ptr::null_mut());
    let accept = accept.file_index(Some(direct_descriptors::any())).build();
    is_taken(result_of(&mut ring, &accept))
}

pub(super) fn zero_copy_send() -> bool {
    let Ok(ring) = IoUring::new(2) else { return false };
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).is_ok()
        && probe.is_supported(opcode::SendZc::CODE)
}
