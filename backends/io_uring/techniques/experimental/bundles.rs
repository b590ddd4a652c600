//! `bundles`: one CQE reports several provided buffers (IORING_RECVSEND_BUNDLE, see
//! io_uring_prep_recv(3)).
//!
//! Replaces several CQEs of a multishot RECV: the CQE names the first buffer, and the bytes
//! continue in the following buffers of the ring.
//!
//! Kernel: Linux 6.10. Linux 6.13.11 to 6.14.8 can fill the buffers out of order
//! (axboe/liburing 1409).
//!
//! Helps where peers send much at a time. Does nothing for request heads, which fit one buffer. Off
//! by default.

use ::io_uring::{opcode, squeue};

use crate::io_uring::descriptor::Descriptor;
use crate::io_uring::techniques::provided_buffers::{GROUP, ProvidedBuffers};

pub(crate) fn sqe(descriptor: Descriptor) -> squeue::Entry {
    descriptor.set_fixed_flag(opcode::RecvMultiBundle::new(descriptor.number(), GROUP).build())
}

/// Returns the buffers that hold `count` bytes beginning in `first`, with the byte count of each.
pub(crate) fn pieces(
    buffers: &ProvidedBuffers,
    first: u16,
    count: usize,
) -> impl Iterator<Item = (u16, usize)> {
    let (mut buffer, mut left, mut is_first) = (first, count, true);
    let buffer_bytes = buffers.buffer_bytes();
    std::iter::from_fn(move || {
        if left == 0 && !is_first {
            return None;
        }
        let piece = (buffer, left.min(buffer_bytes));
        left -= piece.1;
        is_first = false;
        if left > 0 {
            buffer = buffers.next_after(buffer);
        }
        Some(piece)
    })
}
