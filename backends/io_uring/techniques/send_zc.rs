//! `send_zc_min_bytes`: long responses are sent without a copy (IORING_OP_SEND_ZC, see
//! io_uring_prep_send_zc(3)).
//!
//! Replaces the copy of the response into socket buffers: the network card reads the response's
//! memory. A second CQE (IORING_CQE_F_NOTIF, announced by IORING_CQE_F_MORE in the first) reports
//! that the kernel no longer reads it. That may be long after the close, and the slot stays in use
//! until then.
//!
//! Kernel: Linux 6.0.
//!
//! Helps with long responses on a network card with scatter-gather. Hurts on loopback, which copies
//! anyway and adds the accounting. At the receiver such a segment is accounted in whole pages, so
//! that a peer with a receive buffer of a few KiB may never receive it. Off by default.

use ::io_uring::{opcode, squeue};

use super::direct_descriptors::Descriptor;
use crate::pending_output::PendingOutput;

pub(crate) fn sqe(descriptor: Descriptor, output: PendingOutput<'_>) -> squeue::Entry {
    let (pointer, length) = (output.bytes.as_ptr(), output.bytes.len() as u32);
    let send = opcode::SendZc::new(descriptor.number(), pointer, length).flags(output.flags);
    descriptor.set_fixed_flag(send.build())
}
