//! `bundles`: one CQE reports several provided buffers (IORING_RECVSEND_BUNDLE, see
//! io_uring_prep_recv(3)).
//!
//! Replaces several CQEs of a multishot RECV: the CQE names the first buffer, and the bytes
//! continue in the following buffers of the ring.
//!
//! Kernel: Linux 6.10. Linux 6.13.11 to 6.14.8 can fill the buffers out of order
//! (axboe/liburing 1409).
//!
//! Helps where peers send much at a time. Does nothing for request heads, which fit one buffer.
//! Experimental: no measurement shows that it pays. Off by default.

use std::os::fd::RawFd;

use ::io_uring::{opcode, squeue, types};

use super::provided_buffers::GROUP;

pub(crate) fn sqe(fd: RawFd) -> squeue::Entry {
    opcode::RecvMultiBundle::new(types::Fd(fd), GROUP).build()
}
