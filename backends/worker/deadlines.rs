//! The tick of the worker, and the connections whose deadline has passed.

use std::mem;

use super::drain::TICK_MS;
use super::{LifecycleEvent, OPEN, Worker};
use crate::deadlines::Deadline;
use crate::protocol::{Awaits, Next, Protocol};
use crate::slab::ConnectionId;

impl<P: Protocol> Worker<P> {
    /// Returns true once a tick.
    pub(crate) fn take_tick(&mut self) -> bool {
        if self.now_ms < self.next_tick_ms {
            return false;
        }
        self.next_tick_ms = self.now_ms + TICK_MS;
        if self.is_stopping() {
            self.drain.on_tick(self.now_ms);
            self.select_connections_to_end();
        }
        true
    }

    /// Returns a connection that has expired, in a state that only a close can follow.
    pub(crate) fn next_expired(&mut self) -> Option<ConnectionId> {
        let id = match self.drain.to_force_close.pop() {
            Some(id) => {
                self.counters.force_closed += 1;
                id
            }
            None => self.next_past_deadline()?,
        };
        self.end(id);
        self.observers.record(id, LifecycleEvent::Expired, Some(Next::Close));
        Some(id)
    }

    fn next_past_deadline(&mut self) -> Option<ConnectionId> {
        let (id, deadline) = loop {
            let (slot, deadline) = self.deadlines.pop_expired(self.now_ms)?;
            let id = self.connections.id_at(slot).expect("only open connections have deadlines");
            if deadline != Deadline::Lifetime || !self.extends_lifetime(id) {
                break (id, deadline);
            }
        };
        *match deadline {
            Deadline::KeepAlive => &mut self.counters.expired_idle,
            Deadline::Idle | Deadline::RequestHead | Deadline::RequestBody => {
                &mut self.counters.expired_receiving
            }
            Deadline::Send => &mut self.counters.expired_sending,
            Deadline::Linger => &mut self.counters.expired_lingering,
            Deadline::Lifetime => &mut self.counters.expired_lifetime,
        } += 1;
        Some(id)
    }

    /// Extends a lifetime that has passed, once: the protocol ends the connection soon, and has the
    /// same time again for it. Returns false if the connection is to be closed now.
    fn extends_lifetime(&mut self, id: ConnectionId) -> bool {
        let connection = self.connections.get_mut(id).expect(OPEN);
        let awaits = connection.awaits(&self.protocol);
        let is_idle = matches!(awaits, Some(Awaits::NextMessage | Awaits::Bytes));
        if P::IS_ONE_EXCHANGE
            || !connection.is_exchanging()
            || is_idle
            || mem::replace(&mut connection.has_expired_once, true)
        {
            return false;
        }
        self.end_soon(id);
        self.deadlines.start(Deadline::Lifetime, id.slot, self.now_ms);
        self.deadlines.start(awaits.map_or(Deadline::Send, deadline_of), id.slot, self.now_ms);
        true
    }
}

/// Returns the deadline for what is awaited.
pub(super) fn deadline_of(awaits: Awaits) -> Deadline {
    match awaits {
        Awaits::Bytes | Awaits::FirstMessage => Deadline::Idle,
        Awaits::NextMessage => Deadline::KeepAlive,
        Awaits::Head => Deadline::RequestHead,
        Awaits::Body => Deadline::RequestBody,
    }
}
