//! HTTP/1.1 on one keep-alive connection, without I/O. It stores neither requests nor responses:
//! pipelined responses are pending as counts of equal ones.

use crate::connection::Next;
use crate::http::{
    Found, ParserPosition, Persistence, Request, RequestLimits, RequestParser, Status,
};
use crate::pending_output::PendingOutput;
use crate::responses::{ConnectionField, Response, Responses};

/// The limits that are the same for all connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Http11Limits {
    pub(crate) request: RequestLimits,
    /// Responses on a connection, the last with `Connection: close`; 0 is no limit.
    pub(crate) requests_per_connection: u64,
}

/// Equal responses in a row.
#[derive(Clone, Copy, Debug)]
struct ResponseRun {
    response: Response,
    count: u32,
}

/// Most runs that can be pending. A peer that pipelines more alternating kinds of requests without
/// reading the responses gets `Connection: close` with the last of them (backpressure).
const MAX_RUNS: usize = 16;

/// The pending responses, oldest first, in a ring buffer of runs.
#[derive(Clone, Debug)]
struct ResponseQueue {
    runs: [ResponseRun; MAX_RUNS],
    first: u8,
    length: u8,
}

const NO_RUN: ResponseRun = ResponseRun { response: Response::Continue, count: 0 };

impl ResponseQueue {
    fn is_full(&self) -> bool {
        self.length as usize == MAX_RUNS
    }

    fn first(&self) -> Option<ResponseRun> {
        (self.length > 0).then(|| self.runs[self.first as usize])
    }

    fn last(&mut self) -> Option<&mut ResponseRun> {
        let index = (self.first as usize + self.length as usize).checked_sub(1)?;
        (self.length > 0).then(|| &mut self.runs[index % MAX_RUNS])
    }

    /// Adds a response. There must be room for a run.
    fn push(&mut self, response: Response) {
        match self.last() {
            Some(run) if run.response == response && run.count < u32::MAX => run.count += 1,
            _ => {
                assert!(!self.is_full(), "the response queue is full");
                let index = (self.first as usize + self.length as usize) % MAX_RUNS;
                self.runs[index] = ResponseRun { response, count: 1 };
                self.length += 1;
            }
        }
    }

    /// Removes `count` responses of the first run.
    fn pop(&mut self, count: u32) {
        let run = &mut self.runs[self.first as usize];
        run.count -= count;
        if run.count == 0 {
            self.first = (self.first + 1) % MAX_RUNS as u8;
            self.length -= 1;
        }
    }
}

/// The input that a connection awaits when no response is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaits {
    FirstRequest,
    NextRequest,
    Head,
    Body,
}

/// The result of one call of [`Http11::on_bytes`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received {
    pub(crate) requests: u64,
    pub(crate) refusal: Option<Status>,
    /// The stream ended within a request, or before the first.
    pub(crate) premature_eof: bool,
}

/// The state of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Http11 {
    parser: RequestParser,
    responses: ResponseQueue,
    /// Bytes of the first pending response that are sent.
    sent_bytes: usize,
    requests: u64,
    /// The next response is the last.
    ends_with_next: bool,
    /// Further bytes are ignored, and the connection ends after the pending responses.
    is_ended: bool,
}

impl Default for Http11 {
    fn default() -> Self {
        Self {
            parser: RequestParser::default(),
            responses: ResponseQueue { runs: [NO_RUN; MAX_RUNS], first: 0, length: 0 },
            sent_bytes: 0,
            requests: 0,
            ends_with_next: false,
            is_ended: false,
        }
    }
}

impl Http11 {
    /// Handles received bytes; an empty slice is the end of the peer's stream.
    pub(crate) fn on_bytes(&mut self, mut bytes: &[u8], limits: &Http11Limits) -> Received {
        let mut received = Received::default();
        if bytes.is_empty() && !self.is_ended {
            received.premature_eof =
                self.parser.position() != ParserPosition::Before || self.requests == 0;
            self.is_ended = true;
        }
        while !bytes.is_empty() && !self.is_ended {
            let (count, found) = self.parser.read(bytes, &limits.request);
            bytes = &bytes[count..];
            match found {
                None => {}
                // Optional: a client does not wait for it without limit (RFC 9110, 10.1.1).
                Some(Found::Continue) if self.is_full() => {}
                Some(Found::Continue) => self.responses.push(Response::Continue),
                Some(Found::Request(request)) => {
                    received.requests += 1;
                    self.respond(request, limits);
                }
                Some(Found::Refused { status, wants_body }) => {
                    received.refusal = Some(status);
                    self.finish(Response::Refusal { status, has_body: wants_body });
                }
            }
        }
        received
    }

    fn respond(&mut self, request: Request, limits: &Http11Limits) {
        self.requests += 1;
        let is_last = self.ends_with_next
            || self.requests == limits.requests_per_connection
            || self.is_full();
        let field = match request.persistence {
            _ if is_last => ConnectionField::Close,
            Persistence::Persistent => ConnectionField::None,
            Persistence::PersistentWithField => ConnectionField::KeepAlive,
            Persistence::Close => ConnectionField::Close,
        };
        let response = Response::Success { field, has_body: request.wants_body };
        match field {
            ConnectionField::Close => self.finish(response),
            _ => self.responses.push(response),
        }
    }

    /// Returns true if there is room for the last response only.
    fn is_full(&self) -> bool {
        self.responses.length as usize >= MAX_RUNS - 1
    }

    fn finish(&mut self, response: Response) {
        self.responses.push(response);
        self.is_ended = true;
    }

    /// Handles that the kernel accepted `count` bytes of the pending output. Returns the number of
    /// responses that this completes.
    pub(crate) fn on_sent(&mut self, count: usize, responses: &Responses) -> u64 {
        let run = self.responses.first().expect("an engine sends only pending output");
        let length = responses.length(run.response);
        self.sent_bytes += count;
        if self.sent_bytes < length {
            return 0;
        }
        let complete = if self.sent_bytes == length { 1 } else { self.sent_bytes / length };
        self.sent_bytes -= complete * length;
        let complete = u32::try_from(complete).expect("no more than were pending");
        self.responses.pop(complete);
        // An interim response is not the response to a request.
        if run.response == Response::Continue { 0 } else { u64::from(complete) }
    }

    /// Returns the bytes to send next; `last_flags` are for the send that the end follows.
    pub(crate) fn pending_output<'server>(
        &self,
        responses: &'server Responses,
        last_flags: i32,
    ) -> PendingOutput<'server> {
        let run = self.responses.first().expect("an engine sends only pending output");
        let (bytes, is_all) = responses.pending(run.response, self.sent_bytes, run.count as usize);
        let is_last = is_all && self.is_ended && self.responses.length == 1;
        PendingOutput { bytes, flags: if is_last { last_flags } else { 0 } }
    }

    /// Returns the step of the present state.
    pub(crate) fn next(&self) -> Next {
        match (self.responses.first(), self.is_ended) {
            (Some(_), _) => Next::Send,
            (None, false) => Next::Recv,
            (None, true) => Next::Shutdown,
        }
    }

    /// Returns what is awaited when no response is pending.
    pub(crate) fn awaits(&self) -> Awaits {
        match self.parser.position() {
            ParserPosition::Before if self.requests == 0 => Awaits::FirstRequest,
            ParserPosition::Before => Awaits::NextRequest,
            ParserPosition::Head => Awaits::Head,
            ParserPosition::Body => Awaits::Body,
        }
    }

    /// Returns true if a response is sent in part.
    pub(crate) fn is_within_response(&self) -> bool {
        self.sent_bytes > 0
    }

    /// Makes the next response that can still be changed the last one. The first pending response
    /// cannot: the kernel may be sending it.
    pub(crate) fn end_soon(&mut self) {
        self.ends_with_next = true;
        if self.is_ended
            || self.responses.length < 2
            || self.parser.position() != ParserPosition::Before
        {
            return;
        }
        let is_full = self.responses.is_full();
        let Some(run) = self.responses.last() else { return };
        let Response::Success { has_body, .. } = run.response else { return };
        let response = Response::Success { field: ConnectionField::Close, has_body };
        if run.count == 1 {
            run.response = response;
        } else if !is_full {
            run.count -= 1;
            self.responses.push(response);
        } else {
            return;
        }
        self.is_ended = true;
    }
}
