//! Controls when connections are accepted (backpressure), and admits them. A connection that cannot
//! be admitted waits in the listener's queue or, if a multishot ACCEPT has accepted it, in the one
//! of [`AcceptControl`].

use std::collections::VecDeque;
use std::mem;
use std::os::fd::OwnedFd;

use super::Tuned;
use super::in_flight::InFlight;
use crate::io_uring::ring::Completion;
use crate::io_uring::techniques::multishot_accept;
use crate::kernel::Kernel;
use crate::lifecycle::Lifecycle;
use crate::protocol::Protocol;
use crate::token::{Operation, Token};

/// The ACCEPT in flight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AcceptState {
    Idle,
    Single,
    Multishot,
    /// A multishot ACCEPT whose cancel has been submitted.
    Cancelled,
}

pub(super) struct AcceptControl {
    state: AcceptState,
    /// Connections that the kernel has accepted and that have no slot yet, in order. A whole
    /// completion queue of them may arrive before a cancel takes effect.
    accepted_queue: VecDeque<OwnedFd>,
}

impl AcceptControl {
    /// Allocates a queue with room for `accepted` connections; it grows if there are more.
    pub(super) fn new(accepted: usize) -> Self {
        Self { state: AcceptState::Idle, accepted_queue: VecDeque::with_capacity(accepted) }
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.state != AcceptState::Idle
    }

    /// Records a completion of the ACCEPT. Returns true for the ECANCELED of a multishot ACCEPT
    /// that the engine has cancelled.
    pub(super) fn ends_by_own_cancel(&mut self, completion: Completion) -> bool {
        if completion.more() {
            return false;
        }
        let was = mem::replace(&mut self.state, AcceptState::Idle);
        was == AcceptState::Cancelled && completion.errno() == Some(libc::ECANCELED)
    }
}

impl<K: Kernel, P: Protocol> Tuned<K, P> {
    /// Submits an ACCEPT, single-shot or multishot, if connections can be admitted, or cancels a
    /// multishot ACCEPT if few slots are free.
    pub(super) fn submit_accept(&mut self) {
        let slots = self.worker.limits().connections;
        let free = slots - self.worker.connections.len();
        let token = Token::of_worker(Operation::Accept);
        match self.accept_control.state {
            AcceptState::Idle if self.worker.can_accept() => {}
            AcceptState::Multishot if multishot_accept::must_cancel(free, slots) => {
                self.accept_control.state = AcceptState::Cancelled;
                return self.ring.cancel(token);
            }
            _ => return,
        }
        let listener = self.worker.listener_fd();
        if self.techniques.multishot_accept && multishot_accept::has_room(free, slots) {
            self.accept_control.state = AcceptState::Multishot;
            // SAFETY: the SQE has no pointers: the peer's address is not requested.
            unsafe { self.ring.push(multishot_accept::sqe(listener), token) };
        } else {
            self.accept_control.state = AcceptState::Single;
            self.ring.accept(listener, token);
        }
    }

    /// Admits an accepted connection, or queues it if no slot is free or others wait.
    pub(super) fn admit_or_queue(&mut self, fd: OwnedFd) {
        if self.accept_control.accepted_queue.is_empty() && !self.worker.connections.is_full() {
            self.admit(fd);
        } else {
            self.accept_control.accepted_queue.push_back(fd);
        }
    }

    pub(super) fn admit(&mut self, fd: OwnedFd) {
        let (id, next) = self.worker.on_accepted(fd);
        *self.in_flight(id) = InFlight::NONE;
        self.start_next(id, next);
    }

    /// Admits queued connections in the order in which they were accepted.
    pub(super) fn admit_queued(&mut self) {
        while !self.worker.connections.is_full() {
            let Some(fd) = self.accept_control.accepted_queue.pop_front() else { return };
            self.admit(fd);
        }
    }
}
