//! Controls when connections are accepted (backpressure), and admits them. A connection that cannot
//! be admitted waits in the listener's queue or, if a multishot ACCEPT has accepted it, in
//! [`AcceptedQueue`].

use std::io;
use std::mem;
use std::os::fd::IntoRawFd;

use super::Tuned;
use super::in_flight::InFlight;
use crate::io_uring::descriptor::AcceptedSocket;
use crate::io_uring::ring::{Completion, Ring};
use crate::io_uring::techniques::experimental::direct_descriptors::{self, DirectTable};
use crate::io_uring::techniques::multishot_accept::{self, AcceptedQueue};
use crate::kernel::Kernel;
use crate::lifecycle::Lifecycle;
use crate::protocol::Protocol;
use crate::slab::ConnectionId;
use crate::techniques::Techniques;
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
    slots: usize,
    accepted_queue: AcceptedQueue,
    /// The direct descriptor table, with that technique.
    direct_table: Option<DirectTable>,
}

impl AcceptControl {
    pub(super) fn new<K: Kernel>(
        ring: &mut Ring<K>,
        techniques: &Techniques,
        slots: usize,
        completions: usize,
    ) -> io::Result<Self> {
        let direct_table = match techniques.direct_descriptors {
            true => Some(DirectTable::register::<K>(ring.kernel_ring(), slots, completions)?),
            false => None,
        };
        let capacity = if techniques.multishot_accept { completions } else { 0 };
        Ok(Self {
            state: AcceptState::Idle,
            slots,
            accepted_queue: AcceptedQueue::with_capacity(capacity),
            direct_table,
        })
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

    pub(super) fn is_direct(&self) -> bool {
        self.direct_table.is_some()
    }

    fn has_direct_slot(&self) -> bool {
        self.direct_table.as_ref().is_none_or(DirectTable::has_slot)
    }

    fn has_direct_slots_for_batch(&self) -> bool {
        self.direct_table.as_ref().is_none_or(DirectTable::has_slots_for_batch)
    }
}

impl<K: Kernel, P: Protocol> Tuned<K, P> {
    /// Submits an ACCEPT, single-shot or multishot, if connections can be admitted, or cancels a
    /// multishot ACCEPT if few slots are free.
    pub(super) fn submit_accept(&mut self) {
        let slots = self.accept_control.slots;
        let free = slots - self.worker.connections.len();
        let token = Token::of_worker(Operation::Accept);
        match self.accept_control.state {
            AcceptState::Idle
                if self.worker.can_accept() && self.accept_control.has_direct_slot() => {}
            AcceptState::Multishot
                if multishot_accept::must_cancel(free, slots)
                    || !self.accept_control.has_direct_slots_for_batch() =>
            {
                self.accept_control.state = AcceptState::Cancelled;
                return self.ring.cancel(token);
            }
            _ => return,
        }
        let is_direct = self.accept_control.is_direct();
        let is_multishot = self.techniques.multishot_accept
            && multishot_accept::has_room(free, slots)
            && self.accept_control.has_direct_slots_for_batch();
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

    /// Admits an accepted connection, or queues it if no slot is free or others wait.
    pub(super) fn admit_or_queue(&mut self, socket: AcceptedSocket) {
        if let Some(table) = &mut self.accept_control.direct_table {
            table.on_slot_used();
        }
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

    /// Passes ownership of the descriptor to the ring, whose CLOSE closes it.
    pub(super) fn release_descriptor(&mut self, id: ConnectionId) {
        if self.accept_control.direct_table.is_none()
            || self.in_flight(id).descriptor.fd().is_some()
        {
            let _ = self.worker.take_fd(id).into_raw_fd();
        }
    }

    /// Records that the descriptor is closed.
    pub(super) fn on_descriptor_closed(&mut self, id: ConnectionId) {
        let is_direct = self.in_flight(id).descriptor.fd().is_none();
        if let (true, Some(table)) = (is_direct, &mut self.accept_control.direct_table) {
            table.on_slot_closed();
        }
    }
}
