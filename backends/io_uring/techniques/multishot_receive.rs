//! `multishot_receive`: one RECV posts a CQE for each batch of bytes that arrives
//! (IORING_RECV_MULTISHOT, see io_uring_prep_recv_multishot(3)).
//!
//! Replaces one RECV after the other on a connection. The kernel receives into
//! [`super::provided_buffers`]. Each CQE has IORING_CQE_F_MORE until the end of the stream, an
//! error, a cancel, an empty buffer ring (ENOBUFS) or a completion queue overflow ends the request.
//!
//! Kernel: Linux 6.0, with a provided buffer ring.
//!
//! Helps on keep-alive connections: requests after the first need no RECV submission. Hurts where a
//! connection has one request, since the RECV must be cancelled before the close; without
//! keep-alive a single-shot RECV is submitted instead. Bytes after the last request are received
//! as well; the connection counts and discards them.

use std::os::fd::RawFd;

use ::io_uring::{opcode, squeue, types};

use super::provided_buffers::GROUP;

pub(crate) fn sqe(fd: RawFd) -> squeue::Entry {
    opcode::RecvMulti::new(types::Fd(fd), GROUP).build()
}

/// Returns a single-shot RECV into a provided buffer (IOSQE_BUFFER_SELECT).
pub(crate) fn single_sqe(fd: RawFd, buffer_bytes: usize) -> squeue::Entry {
    let recv = opcode::Recv::new(types::Fd(fd), std::ptr::null_mut(), buffer_bytes as u32);
    recv.buf_group(GROUP).build().flags(squeue::Flags::BUFFER_SELECT)
}
