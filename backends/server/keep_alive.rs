//! Keep-alive connections: the HTTP/1.1 state of each, and the deadline that holds for it.

use std::sync::Arc;

use super::Server;
use crate::backend::{KeepAlive, LifecycleEvent, Limits};
use crate::connection::Next;
use crate::deadlines::Deadline;
use crate::http::{RequestLimits, Status};
use crate::http11::{Awaits, Http11, Http11Limits};
use crate::pending_output::PendingOutput;
use crate::responses::Responses;
use crate::slab::ConnectionId;

/// The state that a server has only with keep-alive.
pub(super) struct KeepAliveState {
    responses: Arc<Responses>,
    limits: Http11Limits,
    /// One for each slot.
    connections: Box<[KeepAliveConnection]>,
}

#[derive(Clone, Default)]
struct KeepAliveConnection {
    http: Http11,
    /// The lifetime has passed once; the next time the connection is closed.
    has_expired_once: bool,
    /// A complete request is not logged yet.
    is_unlogged: bool,
}

impl KeepAliveState {
    pub(super) fn new(keep_alive: KeepAlive, limits: &Limits) -> Self {
        Self {
            responses: keep_alive.responses,
            limits: Http11Limits {
                request: RequestLimits {
                    head_bytes: limits.request_head_bytes,
                    body_bytes: keep_alive.request_body_bytes,
                },
                requests_per_connection: keep_alive.requests_per_connection,
            },
            connections: vec![KeepAliveConnection::default(); limits.connections]
                .into_boxed_slice(),
        }
    }

    pub(super) fn responses(&self) -> Arc<Responses> {
        Arc::clone(&self.responses)
    }

    pub(super) fn pending_output(&self, id: ConnectionId, last_flags: i32) -> PendingOutput<'_> {
        self.connections[id.slot as usize].http.pending_output(&self.responses, last_flags)
    }

    /// Returns true if a request was completed since the last call.
    pub(super) fn take_unlogged(&mut self, id: ConnectionId) -> bool {
        std::mem::take(&mut self.connections[id.slot as usize].is_unlogged)
    }

    fn connection(&mut self, slot: u32) -> &mut KeepAliveConnection {
        &mut self.connections[slot as usize]
    }
}

/// Returns the deadline for what is awaited.
fn deadline_of(awaits: Awaits) -> Deadline {
    match awaits {
        Awaits::FirstRequest => Deadline::Idle,
        Awaits::NextRequest => Deadline::KeepAlive,
        Awaits::Head => Deadline::RequestHead,
        Awaits::Body => Deadline::RequestBody,
    }
}

impl Server {
    fn keep_alive_connection(&mut self, slot: u32) -> &mut KeepAliveConnection {
        self.keep_alive.as_mut().expect("only with keep-alive").connection(slot)
    }

    pub(super) fn begin_keep_alive(&mut self, id: ConnectionId) {
        let ends_soon = self.is_stopping();
        let state = self.keep_alive_connection(id.slot);
        *state = KeepAliveConnection::default();
        if ends_soon {
            state.http.end_soon();
        }
    }

    /// Handles received bytes; an empty slice is the end of the peer's stream.
    pub(super) fn on_keep_alive_received(&mut self, id: ConnectionId, bytes: &[u8]) -> Next {
        let keep_alive = self.keep_alive.as_mut().expect("only with keep-alive");
        let state = &mut keep_alive.connections[id.slot as usize];
        let (was, awaited) = (state.http.next(), state.http.awaits());
        let received = state.http.on_bytes(bytes, &keep_alive.limits);
        let (wants, awaits) = (state.http.next(), state.http.awaits());
        state.is_unlogged |= received.requests > 0;
        self.counters.requests += received.requests;
        match received.refusal {
            None => {}
            Some(Status::HeadTooLarge) => self.counters.request_heads_too_large += 1,
            Some(_) => self.counters.refused += 1,
        }
        if let Some((_, copies)) = &mut self.request_log {
            copies.append(id.slot, bytes);
        }
        let next = match wants {
            Next::Send if was != Next::Send => {
                self.deadlines.start(Deadline::Send, id.slot, self.now_ms);
                Next::Send
            }
            Next::Recv if awaits != awaited => {
                self.deadlines.start(deadline_of(awaits), id.slot, self.now_ms);
                Next::Recv
            }
            // The stream has ended and no response is pending.
            Next::Shutdown => Next::Close,
            next => next,
        };
        if next == Next::Close {
            self.on_end_of_stream(id, received.premature_eof);
        } else {
            self.counters.premature_eof += u64::from(received.premature_eof);
        }
        let _ = self.connection(id).connection.set_next(next);
        self.record(id, LifecycleEvent::Received(bytes.len()), Some(next));
        next
    }

    /// Handles that the kernel accepted `count` bytes of the pending responses.
    pub(super) fn on_keep_alive_sent(&mut self, id: ConnectionId, count: usize) -> Next {
        let keep_alive = self.keep_alive.as_mut().expect("only with keep-alive");
        let http = &mut keep_alive.connections[id.slot as usize].http;
        self.counters.responses += http.on_sent(count, &keep_alive.responses);
        let (next, awaits) = (http.next(), http.awaits());
        let is_within = http.is_within_response();
        match next {
            Next::Send => {
                self.counters.short_sends += u64::from(is_within);
                self.deadlines.start(Deadline::Send, id.slot, self.now_ms);
            }
            Next::Recv => {
                self.deadlines.start(deadline_of(awaits), id.slot, self.now_ms);
                if awaits == Awaits::NextRequest && self.is_stopping() {
                    self.half_close_once(id);
                }
            }
            Next::Shutdown | Next::Close => {}
        }
        let _ = self.connection(id).connection.set_next(next);
        self.record(id, LifecycleEvent::Sent(count), Some(next));
        next
    }

    /// Makes the next response the last, since the worker is stopping. An idle connection is not
    /// waited for.
    pub(super) fn end_keep_alive_soon(&mut self, id: ConnectionId) {
        if !self.connection(id).connection.is_exchanging() {
            return;
        }
        let http = &mut self.keep_alive_connection(id.slot).http;
        http.end_soon();
        if http.next() == Next::Recv && http.awaits() == Awaits::NextRequest {
            self.half_close_once(id);
        }
    }

    fn half_close_once(&mut self, id: ConnectionId) {
        if !self.connection(id).receive_closed {
            self.half_close_receive(id);
        }
    }

    /// Returns true if no byte of a request was received since the accept or the last response.
    pub(super) fn is_idle(&self, id: ConnectionId) -> bool {
        let Some(keep_alive) = &self.keep_alive else { return true };
        let awaits = keep_alive.connections[id.slot as usize].http.awaits();
        matches!(awaits, Awaits::FirstRequest | Awaits::NextRequest)
    }

    /// Extends a lifetime that has passed, once: the next response is the last, and the connection
    /// has the same time again to end. Returns false if it is to be closed now.
    pub(super) fn extends_lifetime(&mut self, slot: u32) -> bool {
        let Some(id) = self.connections.id_at(slot) else { return false };
        if self.keep_alive.is_none() || !self.connection(id).connection.is_exchanging() {
            return false;
        }
        let state = self.keep_alive_connection(slot);
        let is_idle = state.http.next() == Next::Recv && state.http.awaits() == Awaits::NextRequest;
        if is_idle || std::mem::replace(&mut state.has_expired_once, true) {
            return false;
        }
        state.http.end_soon();
        let phase = match state.http.next() {
            Next::Recv => deadline_of(state.http.awaits()),
            _ => Deadline::Send,
        };
        self.deadlines.start(Deadline::Lifetime, slot, self.now_ms);
        self.deadlines.start(phase, slot, self.now_ms);
        true
    }
}
