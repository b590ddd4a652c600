//! Persistent connections.
//!
//! Each is registered once, edge-triggered, for input and output. All requests started on it
//! together leave in one send; one receive takes all responses that have arrived.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use super::super::exchange::BodyTrigger;
use super::super::failures::RequestFailure;
use super::super::message::{Direction, MessageStream};
use super::super::outcome::RequestTimes;
use super::super::pacing::Pace;
use super::super::payload::Payload;
use super::super::persistent::{PersistentConnection, PersistentConnections, StartedRequest};
use super::super::pool::PooledConnection;
use super::super::response::{Fault, Mismatch};
use super::super::response_stream::Verified;
use super::super::sockets::{self, failed};
use super::{BACKOFF_NS, CONTINUE_TIMEOUT_NS, Deferred, EventLoop, RECEIVE_CHECK_BYTES};

/// The time within which a server has to close a connection after it has announced that.
const CLOSE_TIMEOUT_NS: u64 = 1_000_000_000;

/// The largest number of requests that one send carries if they differ from each other.
const MAX_PIECES: usize = 16;

/// The state of a connection after its responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connected {
    /// It stays open, or the server closes it.
    Stays,
    /// It has carried its planned requests, and the server does not announce to close it.
    Ends,
}

impl<'run> EventLoop<'run> {
    fn connections(&mut self) -> &mut PersistentConnections {
        self.persistent.as_mut().expect("the plan has persistent connections")
    }

    /// Starts a request. [`Self::flush_started`] sends it with others on the same connection.
    pub(super) fn start_persistent_request(&mut self, due_ns: u64, started_ns: u64) {
        let entry = if self.payloads.list.is_some() { self.draw() } else { 0 };
        self.connections().start_request(StartedRequest { due_ns, started_ns, entry });
        self.tally.started += 1;
        self.tally.max_in_flight = self.tally.max_in_flight.max(self.in_flight());
    }

    /// Sends all requests that have been started.
    pub(super) fn flush_started(&mut self) {
        while let Some(index) =
            self.persistent.as_mut().and_then(PersistentConnections::next_to_flush)
        {
            self.flush(index);
        }
    }

    pub(super) fn on_persistent_event(&mut self, index: u32, flags: EventFlags) {
        if self.connections()[index].socket.is_none() {
            // It was closed by an earlier event of this batch.
            return;
        }
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
        {
            self.receive_responses(index, flags);
        }
        if flags.contains(EventFlags::OUT) && self.connections()[index].socket.is_some() {
            self.flush(index);
        }
    }

    /// Sends what has been started on the connection, or receives it from a chargen server.
    fn flush(&mut self, index: u32) {
        if self.connections()[index].unsent_requests() == 0 {
            return;
        }
        if self.connections()[index].socket.is_none()
            && let Err(failure) = self.open(index)
        {
            return self.fail_persistent(index, failure);
        }
        match self.payload.direction() {
            Some(Direction::Recv) => self.request_messages(index),
            Some(Direction::Send) => {
                self.send_requests(index);
                self.complete_sent(index);
            }
            Some(Direction::Both) | None => self.send_requests(index),
        }
    }

    /// Receives messages from a server that sends them without a request.
    fn request_messages(&mut self, index: u32) {
        let bytes = self.payload.request_bytes();
        let connection = &mut self.connections()[index];
        let count = connection.unsent_requests();
        connection.messages.on_sent(count * bytes);
        connection.on_sent(count, 0);
        // The event for bytes that had arrived by then is over.
        self.receive_responses(index, EventFlags::empty());
    }

    /// Completes messages to which no response is expected.
    fn complete_sent(&mut self, index: u32) {
        let ended_ns = self.clock.now_ns();
        while self.connections()[index].awaits_response() {
            let StartedRequest { due_ns, started_ns, .. } = self.connections().finish_oldest(index);
            self.tally.complete(RequestTimes { due_ns, started_ns, ended_ns });
        }
        self.connections().release(index);
    }

    fn send_requests(&mut self, index: u32) {
        if self.properties.sends_pieces {
            return self.send_pieces(index);
        }
        let Self { persistent: Some(persistent), tally, pipelined_requests, payload, .. } = self
        else {
            return;
        };
        let connection = &mut persistent[index];
        while connection.unsent_requests() > 0 {
            let (bytes, request_bytes) = unsent(*payload, pipelined_requests, connection);
            let socket = connection.socket.as_ref().expect("it is open");
            match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    tally.bytes_sent += count as u64;
                    connection.messages.on_sent(count);
                    let sent = connection.sent_bytes + count;
                    connection.on_sent(sent / request_bytes, sent % request_bytes);
                }
                Err(Errno::AGAIN) => return,
                Err(errno) => return self.on_socket_error(index, "send", errno),
            }
        }
    }

    /// Sends requests that differ from each other, or have a body.
    fn send_pieces(&mut self, index: u32) {
        while self.connections()[index].unsent_requests() > 0 {
            let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
            let count = self.connections()[index].unsent_requests().min(MAX_PIECES);
            for (nth, piece) in pieces[..count].iter_mut().enumerate() {
                *piece = IoSlice::new(self.unsent_piece(index, nth));
            }
            if pieces[0].is_empty() {
                // The body waits for 100 Continue.
                return;
            }
            let socket = self.connections()[index].socket.as_ref().expect("it is open");
            let mut none = SendAncillaryBuffer::default();
            let flags = SendFlags::NOSIGNAL;
            match rustix::net::sendmsg(socket, &pieces[..count], &mut none, flags) {
                Ok(sent) => self.on_pieces_sent(index, &pieces[..count], sent),
                Err(Errno::AGAIN) => return,
                Err(errno) => return self.on_socket_error(index, "sendmsg", errno),
            }
        }
    }

    /// Returns the bytes that can be sent of the `nth` unsent request.
    fn unsent_piece(&self, index: u32, nth: usize) -> &'run [u8] {
        let persistent = self.persistent.as_ref().expect("the plan has persistent connections");
        let connection = &persistent[index];
        let request = self.payloads.of(persistent.unsent_entry(index, nth)).request();
        let request = request.expect("messages are not sent in pieces");
        let bytes = match connection.is_last_request() {
            true => request.closing().expect("the plan was checked"),
            false => request.bytes(),
        };
        let waits = request.expects_continue() && connection.body_trigger.is_none();
        let end = if waits { bytes.len() - request.body_bytes() } else { bytes.len() };
        let start = if nth == 0 { connection.sent_bytes } else { 0 };
        &bytes[start..end]
    }

    /// Records that `sent` bytes of these pieces were sent.
    fn on_pieces_sent(&mut self, index: u32, pieces: &[IoSlice<'_>], sent: usize) {
        self.tally.bytes_sent += sent as u64;
        let entry = self.connections().unsent_entry(index, 0);
        let expects_continue = self.payloads.of(entry).expects_continue();
        let connection = &mut self.connections()[index];
        if expects_continue && connection.body_trigger.is_none() {
            // There is one piece, the head: such requests are not pipelined.
            connection.sent_bytes += sent;
            connection.awaits_continue = sent == pieces[0].len();
            return;
        }
        let (mut left, mut requests, mut position) = (sent, 0, connection.sent_bytes);
        for piece in pieces {
            if left < piece.len() {
                position += left;
                break;
            }
            (left, requests, position) = (left - piece.len(), requests + 1, 0);
        }
        connection.on_sent(requests, position);
    }

    /// Takes a connection from the pool, or opens a new one.
    fn open(&mut self, index: u32) -> Result<(), RequestFailure> {
        let pooled = self.pool.take();
        let is_pooled = pooled.is_some();
        let (socket, messages) = match pooled {
            Some(PooledConnection { socket, requests_left, messages }) => {
                self.connections().set_requests_left(index, requests_left);
                (socket, messages)
            }
            None => {
                let socket = sockets::open_and_connect(self.plan.target, &mut self.sources)?;
                sockets::set_nodelay(&socket)?;
                self.tally.connections_opened += 1;
                let is_chargen = self.payload.direction() == Some(Direction::Recv);
                let number = if is_chargen { 0 } else { self.next_connection_number() };
                (socket, MessageStream::new(number))
            }
        };
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &socket, EventData::new_u64(index.into()), flags)
            .map_err(failed("epoll_ctl"))?;
        let connection = &mut self.connections()[index];
        (connection.socket, connection.messages) = (Some(socket), messages);
        // A pooled connection has carried responses before.
        connection.responses_received = u64::from(is_pooled);
        Ok(())
    }

    /// Receives until the end of the stream or EAGAIN.
    fn receive_responses(&mut self, index: u32, flags: EventFlags) {
        // EPOLLRDHUP may belong to a connection that had this index earlier in the batch, so only
        // a receive of 0 bytes is the end of the stream.
        let may_have_more = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let mut unchecked = 0;
        loop {
            if unchecked >= RECEIVE_CHECK_BYTES {
                unchecked = 0;
                if self.control.is_stopped() {
                    return;
                } else if let Some(matched) = self.overdue_response(index) {
                    return self.fail_persistent(index, RequestFailure::Timeout { matched });
                }
            }
            let Self { persistent: Some(persistent), buffer, payload, .. } = self else { return };
            let Some(socket) = &persistent[index].socket else { return };
            // Bytes of a chargen server beyond the messages in flight are received later.
            let room = match payload.direction() {
                Some(Direction::Recv) => persistent[index].messages.outstanding(),
                _ => buffer.len(),
            };
            let room = room.min(buffer.len());
            if room == 0 {
                return;
            }
            let received = rustix::net::recv(socket, &mut buffer[..room], RecvFlags::empty());
            match received {
                Ok((_, 0)) => return self.on_end_of_stream(index),
                Ok((_, count)) => {
                    self.tally.bytes_received += count as u64;
                    unchecked += count;
                    match self.verify_responses(index, count) {
                        // The body of a request may have been allowed.
                        Ok(Connected::Stays) if self.properties.expects_continue => {
                            self.send_requests(index);
                        }
                        Ok(Connected::Stays) => {}
                        Ok(Connected::Ends) => {
                            self.close_persistent(index, drop);
                            return self.resume_persistent(index);
                        }
                        Err(fault) => return self.fail_persistent(index, fault.into()),
                    }
                    if count < room && !may_have_more {
                        return;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(errno) => return self.on_socket_error(index, "recv", errno),
            }
        }
    }

    /// Returns the bytes received of the oldest response, if it takes longer than the timeout.
    fn overdue_response(&mut self, index: u32) -> Option<usize> {
        let persistent = self.persistent.as_ref()?;
        let started_ns = persistent.oldest(index)?.started_ns;
        let matched = persistent[index].matched();
        self.is_overdue(started_ns).then_some(matched)
    }

    /// Verifies the received bytes, which may hold several responses.
    fn verify_responses(&mut self, index: u32, count: usize) -> Result<Connected, Fault> {
        let Self { persistent: Some(persistent), tally, buffer, payload, payloads, .. } = self
        else {
            return Ok(Connected::Stays);
        };
        let (woken_ns, expects_continue) = (self.woken_ns, self.properties.expects_continue);
        let mut bytes = &buffer[..count];
        let mut connected = Connected::Stays;
        while let Some(&found) = bytes.first() {
            let entry = if payloads.list.is_some() { persistent.oldest_entry(index) } else { 0 };
            let connection = &mut persistent[index];
            let verified = match *payload {
                Payload::Messages { direction: Direction::Send, .. } => {
                    return Err(Mismatch { offset: 0, expected: None, found }.into());
                }
                Payload::Messages { bytes: length, pattern, .. } => {
                    connection.messages.verify(pattern, length, bytes)?
                }
                Payload::Http { .. }
                    if !connection.may_receive_response()
                        || connection.closing_since_ns.is_some() =>
                {
                    return Err(unexpected(*payload, connection, found));
                }
                Payload::Http { reference, .. } => {
                    let reference = match payloads.list {
                        Some((_, references)) => &references[entry as usize],
                        None => reference,
                    };
                    let stream = &mut connection.response_stream;
                    let verified = stream.verify(reference, bytes)?;
                    if connection.awaits_continue && stream.has_continued(reference) {
                        connection.allow_body(BodyTrigger::Continue);
                    }
                    if verified != Verified::Partial && connection.responds_early() {
                        return Err(unexpected(*payload, connection, found));
                    }
                    verified
                }
            };
            match verified {
                Verified::Partial => return Ok(connected),
                Verified::Complete { count, is_closing, interim } => {
                    bytes = &bytes[count..];
                    tally.interim_responses += interim;
                    connection.responses_received += 1;
                    // The server may wait for a body that is not sent.
                    let is_withheld = connection.awaits_continue;
                    let is_last = is_closing
                        || is_withheld
                        || (connection.is_last_request() && connection.in_flight() == 1);
                    connection.closing_since_ns = is_last.then_some(woken_ns);
                    if expects_continue && payloads.of(entry).expects_continue() {
                        tally.continues.count(connection.body_trigger);
                    }
                    let StartedRequest { due_ns, started_ns, .. } = persistent.finish_oldest(index);
                    tally.complete(RequestTimes { due_ns, started_ns, ended_ns: woken_ns });
                    if is_last {
                        if !is_closing || is_withheld {
                            connected = Connected::Ends;
                        }
                        persistent.update_availability(index);
                    } else {
                        persistent.release(index);
                    }
                }
            }
        }
        Ok(connected)
    }

    /// Handles the end of the peer's stream. A server may close an idle connection, or one whose
    /// requests it has not processed (RFC 9112, section 9.3.1): these are sent again.
    fn on_end_of_stream(&mut self, index: u32) {
        let has_messages = self.payload.is_messages();
        let is_stream = self.plan.request.direction().is_some();
        // A discard server has no response: the bytes of the message that were sent count.
        let sends = self.payload.direction() == Some(Direction::Send);
        let connection = &self.connections()[index];
        let matched = if sends { connection.sent_bytes } else { connection.matched() };
        // A server that sent nothing has failed, and so has an echo server that lost a message.
        let is_unexpected = has_messages || connection.responses_received == 0;
        if is_stream || matched > 0 || (connection.in_flight() > 0 && is_unexpected) {
            let entry = self.connections().oldest_entry(index);
            let length = Some(self.payloads.of(entry).response_bytes());
            return self.fail_persistent(index, Fault::PrematureEof { matched, length }.into());
        }
        // The last planned request has `Connection: close`.
        self.tally.connections_closed_by_server += u64::from(!connection.is_last_request());
        self.close_persistent(index, drop);
        self.resume_persistent(index);
    }

    /// Handles a failed send or receive.
    fn on_socket_error(&mut self, index: u32, operation: &'static str, errno: Errno) {
        let connection = &self.connections()[index];
        // EPIPE: the peer closed before. After a `Connection: close` response, a reset
        // loses nothing.
        if errno == Errno::PIPE
            || (errno == Errno::CONNRESET && connection.closing_since_ns.is_some())
        {
            return self.on_end_of_stream(index);
        }
        self.fail_persistent(index, failed(operation)(errno));
    }

    fn close_persistent(&mut self, index: u32, close: impl FnOnce(OwnedFd)) {
        if let Some(socket) = self.connections()[index].take_socket() {
            close(socket);
        }
    }

    /// Sends unfinished requests again, or makes the connection available to new ones.
    fn resume_persistent(&mut self, index: u32) {
        self.connections().update_availability(index);
        self.flush(index);
    }

    /// Counts a failure of the oldest request in flight, and resets the connection. Later requests
    /// on it are sent again.
    fn fail_persistent(&mut self, index: u32, failure: RequestFailure) {
        let oldest = self.connections().oldest(index);
        self.tally.failures.count(failure, oldest.map(|started| started.entry));
        if oldest.is_some() {
            self.connections().finish_oldest(index);
        }
        self.close_persistent(index, sockets::close_with_reset);
        self.connections().set_backing_off(index, true);
        let backoff_ns = if matches!(self.plan.pace, Pace::OpenLoop(_)) { 0 } else { BACKOFF_NS };
        let at_ns = self.clock.now_ns() + backoff_ns;
        self.backing_off.push_back(Deferred { at_ns, index, generation: 0 });
    }

    pub(super) fn end_backoff(&mut self, index: u32) {
        self.connections().set_backing_off(index, false);
        self.flush(index);
    }

    /// Times out requests, and connections that the server announced to close but did not.
    pub(super) fn sweep_persistent(&mut self, timeout_ns: u64) {
        let now_ns = self.woken_ns;
        let is_later = |since_ns: u64, limit_ns| now_ns.saturating_sub(since_ns) > limit_ns;
        let is_late = |since_ns: u64| is_later(since_ns, timeout_ns);
        let is_closed_late = |since_ns: u64| is_later(since_ns, timeout_ns.min(CLOSE_TIMEOUT_NS));
        for index in 0..self.connections().count() {
            let oldest = self.connections().oldest(index).map(|start| start.started_ns);
            let closing = self.connections()[index].closing_since_ns;
            if oldest.is_some_and(is_late) {
                self.on_persistent_timeout(index);
            } else if self.connections()[index].awaits_continue
                && oldest.is_some_and(|since_ns| is_later(since_ns, CONTINUE_TIMEOUT_NS))
            {
                self.connections()[index].allow_body(BodyTrigger::Timeout);
                self.flush(index);
            } else if oldest.is_none() && closing.is_some_and(is_closed_late) {
                self.close_persistent(index, sockets::close_with_reset);
                self.resume_persistent(index);
            }
        }
    }

    /// Times out all requests in flight on the connection.
    fn on_persistent_timeout(&mut self, index: u32) {
        let matched = self.connections()[index].matched();
        while self.connections()[index].in_flight() > 1 {
            let StartedRequest { entry, .. } = self.connections().finish_oldest(index);
            self.tally.failures.count(RequestFailure::Timeout { matched: 0 }, Some(entry));
        }
        let failure = match self.connections()[index].response_stream.undecided_difference() {
            Some(mismatch) => RequestFailure::Response(mismatch.into()),
            None => RequestFailure::Timeout { matched },
        };
        self.fail_persistent(index, failure);
    }

    /// Resets connections with requests in flight. Returns the others to the pool, except those
    /// that have carried their planned number of requests.
    pub(super) fn release_persistent(&mut self) {
        self.tally.unfinished = self.connections().in_flight() as u64;
        for index in 0..self.connections().count() {
            let connection = &self.connections()[index];
            let is_finished = connection.closing_since_ns.is_some() || connection.is_last_request();
            match (connection.in_flight(), is_finished) {
                (0, false) => {
                    let (requests_left, messages) =
                        (connection.requests_left(), connection.messages);
                    if let Some(socket) = self.connections()[index].take_socket() {
                        self.pool.put(PooledConnection { socket, requests_left, messages });
                    }
                }
                (0, true) => self.close_persistent(index, drop),
                _ => self.close_persistent(index, sockets::close_with_reset),
            }
        }
    }
}

/// Describes a byte that no request in flight explains.
#[cold]
fn unexpected(payload: Payload<'_>, connection: &PersistentConnection, found: u8) -> Fault {
    let length = payload.response_bytes();
    match connection.sent_bytes {
        0 => Mismatch { offset: 0, expected: None, found }.into(),
        _ => Fault::PrematureEof { matched: length, length: Some(length) },
    }
}

/// Returns the next bytes to send on the connection, and the length of one request.
fn unsent<'a>(
    payload: Payload<'a>,
    pipelined_requests: &'a [u8],
    connection: &PersistentConnection,
) -> (&'a [u8], usize) {
    let (count, sent) = (connection.unsent_requests(), connection.sent_bytes);
    match payload {
        Payload::Messages { bytes, pattern, .. } => {
            (connection.messages.unsent(pattern, count * bytes - sent), bytes)
        }
        Payload::Http { request, .. } if connection.is_last_request() => {
            let closing = request.closing().expect("the plan was checked");
            (&closing[sent..], closing.len())
        }
        Payload::Http { request, .. } => {
            let length = request.bytes().len();
            (&pipelined_requests[sent..count * length], length)
        }
    }
}
