//! The bytes that the connections of a run send and expect. No I/O.

use super::message::{Direction, Pattern, WINDOW_BYTES};
use super::request::Request;
use super::request_list::RequestList;
use super::response::{Closer, Reference};

/// The payload of a run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload<'run> {
    /// An HTTP request.
    Http { request: &'run Request, reference: &'run Reference },
    /// Messages of this length. An echo server closes the connection after the client has closed
    /// its send side.
    Messages { bytes: usize, direction: Direction, pattern: &'run Pattern },
}

/// The payloads of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payloads<'run> {
    /// The payload, or that of the first request of the list.
    pub(super) first: Payload<'run>,
    /// A list of requests, each with its reference.
    pub(super) list: Option<(&'run RequestList, &'run [Reference])>,
}

impl<'run> Payloads<'run> {
    /// Returns the payload of a request of the list, or the only one.
    pub(super) fn of(&self, entry: u32) -> Payload<'run> {
        let Some((list, references)) = self.list else { return self.first };
        let index = entry as usize;
        Payload::Http { request: &list.requests()[index], reference: &references[index] }
    }

    /// Returns true if `has` is true for any payload.
    pub(super) fn any(&self, has: impl Fn(Payload<'run>) -> bool) -> bool {
        let count = self.list.map_or(1, |(list, _)| list.requests().len());
        (0..count as u32).any(|entry| has(self.of(entry)))
    }
}

impl<'run> Payload<'run> {
    pub(super) fn is_messages(self) -> bool {
        matches!(self, Self::Messages { .. })
    }

    /// The direction of messages; `None` for HTTP.
    pub(super) fn direction(self) -> Option<Direction> {
        match self {
            Self::Http { .. } => None,
            Self::Messages { direction, .. } => Some(direction),
        }
    }

    /// Length of a request, in bytes.
    pub(super) fn request_bytes(self) -> usize {
        match self {
            Self::Http { request, .. } => request.bytes().len(),
            Self::Messages { bytes, .. } => bytes,
        }
    }

    /// The HTTP request; `None` for messages.
    pub(super) fn request(self) -> Option<&'run Request> {
        match self {
            Self::Http { request, .. } => Some(request),
            Self::Messages { .. } => None,
        }
    }

    /// Returns true if the body of the request is sent after 100 Continue.
    pub(super) fn expects_continue(self) -> bool {
        self.request().is_some_and(Request::expects_continue)
    }

    /// Length of a response, in bytes.
    pub(super) fn response_bytes(self) -> usize {
        match self {
            Self::Http { reference, .. } => reference.bytes().len(),
            Self::Messages { bytes, .. } => bytes,
        }
    }

    /// Returns the end offset of the fragment that contains `position`.
    pub(super) fn end_of_fragment(self, position: usize) -> usize {
        match self {
            Self::Http { request, .. } => request.end_of_fragment(position),
            Self::Messages { bytes, .. } => bytes,
        }
    }

    /// Returns the first bytes of this range of a request, on the connection whose first byte has
    /// the position `start` in the pattern.
    pub(super) fn piece(self, start: u64, from: usize, to: usize) -> &'run [u8] {
        match self {
            Self::Http { request, .. } => &request.bytes()[from..to],
            Self::Messages { pattern, .. } => {
                &pattern.from(start + from as u64)[..(to - from).min(WINDOW_BYTES)]
            }
        }
    }

    /// Returns true if the client closes a connection of one HTTP request after its response.
    pub(super) fn client_closes(self) -> bool {
        match self {
            Self::Http { reference, .. } => reference.closer() == Closer::Client,
            Self::Messages { .. } => false,
        }
    }

    /// Returns true if a response may not fit in `bytes`, so that it has to be received before
    /// the server can end it.
    pub(super) fn may_exceed(self, bytes: usize) -> bool {
        match self {
            Self::Http { reference, .. } => {
                reference.bytes().len() > bytes || !reference.has_known_length()
            }
            Self::Messages { .. } => true,
        }
    }
}
