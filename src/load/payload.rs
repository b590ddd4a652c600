//! The bytes that the connections of a run send and expect. No I/O.

use super::message::{Direction, Pattern, WINDOW_BYTES};
use super::request::Request;
use super::response::{Mismatch, Reference};

/// The payload of a run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload<'run> {
    /// An HTTP request, after whose response the server closes the connection if the connection
    /// is not persistent.
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

    /// Compares the next bytes of a response, of which `matched` bytes were equal so far. Returns
    /// the new number of equal bytes. An echo server cannot send more than it was `sent`.
    pub(super) fn check(
        self,
        start: u64,
        (matched, sent): (usize, usize),
        bytes: &[u8],
    ) -> Result<usize, Mismatch> {
        match self {
            Self::Http { reference, .. } => reference.check(matched, bytes),
            Self::Messages { pattern, .. } => {
                let in_message = |it: Mismatch| Mismatch { offset: it.offset + matched, ..it };
                let position = start + matched as u64;
                pattern.check(position, sent - matched, bytes).map_err(in_message)?;
                Ok(matched + bytes.len())
            }
        }
    }
}
