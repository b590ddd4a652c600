//! `multishot_accept`: one ACCEPT posts a CQE for each connection (IORING_ACCEPT_MULTISHOT, see
//! io_uring_prep_multishot_accept(3)).
//!
//! Replaces one ACCEPT per connection. Each CQE has IORING_CQE_F_MORE until an error, a completion
//! queue overflow or a cancel ends the request; the last CQE may carry a descriptor too.
//!
//! Kernel: Linux 5.19.
//!
//! Helps where many connections are opened. Hurts where connections must not be accepted faster
//! than they can be admitted: the kernel accepts all that wait in the listener's queue. So it is
//! submitted only while many slots are free and cancelled when few are; connections accepted in the
//! meantime wait in a queue of the engine.

use std::os::fd::RawFd;

use ::io_uring::{opcode, squeue, types};

/// Free slots needed to submit it. It is cancelled when half of them are left.
const MIN_FREE_SLOTS: usize = 128;

pub(crate) fn sqe(listener: RawFd) -> squeue::Entry {
    opcode::AcceptMulti::new(types::Fd(listener)).flags(libc::SOCK_CLOEXEC).build()
}

/// Returns true if enough slots are free to submit a multishot ACCEPT.
pub(crate) fn has_room(free: usize, slots: usize) -> bool {
    free >= MIN_FREE_SLOTS.min(slots / 2 + 1)
}

/// Returns true if so few slots are free that it must be cancelled.
pub(crate) fn must_cancel(free: usize, slots: usize) -> bool {
    free < MIN_FREE_SLOTS.min(slots / 2 + 1) / 2 + 1
}
