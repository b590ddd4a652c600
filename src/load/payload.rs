//! The bytes that the connections of a run send and expect. No I/O.

use super::message::{Direction, Pattern, WINDOW_BYTES};
use super::request::Request;
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
