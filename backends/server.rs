//! What is the same for all engines: the table of connections, the replies, the limits, the clock
//! of a turn, and the counting. An engine asks the kernel; when it knows what happened, it tells
//! the server, which answers what comes [`Next`].

mod persistent;
mod time;

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Closing, Recorder, Report, RequestLog, Step, Worker};
use crate::connection::{Connection, Next, Reply, Rules};
use crate::counters::{Counters, SystemCalls};
use crate::deadlines::{Deadline, Deadlines};
use crate::error::BackendError;
use crate::replies::Replies;
use crate::request_copies::RequestCopies;
// Tests put a simulated kernel in the place of the real one.
#[cfg(any(test, feature = "simulation"))]
use crate::simulation::calls as libc;
use crate::slots::{ConnectionId, Slots};
use crate::socket::Listener;
use crate::stop::Stop;
use crate::token::{Operation, Token};
use crate::unsent::Unsent;
use persistent::Persistent;
pub(crate) use time::TICK;
use time::{Stopping, coarse_clock_ms};

/// How many connections in a row may have been given up by their peers before accepting pauses.
const PATIENCE: u32 = 64;

pub(crate) const HEAD_TOO_LARGE: &[u8] = b"HTTP/1.0 431 Request Header Fields Too Large\r\n\
    Content-Type: text/plain\r\nContent-Length: 36\r\n\r\n\
    The request head exceeds the limit.\n";

/// One connection, as an engine sees it.
pub(crate) struct Client {
    /// Taken by the close step, and by nobody else.
    fd: Option<OwnedFd>,
    pub(crate) connection: Connection,
    /// epoll: what the descriptor is registered for; `None` before the first time.
    /// io_uring: what is in flight; `None` between an answer and the next ask.
    pub(crate) pending: Option<Operation>,
    accepted_ms: u64,
    /// Whether it is to be counted as drained: the stop is waiting for it to come to its own end.
    is_draining: bool,
    /// Whether the stop has put an end behind its silence.
    is_heard_out: bool,
}

impl Client {
    /// Its descriptor; -1, which every call refuses, once its close has been asked for.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_ref().map_or(-1, |fd| fd.as_raw_fd())
    }
}

pub(crate) struct Server {
    pub(crate) clients: Slots<Client>,
    pub(crate) counters: Counters,
    /// `None` once the stop has emptied its queue.
    pub(crate) listener: Option<Listener>,
    stop: Stop,
    accept_paused: bool,
    accept_errors_in_a_row: u32,
    stopping: Stopping,
    drain_timeout: Duration,
    response: Arc<[u8]>,
    /// Where connections persist, what that takes.
    persistent: Option<Persistent>,
    rules: Rules,
    /// The flags of a send that the end of the stream follows.
    last_send_flags: i32,
    turn_bytes: usize,
    deadlines: Deadlines,
    now_ms: u64,
    next_tick_ms: u64,
    to_cut_off: Vec<ConnectionId>,
    /// Those whom only their engine can hear out, since it alone has their descriptors.
    to_hear_out: Vec<ConnectionId>,
    /// Calls of this server's own, which no engine makes.
    system_calls: SystemCalls,
    recorder: Option<Box<dyn Recorder>>,
    request_log: Option<(Box<dyn RequestLog>, RequestCopies)>,
}

impl Server {
    /// Allocates all that the limits allow, so that nothing has to be allocated later.
    pub(crate) fn new(worker: Worker) -> Self {
        let limits = worker.limits;
        let copies = |log| {
            let longest = limits.request_head_bytes + limits.turn_bytes;
            (log, RequestCopies::new(limits.connections, longest))
        };
        let now_ms = coarse_clock_ms();
        Self {
            clients: Slots::with_capacity(limits.connections),
            counters: Counters::default(),
            listener: Some(worker.listener),
            stop: worker.stop,
            accept_paused: false,
            accept_errors_in_a_row: 0,
            stopping: Stopping::No,
            drain_timeout: worker.drain_timeout,
            response: worker.response,
            persistent: worker.keep_alive.map(|it| Persistent::new(it, &limits)),
            rules: Rules {
                request_head_bytes: limits.request_head_bytes,
                lingering_close_bytes: match worker.closing {
                    Closing::AtOnce => None,
                    Closing::Lingering { bytes } => Some(bytes),
                },
            },
            last_send_flags: if worker.send_more { libc::MSG_MORE } else { 0 },
            turn_bytes: limits.turn_bytes,
            deadlines: Deadlines::new(limits.connections, &worker.deadlines),
            now_ms,
            next_tick_ms: now_ms + TICK.as_millis() as u64,
            to_cut_off: Vec::with_capacity(limits.connections),
            to_hear_out: Vec::new(),
            system_calls: SystemCalls::default(),
            recorder: worker.recorder,
            request_log: worker.request_log.map(copies),
        }
    }

    // ── What an engine looks up ──────────────────────────────────────────────────────────────

    /// The client of that name. An engine asks only for those that it has not closed.
    pub(crate) fn client(&mut self, id: ConnectionId) -> &mut Client {
        self.clients.get_mut(id).expect("an engine names only the clients that are there")
    }

    /// That client's descriptor.
    pub(crate) fn fd(&mut self, id: ConnectionId) -> RawFd {
        self.client(id).fd()
    }

    /// The same for the close step, which alone may end it.
    pub(crate) fn take_fd(&mut self, id: ConnectionId) -> OwnedFd {
        self.client(id).fd.take().expect("a client is closed once")
    }

    /// Whether another request may follow an answer.
    pub(crate) fn persists(&self) -> bool {
        self.persistent.is_some()
    }

    /// Whether the peer's end is waited for before the close.
    pub(crate) fn lingers(&self) -> bool {
        self.rules.lingering_close_bytes.is_some()
    }

    /// What is left to send to that client.
    pub(crate) fn unsent(&self, id: ConnectionId) -> Unsent<'_> {
        let client = self.clients.get(id).expect("an engine sends only to clients that are there");
        if let Some(persistent) = &self.persistent {
            return persistent.unsent(id, self.last_send_flags);
        }
        let reply = reply_bytes(&self.response, client.connection.chosen_reply());
        Unsent { bytes: &reply[client.connection.sent_bytes()..], flags: self.last_send_flags }
    }

    /// What ends a connection: both directions at once, or ours alone, to linger for theirs.
    pub(crate) fn shutdown_how(&self) -> i32 {
        match self.rules.lingering_close_bytes {
            None => libc::SHUT_RDWR,
            Some(_) => libc::SHUT_WR,
        }
    }

    /// The descriptor that becomes readable when the stop is requested.
    pub(crate) fn stop_fd(&self) -> RawFd {
        self.stop.fd()
    }

    /// Whether that token names a connection that is gone.
    pub(crate) fn is_stale(&mut self, token: Token) -> bool {
        let stale = !token.operation.is_of_worker() && self.clients.get(token.id).is_none();
        self.counters.stale_events += u64::from(stale);
        stale
    }

    /// How much one connection may bring before the others have their turn.
    pub(crate) fn turn_bytes(&self) -> usize {
        self.turn_bytes
    }

    /// The answers, to be kept alive for as long as a send of one may be in flight.
    pub(crate) fn response(&self) -> (Arc<[u8]>, Option<Arc<Replies>>) {
        (Arc::clone(&self.response), self.persistent.as_ref().map(Persistent::replies))
    }

    // ── Accepting ────────────────────────────────────────────────────────────────────────────

    /// Whether one more connection can be taken in.
    pub(crate) fn may_accept(&self) -> bool {
        let cut_off = matches!(self.stopping, Stopping::CutOff(_));
        self.listener.is_some() && !cut_off && !self.accept_paused && !self.clients.is_full()
    }

    /// The listener's descriptor; -1, which every call refuses, once it is closed.
    pub(crate) fn listener_fd(&self) -> RawFd {
        self.listener.as_ref().map_or(-1, |listener| listener.as_raw_fd())
    }

    /// A connection was taken from the listener; it has no descriptor of the process's where the
    /// ring alone knows it.
    pub(crate) fn accepted(&mut self, fd: impl Into<Option<OwnedFd>>) -> ConnectionId {
        let client = Client {
            fd: fd.into(),
            connection: Connection::default(),
            pending: None,
            accepted_ms: self.now_ms,
            is_draining: self.is_stopping(),
            is_heard_out: false,
        };
        let Ok(id) = self.clients.insert(client) else {
            unreachable!("an engine accepts only while there is a slot");
        };
        self.accept_errors_in_a_row = 0;
        self.counters.accepted += 1;
        if self.persistent.is_some() {
            self.begin_conversation(id);
        }
        if self.clients.is_full() {
            self.counters.accept_pauses += 1;
        }
        self.deadlines.start(Deadline::Life, id.slot, self.now_ms);
        self.deadlines.start(Deadline::Idle, id.slot, self.now_ms);
        self.record(id, Step::Accepted, Some(Next::Recv));
        id
    }

    /// The listener gave no connection. Where that concerns one connection, which its peer has
    /// given up, the next one may follow. Anything else concerns the process or the machine, and
    /// trying again at once would spin: then accepting pauses until a connection ends, or the tick.
    pub(crate) fn accept_failed(&mut self, error: &io::Error) {
        match error.raw_os_error().unwrap_or(0) {
            libc::EAGAIN if self.is_stopping() => self.listener = None,
            libc::EAGAIN | libc::EINTR => {}
            libc::ECANCELED if self.is_stopping() => {}
            libc::ECONNABORTED | libc::EPROTO if self.accept_errors_in_a_row < PATIENCE => {
                self.counters.accept_errors += 1;
                self.accept_errors_in_a_row += 1;
            }
            _ => {
                self.counters.accept_errors += 1;
                self.pause_accepting();
            }
        }
    }

    /// `ioctl(FIONBIO)` on the listener, as the engine wants it.
    pub(crate) fn make_listener_nonblocking(&self, nonblocking: bool) -> Result<(), BackendError> {
        let Some(listener) = &self.listener else { return Ok(()) };
        listener
            .set_nonblocking(nonblocking)
            .map_err(|error| BackendError::unexpected("ioctl FIONBIO", error))
    }

    /// No accept is asked for until [`Server::resume_accepting`].
    pub(crate) fn pause_accepting(&mut self) {
        self.counters.accept_pauses += u64::from(!self.accept_paused);
        self.accept_paused = true;
    }

    /// Something has changed: a connection ended, or time passed.
    pub(crate) fn resume_accepting(&mut self) {
        self.accept_paused = false;
    }

    // ── What happened on a connection ────────────────────────────────────────────────────────

    /// Bytes came; none is the end of the peer's stream.
    pub(crate) fn received(&mut self, id: ConnectionId, bytes: &[u8]) -> Next {
        self.counters.received_bytes += bytes.len() as u64;
        if self.persistent.is_some() && self.client(id).connection.is_conversing() {
            return self.heard(id, bytes);
        }
        let rules = self.rules;
        let connection = &mut self.client(id).connection;
        if connection.is_closing() {
            return connection.wants();
        }
        let was_receiving = connection.is_receiving();
        let is_first = connection.request_bytes() == 0;
        let next = connection.received(bytes, &rules);
        let reply = connection.chosen_reply();
        if let Some((_, copies)) = &mut self.request_log {
            copies.append(id.slot, bytes);
        }
        match next {
            Next::Send if was_receiving => self.decided(id, reply),
            Next::Recv if was_receiving && is_first => {
                self.deadlines.start(Deadline::RequestHead, id.slot, self.now_ms);
            }
            Next::Close => self.ended(id, was_receiving),
            _ => {}
        }
        self.record(id, Step::Received(bytes.len()), Some(next));
        next
    }

    /// The end of the stream: the peer's own, or ours behind its silence.
    fn ended(&mut self, id: ConnectionId, was_receiving: bool) {
        let client = self.client(id);
        let is_cut_off = was_receiving && client.is_heard_out;
        client.is_draining &= !is_cut_off;
        self.counters.cut_off += u64::from(is_cut_off);
        self.counters.ended_early += u64::from(was_receiving && !is_cut_off);
        self.deadlines.stop(id.slot);
    }

    fn decided(&mut self, id: ConnectionId, reply: Reply) {
        match reply {
            Reply::Response => self.counters.requests += 1,
            Reply::HeadTooLarge => self.counters.heads_too_large += 1,
        }
        self.deadlines.start(Deadline::Send, id.slot, self.now_ms);
    }

    /// So much of what was left to send is now the kernel's.
    pub(crate) fn sent(&mut self, id: ConnectionId, count: usize) -> Next {
        self.counters.sent_bytes += count as u64;
        if self.persistent.is_some() && self.client(id).connection.is_conversing() {
            return self.told(id, count);
        }
        let client = self.clients.get_mut(id).expect("an engine sends to who is there");
        if client.connection.is_closing() {
            return client.connection.wants();
        }
        let length = reply_bytes(&self.response, client.connection.chosen_reply()).len();
        let next = client.connection.sent(count, length);
        if next == Next::Send {
            self.counters.short_sends += 1;
            self.deadlines.start(Deadline::Send, id.slot, self.now_ms);
        } else {
            self.counters.answered += 1;
        }
        self.record(id, Step::Sent(count), Some(next));
        next
    }

    /// The end of the stream was told, or could not be told. A lingering close lingers all the
    /// same: what has come and is unread would otherwise reset the answer.
    pub(crate) fn shut(&mut self, id: ConnectionId) -> Next {
        let rules = self.rules;
        let connection = &mut self.client(id).connection;
        if connection.is_closing() {
            return connection.wants();
        }
        let next = connection.shut(&rules);
        if next == Next::Recv {
            self.deadlines.start(Deadline::Linger, id.slot, self.now_ms);
        } else {
            self.deadlines.stop(id.slot);
        }
        self.record(id, Step::Shut, Some(next));
        next
    }

    /// The step failed. What only asks for patience is asked again; anything else is the end of
    /// this connection, and of no other.
    pub(crate) fn failed(&mut self, id: ConnectionId, error: &io::Error) -> Next {
        if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) {
            return self.client(id).connection.wants();
        }
        self.given_up(id, error)
    }

    /// The step failed for good, or could not even be asked for.
    pub(crate) fn given_up(&mut self, id: ConnectionId, error: &io::Error) -> Next {
        if !self.client(id).connection.is_closing() {
            self.end(id);
            self.counters.connection_errors += 1;
            let errno = error.raw_os_error().unwrap_or(0);
            self.record(id, Step::Failed(errno), Some(Next::Close));
        }
        Next::Close
    }

    /// The connection does not come to its own end: nothing but its close can follow.
    fn end(&mut self, id: ConnectionId) {
        let client = self.client(id);
        let _ = client.connection.close();
        client.is_draining = false;
        self.deadlines.stop(id.slot);
    }

    /// Everything has been given back: the slot is free.
    pub(crate) fn closed(&mut self, id: ConnectionId) {
        let client = self.clients.remove(id).expect("an engine closes a client once");
        self.deadlines.stop(id.slot);
        if let Some((_, copies)) = &mut self.request_log {
            copies.clear(id.slot);
        }
        self.counters.closed += 1;
        self.counters.drained += u64::from(client.is_draining);
        self.resume_accepting();
        self.record(id, Step::Closed, None);
    }

    /// The request came whole, and sending its answer has been asked for: this is the moment at
    /// which the documents print it.
    pub(crate) fn log_request(&mut self, id: ConnectionId) {
        let Some((log, copies)) = &mut self.request_log else { return };
        let Some(client) = self.clients.get(id) else { return };
        let is_whole = match &mut self.persistent {
            None => client.connection.chosen_reply() == Reply::Response,
            Some(persistent) => persistent.take_unlogged(id),
        };
        if is_whole && !log.request(copies.of(id.slot)) {
            self.counters.prints_dropped += 1;
        }
        if self.persistent.is_some() {
            copies.clear(id.slot);
        }
    }

    fn record(&mut self, id: ConnectionId, step: Step, next: Option<Next>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(id, step, next);
        }
    }

    /// The run is over, and this is what was counted, the engine's own calls included.
    pub(crate) fn take_report(&mut self, system_calls: &SystemCalls) -> Report {
        let mut counters = mem::take(&mut self.counters);
        counters.not_given_back = self.clients.len() as u64;
        counters.system_calls = mem::take(&mut self.system_calls);
        counters.system_calls += system_calls;
        Report { counters }
    }
}

/// The whole of that reply.
fn reply_bytes(response: &Arc<[u8]>, reply: Reply) -> &[u8] {
    match reply {
        Reply::Response => response,
        Reply::HeadTooLarge => HEAD_TOO_LARGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_431_says_its_own_length() {
        let text = std::str::from_utf8(HEAD_TOO_LARGE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
    }
}
