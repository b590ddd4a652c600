//! The part of a server that is the same for every engine and every protocol. An engine makes the
//! system calls and passes each result to its worker, which asks the protocol and returns the
//! [`Next`] step. The worker makes no system call on a connection and reads no clock.

mod accepting;
mod connection;
mod deadlines;
mod drain;
mod observers;
mod options;

use std::io;
use std::mem;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;

use crate::counters::{Counters, SystemCalls};
use crate::deadlines::{Deadline, Deadlines};
use crate::error::BackendError;
use crate::output::Output;
use crate::pending_output::PendingOutput;
use crate::protocol::{Awaits, Next, Protocol};
use crate::slab::{ConnectionId, Slab};
use crate::token::Token;
use accepting::Accepting;
pub(crate) use connection::Connection;
use deadlines::deadline_of;
pub(crate) use drain::TICK;
use drain::{Drain, TICK_MS};
use observers::Observers;
pub use options::{Closing, LifecycleEvent, Limits, Recorder, Report, RequestLog, WorkerOptions};

pub(crate) struct Worker<P: Protocol> {
    pub(crate) connections: Slab<Connection<P::Connection>>,
    pub(crate) counters: Counters,
    protocol: P,
    accepting: Accepting,
    drain: Drain,
    deadlines: Deadlines,
    observers: Observers,
    limits: Limits,
    /// Most bytes that a lingering close discards; `None` closes at once.
    lingering_close_bytes: Option<usize>,
    /// Flags of the send that the end of the stream follows.
    last_send_flags: i32,
    now_ms: u64,
    next_tick_ms: u64,
}

const OPEN: &str = "an engine uses ids of open connections only";

impl<P: Protocol> Worker<P> {
    /// Allocates everything that the limits allow.
    pub(crate) fn new(options: WorkerOptions, protocol: P, now_ms: u64) -> Self {
        let limits = options.limits;
        let slots = limits.connections;
        let max_request_bytes = limits.max_request_bytes().expect("it was checked");
        let (recorder, log) = (options.recorder, options.request_log);
        Self {
            connections: Slab::with_capacity(slots),
            counters: Counters::default(),
            protocol,
            accepting: Accepting::new(options.listener),
            drain: Drain::new(options.stop, options.drain_timeout, slots),
            deadlines: Deadlines::new(slots, &options.deadlines),
            observers: Observers::new(recorder, log, slots, max_request_bytes),
            limits,
            lingering_close_bytes: match options.closing {
                Closing::AtOnce => None,
                Closing::Lingering { bytes } => Some(bytes),
            },
            last_send_flags: if options.send_more { libc::MSG_MORE } else { 0 },
            now_ms,
            next_tick_ms: now_ms + TICK_MS,
        }
    }

    // ── Queries of the engines ───────────────────────────────────────────────────────────────

    /// Returns an open connection.
    pub(crate) fn connection(&mut self, id: ConnectionId) -> &mut Connection<P::Connection> {
        self.connections.get_mut(id).expect(OPEN)
    }

    /// Returns the step that the connection needs in its present state.
    pub(crate) fn next(&self, id: ConnectionId) -> Next {
        self.connections.get(id).expect(OPEN).next()
    }

    pub(crate) fn fd(&self, id: ConnectionId) -> RawFd {
        self.connections.get(id).expect(OPEN).fd()
    }

    /// Takes the descriptor for the close.
    pub(crate) fn take_fd(&mut self, id: ConnectionId) -> OwnedFd {
        self.connection(id).take_fd().expect("a connection is closed once")
    }

    /// Returns true if the connection did not end by itself.
    pub(crate) fn is_aborted(&self, id: ConnectionId) -> bool {
        self.connections.get(id).expect(OPEN).is_aborted
    }

    /// Returns true if the close waits for the peer's end of stream.
    pub(crate) fn lingers(&self) -> bool {
        self.lingering_close_bytes.is_some()
    }

    /// Returns the bytes to send next, which the engine passes to the kernel.
    pub(crate) fn pending_output(&mut self, id: ConnectionId) -> PendingOutput<'_> {
        let connection = self.connections.get_mut(id).expect(OPEN);
        let ends = connection.has_decided_end();
        let (bytes, is_all) = connection.output.submit();
        let flags = if is_all && ends { self.last_send_flags } else { 0 };
        PendingOutput { bytes, flags }
    }

    /// Returns the memory of the bytes to send next and their number if they are shared, to keep it
    /// alive for a send that the kernel reads from after its result.
    pub(crate) fn shared_output(&self, id: ConnectionId) -> Option<(Arc<[u8]>, usize)> {
        self.connections.get(id)?.output.first_shared()
    }

    /// Returns true if the peer does not read what it causes to be sent.
    pub(crate) fn is_over_output_limit(&self, id: ConnectionId) -> bool {
        self.connections.get(id).expect(OPEN).output.len() > self.limits.message_bytes
    }

    /// Leaks the output of every connection, instead of freeing it, while the kernel may read it.
    pub(crate) fn leak_output(&mut self) {
        for id in self.connections.ids().collect::<Vec<_>>() {
            mem::forget(mem::take(&mut self.connection(id).output));
        }
    }

    /// Returns the argument of shutdown(2): both directions, or only the send side to linger.
    pub(crate) fn shutdown_how(&self) -> i32 {
        if self.lingers() { libc::SHUT_WR } else { libc::SHUT_RDWR }
    }

    /// Returns the descriptor that is readable after the stop is requested.
    pub(crate) fn stop_fd(&self) -> RawFd {
        self.drain.stop_fd()
    }

    /// Returns true, and counts, if the token is of a connection that is closed.
    pub(crate) fn is_stale(&mut self, token: Token) -> bool {
        let stale = !token.operation.is_of_worker() && self.connections.get(token.id).is_none();
        self.counters.stale_events += u64::from(stale);
        stale
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn read_budget_bytes(&self) -> usize {
        self.limits.read_budget_bytes
    }

    // ── Accepting ────────────────────────────────────────────────────────────────────────────

    /// Returns true if a connection can be admitted.
    pub(crate) fn can_accept(&self) -> bool {
        self.accepting.can_accept() && !self.drain.is_force_closing() && !self.connections.is_full()
    }

    pub(crate) fn listener_fd(&self) -> RawFd {
        self.accepting.fd()
    }

    /// Admits a new connection.
    pub(crate) fn on_accepted(&mut self, fd: OwnedFd) -> (ConnectionId, Next) {
        let mut output = Output::default();
        let state = self.protocol.on_open(&mut output);
        let mut connection = Connection::new(Some(fd), state, output, self.now_ms);
        if self.is_stopping() {
            connection.is_draining = true;
            let decision = self.protocol.on_stop(&mut connection.state, &mut connection.output);
            let _ = connection.decide(decision);
        }
        let next = connection.next();
        let Ok(id) = self.connections.insert(connection) else {
            unreachable!("an engine accepts only while there is a slot");
        };
        self.accepting.on_accepted();
        self.counters.accepted += 1;
        if self.connections.is_full() {
            self.counters.accept_pauses += 1;
        }
        let deadline = if next == Next::Send { Deadline::Send } else { Deadline::Idle };
        self.deadlines.start(Deadline::Lifetime, id.slot, self.now_ms);
        self.deadlines.start(deadline, id.slot, self.now_ms);
        self.observers.record(id, LifecycleEvent::Accepted, Some(next));
        (id, next)
    }

    pub(crate) fn on_accept_error(&mut self, error: &io::Error) {
        let is_stopping = self.is_stopping();
        self.accepting.on_error(error, is_stopping, &mut self.counters);
    }

    pub(crate) fn make_listener_nonblocking(&self, nonblocking: bool) -> Result<(), BackendError> {
        self.accepting.set_nonblocking(nonblocking)
    }

    pub(crate) fn pause_accepting(&mut self) {
        self.accepting.pause(&mut self.counters);
    }

    pub(crate) fn resume_accepting(&mut self) {
        self.accepting.resume();
    }

    // ── Events of a connection ───────────────────────────────────────────────────────────────

    /// Handles received bytes; an empty slice is the end of the peer's stream.
    pub(crate) fn on_received(&mut self, id: ConnectionId, bytes: &[u8]) -> Next {
        self.counters.received_bytes += bytes.len() as u64;
        let connection = self.connections.get_mut(id).expect(OPEN);
        let next = if connection.is_exchanging() && !connection.has_decided_end() {
            if bytes.is_empty() { self.on_end_of_stream(id) } else { self.on_bytes(id, bytes) }
        } else if connection.is_closing() {
            return Next::Close;
        } else if connection.is_lingering() {
            let next = connection.linger(bytes.len(), self.lingering_close_bytes.unwrap_or(0));
            if next == Next::Close {
                self.deadlines.stop(id.slot);
            }
            next
        } else {
            // The stream ends after the output that is pending, so further bytes change nothing,
            // nor does a half-close: the peer may still be reading.
            self.observers.on_received(id, bytes);
            connection.next()
        };
        self.observers.record(id, LifecycleEvent::Received(bytes.len()), Some(next));
        next
    }

    fn on_bytes(&mut self, id: ConnectionId, bytes: &[u8]) -> Next {
        let connection = self.connections.get_mut(id).expect(OPEN);
        self.observers.on_received(id, bytes);
        let awaited = connection.awaits(&self.protocol);
        let decision = self.protocol.on_recv(&mut connection.state, bytes, &mut connection.output);
        let next = connection.decide(decision);
        let tally = connection.output.take_tally();
        connection.is_unlogged |= tally.requests > 0;
        self.counters.add_tally(&tally);
        match (connection.awaits(&self.protocol), awaited) {
            (Some(Awaits::Bytes), _) => {
                connection.active_ms = self.now_ms;
                self.deadlines.start(Deadline::Idle, id.slot, self.now_ms);
            }
            // A message without a response may have ended, so the deadline is that of the next one.
            (Some(awaits), _)
                if Some(awaits) != awaited
                    || awaits == Awaits::NextMessage
                    || tally.requests > 0 =>
            {
                self.deadlines.start(deadline_of(awaits), id.slot, self.now_ms);
            }
            (None, _) if next == Next::Close => self.deadlines.stop(id.slot),
            (None, Some(_)) => self.deadlines.start(Deadline::Send, id.slot, self.now_ms),
            _ => {}
        }
        next
    }

    /// Handles the end of the stream, the peer's own or that of a receive side closed by the stop.
    fn on_end_of_stream(&mut self, id: ConnectionId) -> Next {
        let connection = self.connections.get_mut(id).expect(OPEN);
        if mem::replace(&mut connection.has_peer_ended, true) {
            // The output that followed the end of the stream is sent.
            connection.close();
            self.deadlines.stop(id.slot);
            return Next::Close;
        }
        let awaits = self.protocol.awaits(&connection.state);
        let is_premature = !matches!(awaits, Awaits::Bytes | Awaits::NextMessage);
        let had_output = !connection.output.is_empty();
        let decision =
            self.protocol.on_end_of_stream(&mut connection.state, &mut connection.output);
        self.counters.add_tally(&connection.output.take_tally());
        let mut next = connection.decide(decision);
        if matches!(next, Next::Recv | Next::Shutdown) {
            // Nothing is unread, so the close sends a FIN.
            connection.close();
            next = Next::Close;
        }
        let is_force_closed = is_premature && connection.receive_closed;
        connection.is_draining &= !is_force_closed;
        self.counters.force_closed += u64::from(is_force_closed);
        self.counters.premature_eof += u64::from(is_premature && !is_force_closed);
        match next {
            Next::Close => self.deadlines.stop(id.slot),
            Next::Send if !had_output => {
                self.deadlines.start(Deadline::Send, id.slot, self.now_ms);
            }
            _ => {}
        }
        next
    }

    /// Handles that the kernel accepted `count` bytes of the pending output.
    pub(crate) fn on_sent(&mut self, id: ConnectionId, count: usize) -> Next {
        self.counters.sent_bytes += count as u64;
        let connection = self.connections.get_mut(id).expect(OPEN);
        if connection.is_closing() {
            return Next::Close;
        }
        let sent = connection.output.on_sent(count);
        self.counters.responses += u64::from(sent.messages);
        self.counters.short_sends += u64::from(sent.is_short);
        let mut next = connection.after_send();
        if next == Next::Recv {
            let decision = self.protocol.on_sent(&mut connection.state, &mut connection.output);
            next = connection.decide(decision);
            if next != Next::Recv {
                self.counters.add_tally(&connection.output.take_tally());
            }
        }
        match connection.awaits(&self.protocol) {
            Some(awaits) => {
                connection.active_ms = self.now_ms;
                self.deadlines.start(deadline_of(awaits), id.slot, self.now_ms);
                if awaits == Awaits::NextMessage && self.is_stopping() {
                    self.half_close_receive(id);
                }
            }
            None if next == Next::Send => {
                self.deadlines.start(Deadline::Send, id.slot, self.now_ms);
            }
            None if next == Next::Close => self.deadlines.stop(id.slot),
            None => {}
        }
        self.observers.record(id, LifecycleEvent::Sent(count), Some(next));
        next
    }

    /// Handles the end of the shutdown. A lingering close lingers after an error too, since unread
    /// bytes would make the close send a reset, which can destroy the response.
    pub(crate) fn on_shutdown(&mut self, id: ConnectionId) -> Next {
        let lingers = self.lingers();
        let connection = self.connection(id);
        if connection.is_closing() {
            return Next::Close;
        }
        let next = connection.on_shutdown(lingers);
        if next == Next::Recv {
            self.deadlines.start(Deadline::Linger, id.slot, self.now_ms);
        } else {
            self.deadlines.stop(id.slot);
        }
        self.observers.record(id, LifecycleEvent::Shutdown, Some(next));
        next
    }

    /// Handles an error of a step: EAGAIN and EINTR repeat it, any other ends this connection.
    pub(crate) fn on_error(&mut self, id: ConnectionId, error: &io::Error) -> Next {
        if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) {
            return self.next(id);
        }
        self.abort(id, error)
    }

    /// Ends a connection after an error that no retry can mend.
    pub(crate) fn abort(&mut self, id: ConnectionId, error: &io::Error) -> Next {
        if !self.connection(id).is_closing() {
            self.end(id);
            self.counters.connection_errors += 1;
            let errno = error.raw_os_error().unwrap_or(0);
            self.observers.record(id, LifecycleEvent::Failed(errno), Some(Next::Close));
        }
        Next::Close
    }

    /// Ends a connection that did not end by itself: only its close follows.
    fn end(&mut self, id: ConnectionId) {
        let connection = self.connection(id);
        connection.close();
        connection.is_aborted = true;
        connection.is_draining = false;
        self.deadlines.stop(id.slot);
    }

    /// Frees the slot of a closed connection.
    pub(crate) fn on_closed(&mut self, id: ConnectionId) {
        let connection = self.connections.remove(id).expect("an engine closes a connection once");
        self.deadlines.stop(id.slot);
        self.observers.on_closed(id);
        self.counters.closed += 1;
        self.counters.drained += u64::from(connection.is_draining);
        self.protocol.on_close(connection.state);
        self.resume_accepting();
        self.observers.record(id, LifecycleEvent::Closed, None);
    }

    /// Logs the request that the last receive completed, after the first system call of its
    /// response, as the reference programs do.
    pub(crate) fn log_request(&mut self, id: ConnectionId) {
        if !self.observers.has_log() {
            return;
        }
        let Some(connection) = self.connections.get_mut(id) else { return };
        let is_complete = mem::take(&mut connection.is_unlogged);
        self.counters.prints_dropped += u64::from(!self.observers.log(id, is_complete));
    }

    /// Returns the report of a run that has ended; `system_calls` are those of the engine.
    pub(crate) fn take_report(&mut self, system_calls: &SystemCalls) -> Report {
        let mut counters = mem::take(&mut self.counters);
        counters.leaked = self.connections.len() as u64;
        counters.system_calls += system_calls;
        Report { counters }
    }

    // ── Time ─────────────────────────────────────────────────────────────────────────────────

    /// Begins an iteration of the event loop after a wait that returned `events`. The clock is read
    /// once for all of them.
    pub(crate) fn begin_iteration(&mut self, events: usize, now_ms: u64) {
        self.now_ms = now_ms;
        self.counters.waits += 1;
        self.counters.events += events as u64;
        self.counters.batch_sizes.count(events);
    }

    // ── The stop ─────────────────────────────────────────────────────────────────────────────

    pub(crate) fn stop_requested(&self) -> bool {
        self.drain.is_requested()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.drain.is_stopping()
    }

    /// Returns true until everything is served and closed.
    pub(crate) fn is_open(&self) -> bool {
        let (is_listening, has_connections) =
            (self.accepting.is_open(), !self.connections.is_empty());
        self.drain.is_open(is_listening, has_connections, self.now_ms)
    }

    /// Begins the stop: refuses new connections and drains those that are open.
    pub(crate) fn begin_stop(&mut self) {
        self.drain.begin(self.now_ms);
        self.accepting.resume();
        if let Some(listener) = self.accepting.listener() {
            // If the kernel refuses the filter, a connection that is established just before the
            // listener is closed is reset by that.
            let _ = listener.refuse_new_connections();
            let _ = listener.set_nonblocking(true);
        }
        for id in self.connections.ids().collect::<Vec<_>>() {
            let connection = self.connection(id);
            connection.is_draining = !connection.is_closing();
            self.end_soon(id);
        }
    }

    /// Lets the protocol end the connection soon. One that is idle is not waited for.
    fn end_soon(&mut self, id: ConnectionId) {
        let connection = self.connections.get_mut(id).expect(OPEN);
        if !connection.is_exchanging() || connection.has_decided_end() {
            return;
        }
        let awaits = connection.awaits(&self.protocol);
        let decision = self.protocol.on_stop(&mut connection.state, &mut connection.output);
        let ends = matches!(decision, Next::Shutdown | Next::Close);
        let has_output = !connection.output.is_empty();
        if ends && has_output {
            let _ = connection.decide(Next::Shutdown);
        }
        let must_half_close = match awaits {
            None => ends && !has_output,
            Some(Awaits::NextMessage) => true,
            Some(Awaits::Head | Awaits::Body) => ends,
            // The end of the receive leads to the send.
            Some(Awaits::Bytes | Awaits::FirstMessage) => ends || has_output,
        };
        if awaits.is_some() && has_output {
            self.deadlines.start(Deadline::Send, id.slot, self.now_ms);
        }
        if must_half_close && self.is_stopping() {
            self.half_close_receive(id);
        }
    }

    /// While draining, ends connections that were idle for a tick; at the drain deadline, all.
    fn select_connections_to_end(&mut self) {
        let all = self.drain.is_force_closing();
        for id in self.connections.ids().collect::<Vec<_>>() {
            let connection = self.connections.get(id).expect(OPEN);
            let awaits = connection.awaits(&self.protocol);
            let is_idle = self.now_ms >= connection.active_ms + TICK_MS
                && !matches!(awaits, None | Some(Awaits::Head | Awaits::Body));
            if all && !connection.is_closing() {
                self.drain.to_force_close.push(id);
            } else if is_idle {
                self.half_close_receive(id);
            }
        }
    }

    /// Has the engine close the receive side of an idle connection. The socket or a completion may
    /// hold bytes that are not handled yet: they still are, and then the stream ends.
    fn half_close_receive(&mut self, id: ConnectionId) {
        if !mem::replace(&mut self.connection(id).receive_closed, true) {
            self.drain.to_half_close.push(id);
        }
    }

    /// Returns a connection whose receive side the engine must close: it is still idle.
    pub(crate) fn next_to_half_close(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.drain.to_half_close.pop()?;
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.receive_closed = connection.is_idle_or_ends(&self.protocol);
            if connection.receive_closed {
                return Some(id);
            }
        }
    }
}
