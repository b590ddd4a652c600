//! `zero_copy_send_bytes`: replaces the copy of a long answer into the kernel: IORING_OP_SEND_ZC
//! (Linux 6.0) sends it from where it stands.
//!
//! Gain: on a network card that can gather, from some 10 KiB on. On loopback it always copies, and
//! the bookkeeping makes it 0.6 to 0.75 as fast. A second completion (F_NOTIF, announced by F_MORE
//! in the first) says that the kernel no longer reads the bytes; it may come long after the close,
//! and the slot is not free before it. And a segment counts there with whole pages at its receiver,
//! so that a peer with a receive buffer of a few KiB may never get it. Off by default.

use ::io_uring::{opcode, squeue};

use super::direct_descriptors::Name;
use crate::unsent::Unsent;

/// The send, from where the bytes stand.
pub(crate) fn entry(name: Name, unsent: Unsent<'_>) -> squeue::Entry {
    let (pointer, length) = (unsent.bytes.as_ptr(), unsent.bytes.len() as u32);
    name.complete(opcode::SendZc::new(name.number(), pointer, length).flags(unsent.flags).build())
}
