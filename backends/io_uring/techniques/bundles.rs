//! `bundles`: replaces several completions of one multishot receive with one that names the first
//! of several provided buffers, filled one after the other (IORING_RECVSEND_BUNDLE, Linux 6.10).
//!
//! Gain: fewer completions where peers send much at a time. A request head fits one buffer, and
//! then it gains nothing. Linux 6.13.11 to 6.14 fill buffers out of order. Off by default.

use ::io_uring::{opcode, squeue};

use super::direct_descriptors::Name;
use super::provided_buffers::{GROUP, ProvidedBuffers};

/// Receives until further notice, several buffers at a time.
pub(crate) fn entry(name: Name) -> squeue::Entry {
    name.complete(opcode::RecvMultiBundle::new(name.number(), GROUP).build())
}

/// Which buffers hold `count` bytes that begin in `first`, and how many each of them.
pub(crate) fn pieces(
    buffers: &ProvidedBuffers,
    first: u16,
    count: usize,
) -> impl Iterator<Item = (u16, usize)> {
    let (mut buffer, mut left, mut is_first) = (first, count, true);
    let each = buffers.buffer_bytes();
    std::iter::from_fn(move || {
        if left == 0 && !is_first {
            return None;
        }
        let piece = (buffer, left.min(each));
        left -= piece.1;
        is_first = false;
        if left > 0 {
            buffer = buffers.behind(buffer);
        }
        Some(piece)
    })
}
