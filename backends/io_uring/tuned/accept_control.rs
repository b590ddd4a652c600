//! Controls when connections are accepted (backpressure), and admits them. A connection that cannot
//! be admitted waits in the listener's queue or, if a multishot ACCEPT has accepted it, in
//! [`AcceptedQueue`].

use std::io;

use super::Tuned;
use super::in_flight::InFlight;
use crate::io_uring::ring::Ring;
use crate::io_uring::techniques::Techniques;
use crate::io_uring::techniques::direct_descriptors::{self, AcceptedSocket};
use crate::io_uring::techniques::multishot_accept::{self, AcceptedQueue};
use crate::lifecycle::Lifecycle;
use crate::protocol::Protocol;
use crate::token::{Operation, Token};

/// The ACCEPT in flight.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AcceptState {
    Idle,
    Single,
    Multishot,
    /// A multishot ACCEPT whose cancel has been submitted.
    Cancelled,
}

pub(super) struct AcceptControl {
    pub(super) state: AcceptState,
    slots: usize,
    accepted_queue: AcceptedQueue,
    /// Size of the direct descriptor table, and the number of its slots in use.
    fixed_slots: usize,
    used_fixed_slots: usize,
    /// Length of the completion queue.
    completions: usize,
}

impl AcceptControl {
    pub(super) fn new(
        ring: &mut Ring,
        techniques: &Techniques,
        slots: usize,
        completions: usize,
    ) -> io::Result<Self> {
        let fixed_slots = if techniques.direct_descriptors {
            direct_descriptors::register_table(ring, slots + completions)?
        } else {
            0
        };
        let capacity = if techniques.multishot_accept { completions } else { 0 };
        Ok(Self {
            state: AcceptState::Idle,
            slots,
            accepted_queue: AcceptedQueue::with_capacity(capacity),
            fixed_slots,
            used_fixed_slots: 0,
            completions,
        })
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.state != AcceptState::Idle
    }
}

impl<P: Protocol> Tuned<P> {
    /// Submits an ACCEPT, single-shot or multishot, if connections can be admitted, or cancels a
    /// multishot ACCEPT if few slots are free.
    pub(super) fn submit_accept(&mut self) {
        let slots = self.accept_control.slots;
        let free = slots - self.worker.connections.len();
        let token = Token::of_worker(Operation::Accept);
        match self.accept_control.state {
            AcceptState::Idle if self.worker.can_accept() && self.has_fixed_slot() => {}
            AcceptState::Multishot
                if multishot_accept::must_cancel(free, slots)
                    || !self.has_fixed_slots_for_batch() =>
            {
                self.accept_control.state = AcceptState::Cancelled;
                return self.ring.cancel(token);
            }
            _ => return,
        }
        let is_direct = self.techniques.direct_descriptors;
        let is_multishot = self.techniques.multishot_accept
            && multishot_accept::has_room(free, slots)
            && self.has_fixed_slots_for_batch();
        let listener = self.worker.listener_fd();
        self.accept_control.state =
            if is_multishot { AcceptState::Multishot } else { AcceptState::Single };
        let sqe = if is_multishot {
            multishot_accept::sqe(listener, is_direct)
        } else if is_direct {
            direct_descriptors::accept_sqe(listener)
        } else {
            return self.ring.accept(listener, token);
        };
        // SAFETY: the SQE has no pointers: the peer's address is not requested.
        unsafe { self.ring.push(sqe, token) };
    }

    /// An ACCEPT that finds the direct descriptor table full accepts a connection and drops it
    /// (ENFILE).
    fn has_fixed_slot(&self) -> bool {
        !self.techniques.direct_descriptors
            || self.accept_control.used_fixed_slots < self.accept_control.fixed_slots
    }

    /// A multishot ACCEPT may fill the completion queue before a cancel reaches the kernel.
    fn has_fixed_slots_for_batch(&self) -> bool {
        let AcceptControl { fixed_slots, used_fixed_slots, completions, .. } = self.accept_control;
        !self.techniques.direct_descriptors || fixed_slots - used_fixed_slots > completions
    }

    /// Admits an accepted connection, or queues it if no slot is free or others wait.
    pub(super) fn admit_or_queue(&mut self, socket: AcceptedSocket) {
        let is_fixed = matches!(socket, AcceptedSocket::Fixed(_));
        self.accept_control.used_fixed_slots += usize::from(is_fixed);
        if self.accept_control.accepted_queue.is_empty() && !self.worker.connections.is_full() {
            self.admit(socket);
        } else {
            self.accept_control.accepted_queue.push(socket);
        }
    }

    pub(super) fn admit(&mut self, socket: AcceptedSocket) {
        let descriptor = socket.descriptor();
        let (id, next) = match socket {
            AcceptedSocket::Fd(fd) => self.worker.on_accepted(fd),
            AcceptedSocket::Fixed(_) => self.worker.on_accepted(None),
        };
        *self.in_flight(id) = InFlight::new(descriptor);
        self.start_next(id, next);
    }

    /// Admits queued connections in the order in which they were accepted.
    pub(super) fn admit_queued(&mut self) {
        while !self.worker.connections.is_full() {
            let Some(socket) = self.accept_control.accepted_queue.pop() else { return };
            self.admit(socket);
        }
    }

    pub(super) fn release_fixed_slot(&mut self) {
        self.accept_control.used_fixed_slots -= 1;
    }
}
