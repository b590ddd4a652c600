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
//! meantime wait in an [`AcceptedQueue`].

use std::collections::VecDeque;

use ::io_uring::{opcode, squeue, types};

use crate::io_uring::descriptor::AcceptedSocket;

/// Free slots needed to submit it. It is cancelled when half of them are left.
const MIN_FREE_SLOTS: usize = 128;

pub(crate) fn sqe(listener: i32, is_direct: bool) -> squeue::Entry {
    let accept = opcode::AcceptMulti::new(types::Fd(listener));
    // A direct descriptor cannot be inherited by exec, and SOCK_CLOEXEC for one fails with EINVAL.
    let flags = if is_direct { 0 } else { libc::SOCK_CLOEXEC };
    accept.allocate_file_index(is_direct).flags(flags).build()
}

/// Returns true if enough slots are free to submit a multishot ACCEPT.
pub(crate) fn has_room(free: usize, slots: usize) -> bool {
    free >= MIN_FREE_SLOTS.min(slots / 2 + 1)
}

/// Returns true if so few slots are free that it must be cancelled.
pub(crate) fn must_cancel(free: usize, slots: usize) -> bool {
    free < MIN_FREE_SLOTS.min(slots / 2 + 1) / 2 + 1
}

/// Connections that the kernel has accepted and that have no slot yet, in order. A whole completion
/// queue of them may arrive before a cancel takes effect.
pub(crate) struct AcceptedQueue(VecDeque<AcceptedSocket>);

impl AcceptedQueue {
    /// Allocates room for `capacity` connections; it grows if there are more.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(VecDeque::with_capacity(capacity))
    }

    pub(crate) fn push(&mut self, socket: AcceptedSocket) {
        self.0.push_back(socket);
    }

    pub(crate) fn pop(&mut self) -> Option<AcceptedSocket> {
        self.0.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
