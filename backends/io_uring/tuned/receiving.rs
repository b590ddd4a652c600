//! Where bytes are received: into a buffer of the connection's own, or into one of those that all
//! share.

use std::collections::VecDeque;
use std::io;
use std::mem;

use super::Tuned;
use super::flight::{Operations, Receive};
use crate::connection::Next;
use crate::io_uring::recv_slab::RecvSlab;
use crate::io_uring::ring::{Completion, Ring};
use crate::io_uring::techniques::provided_buffers::{GROUP, ProvidedBuffers};
use crate::io_uring::techniques::{Techniques, bundles, multishot_receive};
use crate::lifecycle::Lifecycle;
use crate::slots::ConnectionId;
use crate::token::{Operation, Token};

pub(super) struct Buffers {
    kind: Kind,
    /// Who waits for a provided buffer, first come, first served.
    parked: VecDeque<ConnectionId>,
    buffer_bytes: usize,
}

enum Kind {
    /// One for each connection: from the ask to the answer it is the kernel's.
    Own(RecvSlab),
    /// The kernel's until bytes have come.
    Provided(ProvidedBuffers),
    /// Given up.
    Gone,
}

impl Buffers {
    pub(super) fn new(
        ring: &mut Ring,
        techniques: &Techniques,
        slots: usize,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        let kind = if techniques.provided_buffers > 0 {
            let count = techniques.provided_buffers;
            Kind::Provided(ProvidedBuffers::register(ring, count, buffer_bytes)?)
        } else {
            Kind::Own(RecvSlab::new(slots, buffer_bytes))
        };
        let parked =
            VecDeque::with_capacity(if techniques.provided_buffers > 0 { slots } else { 0 });
        Ok(Self { kind, parked, buffer_bytes })
    }

    /// The end: memory that the kernel may still write to is leaked rather than freed.
    pub(super) fn leave(&mut self, ring: &mut Ring) {
        let in_flight = ring.in_flight();
        let Kind::Provided(buffers) = mem::replace(&mut self.kind, Kind::Gone) else { return };
        #[cfg(test)]
        crate::io_uring::faults::account_for_buffers(buffers.kept());
        if ring.take_buffer_ring_back(GROUP).is_ok() && in_flight == 0 {
            // SAFETY: the kernel's ring is gone, and nothing is in flight.
            unsafe { buffers.free() };
        }
    }
}

impl Tuned {
    /// A receive, in the form that fits the life: where there is one request there is one receive
    /// after the other, and whoever floods is asked for each.
    pub(super) fn ask_for_bytes(&mut self, id: ConnectionId) {
        let token = Token::new(Operation::Recv, id);
        let is_long = self.server.persists();
        let flight = &mut self.flights[id.slot as usize];
        flight.asked(Operations::RECV, 1);
        let name = flight.name;
        let entry = match &mut self.buffers.kind {
            Kind::Own(slab) => {
                flight.receive = Receive::Own;
                let loan = slab.lend(id.slot);
                return self.ring.recv_on(name, loan, token);
            }
            _ if self.techniques.multishot_receive && is_long && !flight.is_greedy => {
                if self.techniques.bundles {
                    bundles::entry(name)
                } else {
                    multishot_receive::entry(name)
                }
            }
            _ => multishot_receive::single_entry(name, self.buffers.buffer_bytes),
        };
        flight.receive = Receive::Provided;
        // SAFETY: the entry points to nothing: the buffers are the kernel's already.
        unsafe { self.ring.push(entry, token) };
    }

    /// What has come, in whose buffer it may be.
    pub(super) fn take_bytes(
        &mut self,
        id: ConnectionId,
        completion: Completion,
        count: usize,
    ) -> Next {
        self.flights[id.slot as usize].is_drained = count < self.buffers.buffer_bytes;
        if completion.more() {
            self.mind_the_turn(id, count);
        }
        match &mut self.buffers.kind {
            Kind::Own(slab) => {
                // SAFETY: the slab owns the buffer; this is the one completion of the RECV for
                // which it was lent, since `landed` found it to be in flight.
                let bytes = unsafe { slab.take_back(id.slot, count) };
                self.server.received(id, bytes)
            }
            Kind::Provided(buffers) => {
                let Some(first) = completion.buffer() else {
                    assert_eq!(count, 0, "bytes came, and stand nowhere");
                    return self.server.received(id, &[]);
                };
                if count <= self.buffers.buffer_bytes {
                    // SAFETY: this is the completion that names the buffer.
                    let next = self.server.received(id, unsafe { buffers.bytes(first, count) });
                    buffers.give_back(first);
                    return next;
                }
                let mut next = Next::Recv;
                for (buffer, bytes) in bundles::pieces(buffers, first, count).collect::<Vec<_>>() {
                    // SAFETY: as above; the bundle goes on in that buffer.
                    next = self.server.received(id, unsafe { buffers.bytes(buffer, bytes) });
                    buffers.give_back(buffer);
                }
                next
            }
            Kind::Gone => unreachable!("nothing is received after the end"),
        }
    }

    /// A multishot receive brings what it likes. Who brings more than a turn's worth in one turn
    /// loses it; what the kernel had taken by then, some thirty buffers, still comes.
    fn mind_the_turn(&mut self, id: ConnectionId, count: usize) {
        let (turn, most) = (self.turn, self.server.turn_bytes());
        let flight = self.flight(id);
        if mem::replace(&mut flight.turn, turn) != turn {
            flight.turn_bytes = 0;
        }
        flight.turn_bytes += count;
        if flight.turn_bytes > most && !flight.cancelled.meet(Operations::RECV) {
            flight.is_greedy = true;
            flight.cancelled |= Operations::RECV;
            self.ring.cancel(Token::new(Operation::Recv, id));
        }
    }

    /// The receive has failed: its buffer is back, if it had one.
    pub(super) fn take_no_bytes(&mut self, id: ConnectionId, completion: Completion) {
        match (&mut self.buffers.kind, completion.buffer()) {
            (Kind::Own(slab), _) => {
                // SAFETY: as in `take_bytes`.
                unsafe { slab.take_back(id.slot, 0) };
            }
            (Kind::Provided(buffers), Some(buffer)) => {
                // SAFETY: as in `take_bytes`.
                unsafe { buffers.bytes(buffer, 0) };
                buffers.give_back(buffer);
            }
            _ => {}
        }
    }

    /// Whether the receive has failed for want of a provided buffer, and for nothing else.
    pub(super) fn lacks_a_buffer(&mut self, id: ConnectionId, error: &io::Error) -> bool {
        let is_provided = self.flight(id).receive == Receive::Provided;
        is_provided && error.raw_os_error() == Some(libc::ENOBUFS)
    }

    /// There was no provided buffer: the receive is asked for again when this turn is over, by
    /// when all that were taken have been given back.
    pub(super) fn park(&mut self, id: ConnectionId) -> Next {
        self.server.counters.provided_buffers_missing += 1;
        let connection = &self.server.client(id).connection;
        if !connection.is_closing() {
            self.buffers.parked.push_back(id);
            self.flight(id).is_parked = true;
        }
        self.server.client(id).connection.wants()
    }

    pub(super) fn receive_for_the_parked(&mut self) {
        while let Some(id) = self.buffers.parked.pop_front() {
            if self.server.clients.get(id).is_none() || !self.flight(id).is_parked {
                continue;
            }
            self.flight(id).is_parked = false;
            if self.server.client(id).connection.wants() == Next::Recv {
                self.recv(id);
            }
        }
    }
}
