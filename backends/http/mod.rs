//! Reads the requests of a persistent connection, one byte after the other, wherever the stream
//! was cut up: where each begins and ends, and how it wants to be answered. Nothing of a request
//! is kept but what that takes (RFC 9112, and RFC 9110 for the fields).
//!
//! It is strict where leniency would let two readers of the same stream see different requests:
//! whitespace before a colon, folded lines, a bare CR, two lengths that differ, a length beside an
//! encoding, an encoding that is not `chunked`. It is lenient in one thing: a line of the head may
//! end with a bare LF, as in the documents.

mod body;
mod characters;
mod field;
mod head;
mod status;
#[cfg(test)]
mod tests;

use body::Body;
use head::Head;
pub use status::Status;

/// What bounds a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestRules {
    /// How long a head may be, its end included, in bytes; also the extensions of a body's
    /// chunks and its trailers together.
    pub head_bytes: usize,
    /// How long a body may be, in bytes.
    pub body_bytes: u64,
}

/// Whether a connection goes on behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// HTTP/1.1, and nothing was said against it.
    Persistent,
    /// HTTP/1.0, and it was asked for; the answer has to agree.
    PersistentIfTold,
    /// The answer is the last.
    Close,
}

/// A request that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whether its answer has a body: that of HEAD does not.
    pub wants_body: bool,
    /// Whether others may follow it.
    pub persistence: Persistence,
}

/// What the parser has come upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole request.
    Request(Request),
    /// The head of a request that waits for `100 Continue` before it sends its body.
    Continue,
    /// A request that is not served; where the next would begin is not known.
    Refused {
        /// Why.
        status: Status,
        /// Whether the refusal has a body: that of HEAD does not.
        wants_body: bool,
    },
}

/// Where in a request the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before it: not one byte of it has come.
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

/// The state of the reading; [`Default`] stands before the first request.
#[derive(Clone, Debug)]
pub struct RequestParser {
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
    /// Reads on until it has found something, or to the end of the piece. Returns how many bytes
    /// it has read, and what it has found behind them. After [`Found::Refused`] nothing more can
    /// be read.
    pub fn read(&mut self, piece: &[u8], rules: &RequestRules) -> (usize, Option<Found>) {
        let mut read = 0;
        if matches!(self.part, Part::Head) {
            let (count, reached) = self.head.read(piece, rules);
            let found = match reached {
                None => return (count, None),
                Some(reached) => reached.and_then(|_| self.begin_body(rules)),
            };
            match found {
                Ok(None) => read = count,
                Ok(found) => return (count, found),
                Err(status) => return (count, Some(self.refused(status))),
            }
        }
        let (count, reached) = self.body.read(&piece[read..], rules);
        let found = reached.map(|reached| match reached {
            Ok(_) => self.whole(),
            Err(status) => self.refused(status),
        });
        (read + count, found)
    }

    /// The head has ended: what is found already, unless it is the body that matters now.
    fn begin_body(&mut self, rules: &RequestRules) -> Result<Option<Found>, Status> {
        let Some(body) = self.head.framing(rules)? else {
            return Ok(Some(self.whole()));
        };
        self.part = Part::Body;
        self.body = body;
        Ok(self.head.waits_for_continue().then_some(Found::Continue))
    }

    fn refused(&self, status: Status) -> Found {
        Found::Refused { status, wants_body: !self.head.is_head_method() }
    }

    fn whole(&mut self) -> Found {
        let request = self.head.request();
        *self = Self::default();
        Found::Request(request)
    }

    /// Where in a request the stream stands.
    pub fn place(&self) -> Place {
        match self.part {
            Part::Head if self.head.is_untouched() => Place::Before,
            Part::Head => Place::Head,
            Part::Body => Place::Body,
        }
    }
}

/// A part was read to its end.
struct End;

/// How far a part was read, and to what.
type Reading = (usize, Option<Result<End, Status>>);
