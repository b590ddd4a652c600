//! HTTP/1.1 on keep-alive connections, with pipelining: any valid request gets the same response.

use std::sync::Arc;

use super::http::{
    Found, ParserPosition, Persistence, Request, RequestLimits, RequestParser, Status,
};
use super::responses::{ConnectionField, Response, Responses};
use crate::output::Output;
use crate::protocol::{Awaits, Next, Protocol};

/// Keep-alive connections (RFC 9112): every valid request gets the same response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Http11 {
    /// The responses.
    pub responses: Arc<Responses>,
    /// Most requests on a connection: the last response has `Connection: close`; 0 is no limit.
    pub requests_per_connection: u64,
    /// Longest request head, its end included, in bytes; a longer one is refused with 431.
    pub request_head_bytes: usize,
    /// Longest request body, which is skipped, in bytes; a longer one is refused with 413.
    pub request_body_bytes: u64,
}

impl Http11 {
    /// Makes the protocol without a limit of requests, and with heads of up to 8 KiB and bodies of
    /// up to 1 MiB.
    pub fn new(responses: impl Into<Arc<Responses>>) -> Self {
        Self {
            responses: responses.into(),
            requests_per_connection: 0,
            request_head_bytes: 8 * 1024,
            request_body_bytes: 1024 * 1024,
        }
    }

    /// Appends the response to a request. Returns true if it is the last of the connection.
    fn respond(
        &self,
        connection: &mut Http11Connection,
        request: Request,
        output: &mut Output,
    ) -> bool {
        output.count_request();
        connection.requests += 1;
        let is_last =
            connection.ends_with_next || connection.requests == self.requests_per_connection;
        let field = match request.persistence {
            _ if is_last => ConnectionField::Close,
            Persistence::Persistent => ConnectionField::None,
            Persistence::PersistentWithField => ConnectionField::KeepAlive,
            Persistence::Close => ConnectionField::Close,
        };
        let response = Response::Success { field, has_body: request.wants_body };
        connection.last_response = Some(response);
        self.responses.push(response, output);
        field == ConnectionField::Close
    }
}

/// The state of one connection. It stores neither requests nor responses.
#[derive(Clone, Debug, Default)]
pub struct Http11Connection {
    parser: RequestParser,
    requests: u64,
    /// The next response is the last.
    ends_with_next: bool,
    last_response: Option<Response>,
}

impl Protocol for Http11 {
    type Connection = Http11Connection;

    fn on_open(&mut self, _output: &mut Output) -> Http11Connection {
        Http11Connection::default()
    }

    fn on_recv(
        &mut self,
        connection: &mut Http11Connection,
        mut bytes: &[u8],
        output: &mut Output,
    ) -> Next {
        let limits = RequestLimits {
            head_bytes: self.request_head_bytes,
            body_bytes: self.request_body_bytes,
        };
        while !bytes.is_empty() {
            let (count, found) = connection.parser.read(bytes, &limits);
            bytes = &bytes[count..];
            match found {
                None => {}
                Some(Found::Continue) => self.responses.push(Response::Continue, output),
                Some(Found::Request(request)) => {
                    let is_last = self.respond(connection, request, output);
                    if is_last {
                        return Next::Shutdown;
                    }
                }
                Some(Found::Refused { status, wants_body }) => {
                    match status {
                        Status::HeadTooLarge => output.count_head_too_large(),
                        _ => output.count_refused(),
                    }
                    let refusal = Response::Refusal { status, has_body: wants_body };
                    self.responses.push(refusal, output);
                    return Next::Shutdown;
                }
            }
        }
        Next::Recv
    }

    /// Makes the next response the last one, or the last pending one if that can still be changed.
    fn on_stop(&mut self, connection: &mut Http11Connection, output: &mut Output) -> Next {
        connection.ends_with_next = true;
        // Otherwise the start of a further request was received, whose response is the last.
        if connection.parser.position() != ParserPosition::Before {
            return Next::Recv;
        }
        if let Some(last @ Response::Success { has_body, .. }) = connection.last_response {
            if output.take_back(self.responses.length(last)) {
                let response = Response::Success { field: ConnectionField::Close, has_body };
                self.responses.push(response, output);
                return Next::Shutdown;
            }
        }
        Next::Recv
    }

    fn awaits(&self, connection: &Http11Connection) -> Awaits {
        match connection.parser.position() {
            ParserPosition::Before if connection.requests == 0 => Awaits::FirstMessage,
            ParserPosition::Before => Awaits::NextMessage,
            ParserPosition::Head => Awaits::Head,
            ParserPosition::Body => Awaits::Body,
        }
    }
}
