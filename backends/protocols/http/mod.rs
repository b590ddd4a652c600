//! Parses the requests of a keep-alive connection (RFC 9112, RFC 9110 for the fields), however the
//! stream is split. It finds where each request ends and which response it needs, and stores
//! nothing else.
//!
//! It is strict where leniency would let two parsers of one stream see different requests (request
//! smuggling): whitespace before a colon, folded lines, a bare CR, lengths that differ, a length
//! together with an encoding, an encoding other than `chunked`. A bare LF may end a line of the
//! head, as in the reference programs.

mod body;
mod characters;
mod field;
mod head;
mod status;
#[cfg(test)]
mod tests;

use body::Body;
use head::Head;
pub(super) use status::Status;

/// The limits of a request.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocols) struct RequestLimits {
    /// Longest head, its end included, in bytes; also the limit of a body's chunk extensions and
    /// trailers together.
    pub(in crate::protocols) head_bytes: usize,
    /// Longest body, in bytes.
    pub(in crate::protocols) body_bytes: u64,
}

/// The persistence of the connection after a request (RFC 9112, 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocols) enum Persistence {
    /// HTTP/1.1 without `Connection: close`.
    Persistent,
    /// HTTP/1.0 with `Connection: keep-alive`; the response must have that field too.
    PersistentWithField,
    /// The response is the last.
    Close,
}

/// A complete request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocols) struct Request {
    /// False for HEAD, whose response has no body.
    pub(in crate::protocols) wants_body: bool,
    /// Says whether further requests may follow.
    pub(in crate::protocols) persistence: Persistence,
}

/// A result of the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocols) enum Found {
    /// A complete request.
    Request(Request),
    /// The head of a request that waits for `100 Continue` before it sends its body.
    Continue,
    /// A refused request. Its end, and so the start of the next one, is not known.
    Refused {
        /// The status of the response.
        status: Status,
        /// False for HEAD, whose response has no body.
        wants_body: bool,
    },
}

/// A position in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocols) enum ParserPosition {
    /// Before its first byte.
    Before,
    /// In its head.
    Head,
    /// In its body.
    Body,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Head,
    Body,
}

/// The parser of one stream; [`Default`] is before its first request.
#[derive(Clone, Debug)]
pub(in crate::protocols) struct RequestParser {
    part: Part,
    head: Head,
    body: Body,
}

impl Default for RequestParser {
    fn default() -> Self {
        Self { part: Part::Head, head: Head::default(), body: Body::default() }
    }
}

impl RequestParser {
    /// Parses up to the next result or the end of the piece. Returns the number of bytes consumed,
    /// and the result after them. Nothing can be parsed after [`Found::Refused`].
    pub(in crate::protocols) fn read(
        &mut self,
        piece: &[u8],
        limits: &RequestLimits,
    ) -> (usize, Option<Found>) {
        let mut read = 0;
        if matches!(self.part, Part::Head) {
            let (count, reached) = self.head.read(piece, limits);
            let found = match reached {
                None => return (count, None),
                Some(reached) => reached.and_then(|_| self.begin_body(limits)),
            };
            match found {
                Ok(None) => read = count,
                Ok(found) => return (count, found),
                Err(status) => return (count, Some(self.refused(status))),
            }
        }
        let (count, reached) = self.body.read(&piece[read..], limits);
        let found = reached.map(|reached| match reached {
            Ok(_) => self.complete(),
            Err(status) => self.refused(status),
        });
        (read + count, found)
    }

    /// Begins the body after the end of a head. Returns a result that is known before the body.
    fn begin_body(&mut self, limits: &RequestLimits) -> Result<Option<Found>, Status> {
        let Some(body) = self.head.framing(limits)? else {
            return Ok(Some(self.complete()));
        };
        self.part = Part::Body;
        self.body = body;
        Ok(self.head.waits_for_continue().then_some(Found::Continue))
    }

    fn refused(&self, status: Status) -> Found {
        Found::Refused { status, wants_body: !self.head.is_head_method() }
    }

    fn complete(&mut self) -> Found {
        let request = self.head.request();
        *self = Self::default();
        Found::Request(request)
    }

    /// Returns the position in a request.
    pub(in crate::protocols) fn position(&self) -> ParserPosition {
        match self.part {
            Part::Head if self.head.is_untouched() => ParserPosition::Before,
            Part::Head => ParserPosition::Head,
            Part::Body => ParserPosition::Body,
        }
    }
}

/// The end of a head or a body.
struct End;

/// The bytes consumed, and the end or the refusal if reached.
type Progress = (usize, Option<Result<End, Status>>);
