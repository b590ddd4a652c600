//! The part of a worker that is the same for every engine: the slab of connections, the responses,
//! limits, deadlines, accept control, the stop, and the counters. An engine makes the system calls
//! and passes each result to the server, which returns the [`Next`] step.

mod keep_alive;
mod time;

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Closing, LifecycleEvent, Recorder, Report, RequestLog, Worker};
use crate::connection::{Connection, ConnectionLimits, Next, ResponseKind};
use crate::counters::{Counters, SystemCalls};
use crate::deadlines::{Deadline, Deadlines};
use crate::error::BackendError;
use crate::pending_output::PendingOutput;
use crate::request_copies::RequestCopies;
use crate::responses::Responses;
// Tests replace the kernel by a simulated one.
#[cfg(any(test, feature = "simulation"))]
use crate::simulation::calls as libc;
use crate::slab::{ConnectionId, Slab};
use crate::socket::Listener;
use crate::stop::Stop;
use crate::token::{Operation, Token};
use keep_alive::KeepAliveState;
pub(crate) use time::TICK;
use time::{Stopping, coarse_clock_ms};

/// Consecutive ECONNABORTED after which accepting pauses, so that they cannot occupy the loop.
const MAX_ABORTED_ACCEPTS: u32 = 64;

pub(crate) const HEAD_TOO_LARGE: &[u8] = b"HTTP/1.0 431 Request Header Fields Too Large\r\n\
    Content-Type: text/plain\r\nContent-Length: 36\r\n\r\n\
    The request head exceeds the limit.\n";

/// An open connection, as an engine uses it.
pub(crate) struct ConnectionEntry {
    /// `None` once the close owns it, or if it is a direct descriptor.
    fd: Option<OwnedFd>,
    pub(crate) connection: Connection,
    /// epoll: the step that interest is registered for; `None` before the first registration.
    /// io_uring: the operation in flight; `None` between a completion and the next submission.
    pub(crate) pending: Option<Operation>,
    accepted_ms: u64,
    /// Counted as drained if it ends by itself: the stop waits for it.
    is_draining: bool,
    /// The receive side was closed by the stop, since the connection was idle.
    receive_closed: bool,
}

impl ConnectionEntry {
    /// Returns the descriptor; -1, which every system call refuses, once the close owns it.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }
}

pub(crate) struct Server {
    pub(crate) connections: Slab<ConnectionEntry>,
    pub(crate) counters: Counters,
    /// `None` once the stop has emptied the accept queue.
    pub(crate) listener: Option<Listener>,
    stop: Stop,
    accept_paused: bool,
    accept_errors_in_a_row: u32,
    stopping: Stopping,
    drain_timeout: Duration,
    response: Arc<[u8]>,
    /// With keep-alive, its state for each slot.
    keep_alive: Option<KeepAliveState>,
    connection_limits: ConnectionLimits,
    /// Flags of the send that the end of the stream follows.
    last_send_flags: i32,
    read_budget_bytes: usize,
    deadlines: Deadlines,
    now_ms: u64,
    next_tick_ms: u64,
    to_force_close: Vec<ConnectionId>,
    /// Connections whose receive side the engine must close, since only the ring has their
    /// descriptors.
    to_half_close: Vec<ConnectionId>,
    /// System calls that the server makes itself.
    system_calls: SystemCalls,
    recorder: Option<Box<dyn Recorder>>,
    request_log: Option<(Box<dyn RequestLog>, RequestCopies)>,
}

impl Server {
    /// Allocates everything that the limits allow.
    pub(crate) fn new(worker: Worker) -> Self {
        let limits = worker.limits;
        let copies = |log| {
            let longest = limits.request_head_bytes + limits.read_budget_bytes;
            (log, RequestCopies::new(limits.connections, longest))
        };
        let now_ms = coarse_clock_ms();
        Self {
            connections: Slab::with_capacity(limits.connections),
            counters: Counters::default(),
            listener: Some(worker.listener),
            stop: worker.stop,
            accept_paused: false,
            accept_errors_in_a_row: 0,
            stopping: Stopping::No,
            drain_timeout: worker.drain_timeout,
            response: worker.response,
            keep_alive: worker.keep_alive.map(|it| KeepAliveState::new(it, &limits)),
            connection_limits: ConnectionLimits {
                request_head_bytes: limits.request_head_bytes,
                lingering_close_bytes: match worker.closing {
                    Closing::AtOnce => None,
                    Closing::Lingering { bytes } => Some(bytes),
                },
            },
            last_send_flags: if worker.send_more { libc::MSG_MORE } else { 0 },
            read_budget_bytes: limits.read_budget_bytes,
            deadlines: Deadlines::new(limits.connections, &worker.deadlines),
            now_ms,
            next_tick_ms: now_ms + TICK.as_millis() as u64,
            to_force_close: Vec::with_capacity(limits.connections),
            to_half_close: Vec::new(),
            system_calls: SystemCalls::default(),
            recorder: worker.recorder,
            request_log: worker.request_log.map(copies),
        }
    }

    // ── Queries of the engines ───────────────────────────────────────────────────────────────

    /// Returns an open connection.
    pub(crate) fn connection(&mut self, id: ConnectionId) -> &mut ConnectionEntry {
        self.connections.get_mut(id).expect("an engine uses ids of open connections only")
    }

    pub(crate) fn fd(&mut self, id: ConnectionId) -> RawFd {
        self.connection(id).fd()
    }

    /// Takes the descriptor for the close.
    pub(crate) fn take_fd(&mut self, id: ConnectionId) -> OwnedFd {
        self.connection(id).fd.take().expect("a connection is closed once")
    }

    /// Returns true if a further request may follow a response.
    pub(crate) fn is_keep_alive(&self) -> bool {
        self.keep_alive.is_some()
    }

    /// Returns true if the close waits for the peer's end of stream.
    pub(crate) fn lingers(&self) -> bool {
        self.connection_limits.lingering_close_bytes.is_some()
    }

    /// Returns the bytes to send next.
    pub(crate) fn pending_output(&self, id: ConnectionId) -> PendingOutput<'_> {
        let entry = self.connections.get(id).expect("an engine uses ids of open connections only");
        if let Some(keep_alive) = &self.keep_alive {
            return keep_alive.pending_output(id, self.last_send_flags);
        }
        let bytes = response_bytes(&self.response, entry.connection.response());
        PendingOutput {
            bytes: &bytes[entry.connection.sent_bytes()..],
            flags: self.last_send_flags,
        }
    }

    /// Returns the argument of shutdown(2): both directions, or only the send side to linger.
    pub(crate) fn shutdown_how(&self) -> i32 {
        match self.connection_limits.lingering_close_bytes {
            None => libc::SHUT_RDWR,
            Some(_) => libc::SHUT_WR,
        }
    }

    /// Returns the descriptor that is readable after the stop is requested.
    pub(crate) fn stop_fd(&self) -> RawFd {
        self.stop.fd()
    }

    /// Returns true, and counts, if the token is of a connection that is closed.
    pub(crate) fn is_stale(&mut self, token: Token) -> bool {
        let stale = !token.operation.is_of_worker() && self.connections.get(token.id).is_none();
        self.counters.stale_events += u64::from(stale);
        stale
    }

    pub(crate) fn read_budget_bytes(&self) -> usize {
        self.read_budget_bytes
    }

    /// Returns the responses, to keep alive while a send may be in flight.
    pub(crate) fn response(&self) -> (Arc<[u8]>, Option<Arc<Responses>>) {
        (Arc::clone(&self.response), self.keep_alive.as_ref().map(KeepAliveState::responses))
    }

    // ── Accepting ────────────────────────────────────────────────────────────────────────────

    /// Returns true if a connection can be admitted.
    pub(crate) fn can_accept(&self) -> bool {
        let is_force_closing = matches!(self.stopping, Stopping::ForceClosing(_));
        self.listener.is_some()
            && !is_force_closing
            && !self.accept_paused
            && !self.connections.is_full()
    }

    /// Returns the listener's descriptor; -1, which every system call refuses, once it is closed.
    pub(crate) fn listener_fd(&self) -> RawFd {
        self.listener.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Admits a new connection; `None` for a direct descriptor, which only the ring has.
    pub(crate) fn on_accepted(&mut self, fd: impl Into<Option<OwnedFd>>) -> ConnectionId {
        let entry = ConnectionEntry {
            fd: fd.into(),
            connection: Connection::default(),
            pending: None,
            accepted_ms: self.now_ms,
            is_draining: self.is_stopping(),
            receive_closed: false,
        };
        let Ok(id) = self.connections.insert(entry) else {
            unreachable!("an engine accepts only while there is a slot");
        };
        self.accept_errors_in_a_row = 0;
        self.counters.accepted += 1;
        if self.keep_alive.is_some() {
            self.begin_keep_alive(id);
        }
        if self.connections.is_full() {
            self.counters.accept_pauses += 1;
        }
        self.deadlines.start(Deadline::Lifetime, id.slot, self.now_ms);
        self.deadlines.start(Deadline::Idle, id.slot, self.now_ms);
        self.record(id, LifecycleEvent::Accepted, Some(Next::Recv));
        id
    }

    /// Handles an error of accept. ECONNABORTED concerns one connection, so accepting goes on.
    /// Others, such as EMFILE, concern the process or the machine, and an immediate retry would
    /// spin: accepting pauses until a connection closes, or the tick.
    pub(crate) fn on_accept_error(&mut self, error: &io::Error) {
        match error.raw_os_error().unwrap_or(0) {
            libc::EAGAIN if self.is_stopping() => self.listener = None,
            libc::EAGAIN | libc::EINTR => {}
            libc::ECANCELED if self.is_stopping() => {}
            libc::ECONNABORTED | libc::EPROTO
                if self.accept_errors_in_a_row < MAX_ABORTED_ACCEPTS =>
            {
                self.counters.accept_errors += 1;
                self.accept_errors_in_a_row += 1;
            }
            _ => {
                self.counters.accept_errors += 1;
                self.pause_accepting();
            }
        }
    }

    pub(crate) fn make_listener_nonblocking(&self, nonblocking: bool) -> Result<(), BackendError> {
        let Some(listener) = &self.listener else { return Ok(()) };
        listener
            .set_nonblocking(nonblocking)
            .map_err(|error| BackendError::unexpected("ioctl FIONBIO", error))
    }

    pub(crate) fn pause_accepting(&mut self) {
        self.counters.accept_pauses += u64::from(!self.accept_paused);
        self.accept_paused = true;
    }

    pub(crate) fn resume_accepting(&mut self) {
        self.accept_paused = false;
    }

    // ── Events of a connection ───────────────────────────────────────────────────────────────

    /// Handles received bytes; an empty slice is the end of the peer's stream.
    pub(crate) fn on_received(&mut self, id: ConnectionId, bytes: &[u8]) -> Next {
        self.counters.received_bytes += bytes.len() as u64;
        if self.keep_alive.is_some() && self.connection(id).connection.is_exchanging() {
            return self.on_keep_alive_received(id, bytes);
        }
        let limits = self.connection_limits;
        let connection = &mut self.connection(id).connection;
        if connection.is_closing() {
            return connection.next();
        }
        let was_receiving = connection.is_receiving();
        let is_first = connection.request_bytes() == 0;
        let next = connection.on_received(bytes, &limits);
        let response = connection.response();
        if let Some((_, copies)) = &mut self.request_log {
            copies.append(id.slot, bytes);
        }
        match next {
            Next::Send if was_receiving => self.on_request(id, response),
            Next::Recv if was_receiving && is_first => {
                self.deadlines.start(Deadline::RequestHead, id.slot, self.now_ms);
            }
            Next::Close => self.on_end_of_stream(id, was_receiving),
            _ => {}
        }
        self.record(id, LifecycleEvent::Received(bytes.len()), Some(next));
        next
    }

    /// Handles the end of the stream, the peer's own or that of a receive side closed by the stop.
    fn on_end_of_stream(&mut self, id: ConnectionId, was_receiving: bool) {
        let entry = self.connection(id);
        let is_force_closed = was_receiving && entry.receive_closed;
        entry.is_draining &= !is_force_closed;
        self.counters.force_closed += u64::from(is_force_closed);
        self.counters.premature_eof += u64::from(was_receiving && !is_force_closed);
        self.deadlines.stop(id.slot);
    }

    fn on_request(&mut self, id: ConnectionId, response: ResponseKind) {
        match response {
            ResponseKind::Response => self.counters.requests += 1,
            ResponseKind::HeadTooLarge => self.counters.request_heads_too_large += 1,
        }
        self.deadlines.start(Deadline::Send, id.slot, self.now_ms);
    }

    /// Handles that the kernel accepted `count` bytes of the pending output.
    pub(crate) fn on_sent(&mut self, id: ConnectionId, count: usize) -> Next {
        self.counters.sent_bytes += count as u64;
        if self.keep_alive.is_some() && self.connection(id).connection.is_exchanging() {
            return self.on_keep_alive_sent(id, count);
        }
        let entry =
            self.connections.get_mut(id).expect("an engine uses ids of open connections only");
        if entry.connection.is_closing() {
            return entry.connection.next();
        }
        let length = response_bytes(&self.response, entry.connection.response()).len();
        let next = entry.connection.on_sent(count, length);
        if next == Next::Send {
            self.counters.short_sends += 1;
            self.deadlines.start(Deadline::Send, id.slot, self.now_ms);
        } else {
            self.counters.responses += 1;
        }
        self.record(id, LifecycleEvent::Sent(count), Some(next));
        next
    }

    /// Handles the end of the shutdown. A lingering close lingers after an error too, since unread
    /// bytes would make the close send a reset, which can destroy the response.
    pub(crate) fn on_shutdown(&mut self, id: ConnectionId) -> Next {
        let limits = self.connection_limits;
        let connection = &mut self.connection(id).connection;
        if connection.is_closing() {
            return connection.next();
        }
        let next = connection.on_shutdown(&limits);
        if next == Next::Recv {
            self.deadlines.start(Deadline::Linger, id.slot, self.now_ms);
        } else {
            self.deadlines.stop(id.slot);
        }
        self.record(id, LifecycleEvent::Shutdown, Some(next));
        next
    }

    /// Handles an error of a step: EAGAIN and EINTR repeat it, any other ends this connection.
    pub(crate) fn on_error(&mut self, id: ConnectionId, error: &io::Error) -> Next {
        if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) {
            return self.connection(id).connection.next();
        }
        self.abort(id, error)
    }

    /// Ends a connection after an error that no retry can mend.
    pub(crate) fn abort(&mut self, id: ConnectionId, error: &io::Error) -> Next {
        if !self.connection(id).connection.is_closing() {
            self.end(id);
            self.counters.connection_errors += 1;
            let errno = error.raw_os_error().unwrap_or(0);
            self.record(id, LifecycleEvent::Failed(errno), Some(Next::Close));
        }
        Next::Close
    }

    /// Ends a connection that did not end by itself: only its close follows.
    fn end(&mut self, id: ConnectionId) {
        let entry = self.connection(id);
        let _ = entry.connection.close();
        entry.is_draining = false;
        self.deadlines.stop(id.slot);
    }

    /// Frees the slot of a closed connection.
    pub(crate) fn on_closed(&mut self, id: ConnectionId) {
        let entry = self.connections.remove(id).expect("an engine closes a connection once");
        self.deadlines.stop(id.slot);
        if let Some((_, copies)) = &mut self.request_log {
            copies.clear(id.slot);
        }
        self.counters.closed += 1;
        self.counters.drained += u64::from(entry.is_draining);
        self.resume_accepting();
        self.record(id, LifecycleEvent::Closed, None);
    }

    /// Logs the request that the last receive completed, after the first system call of its
    /// response, as the reference programs do.
    pub(crate) fn log_request(&mut self, id: ConnectionId) {
        let Some((log, copies)) = &mut self.request_log else { return };
        let Some(entry) = self.connections.get(id) else { return };
        let is_complete = match &mut self.keep_alive {
            None => entry.connection.response() == ResponseKind::Response,
            Some(keep_alive) => keep_alive.take_unlogged(id),
        };
        if is_complete && !log.request(copies.get(id.slot)) {
            self.counters.prints_dropped += 1;
        }
        if self.keep_alive.is_some() {
            copies.clear(id.slot);
        }
    }

    fn record(&mut self, id: ConnectionId, event: LifecycleEvent, next: Option<Next>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(id, event, next);
        }
    }

    /// Returns the report of a run that has ended; `system_calls` are those of the engine.
    pub(crate) fn take_report(&mut self, system_calls: &SystemCalls) -> Report {
        let mut counters = mem::take(&mut self.counters);
        counters.leaked = self.connections.len() as u64;
        counters.system_calls = mem::take(&mut self.system_calls);
        counters.system_calls += system_calls;
        Report { counters }
    }
}

fn response_bytes(response: &Arc<[u8]>, kind: ResponseKind) -> &[u8] {
    match kind {
        ResponseKind::Response => response,
        ResponseKind::HeadTooLarge => HEAD_TOO_LARGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_too_large_has_its_content_length() {
        let text = std::str::from_utf8(HEAD_TOO_LARGE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
    }
}
