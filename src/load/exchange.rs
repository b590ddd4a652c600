//! One request and its response on its own connection: a state machine without I/O. Its input is
//! events of the connection, its output the next action.

use super::request::Request;
use super::response::{Mismatch, Reference};

/// Progress of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exchange {
    /// Bytes of the request that have been sent.
    sent: usize,
    /// Bytes of the response that have been received and are correct.
    matched: usize,
}

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Next {
    /// Send these bytes of the request.
    Send { from: usize, to: usize },
    /// Wait for the pause between two fragments, then call [`Exchange::next_send`].
    Pause,
    /// Wait for bytes or the end of the stream.
    Receive,
    /// The response is correct and complete.
    Finish,
    /// The response is wrong.
    Fail(Fault),
}

/// An error of the server in its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    WrongBytes(Mismatch),
    /// The stream ended before the response was complete or the request was sent.
    PrematureEof {
        matched: usize,
        length: usize,
    },
}

impl Exchange {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Returns the next fragment to send, once connected and after each pause.
    pub(super) fn next_send(&self, request: &Request) -> Next {
        Next::Send { from: self.sent, to: request.end_of_fragment(self.sent) }
    }

    /// Records that `count` bytes were sent.
    pub(super) fn on_sent(&mut self, request: &Request, count: usize) -> Next {
        let end = request.end_of_fragment(self.sent);
        self.sent += count;
        debug_assert!(self.sent <= end, "more was sent than the fragment holds");
        if self.sent < end {
            Next::Send { from: self.sent, to: end }
        } else if !self.is_sent(request) {
            Next::Pause
        } else {
            Next::Receive
        }
    }

    /// Verifies received bytes. If they arrive before the request has been sent, the end of the
    /// stream reports the failure.
    pub(super) fn on_bytes(&mut self, reference: &Reference, bytes: &[u8]) -> Next {
        match reference.check(self.matched, bytes) {
            Ok(matched) => {
                self.matched = matched;
                Next::Receive
            }
            Err(mismatch) => Next::Fail(Fault::WrongBytes(mismatch)),
        }
    }

    /// Handles the end of the peer's stream.
    pub(super) fn on_end_of_stream(&self, request: &Request, reference: &Reference) -> Next {
        let length = reference.bytes().len();
        if self.matched == length && self.is_sent(request) {
            Next::Finish
        } else {
            Next::Fail(Fault::PrematureEof { matched: self.matched, length })
        }
    }

    /// Bytes of the response that have been received and are correct.
    pub(super) fn matched(&self) -> usize {
        self.matched
    }

    fn is_sent(&self, request: &Request) -> bool {
        self.sent == request.bytes().len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!";

    fn request(fragments: usize) -> Request {
        let request = Request::get("/", "a", &[]).unwrap();
        request.in_fragments(fragments, Duration::ZERO).unwrap()
    }

    fn reference() -> Reference {
        Reference::new(RESPONSE.to_vec(), None).unwrap()
    }

    fn sent_exchange(request: &Request) -> Exchange {
        let mut exchange = Exchange::new();
        assert_eq!(exchange.on_sent(request, request.bytes().len()), Next::Receive);
        exchange
    }

    #[test]
    fn response_split_in_three_anywhere_is_correct() {
        let (request, reference) = (request(1), reference());
        for first in 0..=RESPONSE.len() {
            for second in first..=RESPONSE.len() {
                let mut exchange = sent_exchange(&request);
                for piece in [&RESPONSE[..first], &RESPONSE[first..second], &RESPONSE[second..]] {
                    assert_eq!(exchange.on_bytes(&reference, piece), Next::Receive);
                }
                assert_eq!(exchange.on_end_of_stream(&request, &reference), Next::Finish);
            }
        }
    }

    #[test]
    fn response_that_ends_anywhere_too_early_is_wrong() {
        let (request, reference) = (request(1), reference());
        for end in 0..RESPONSE.len() {
            for cut in 0..=end {
                let mut exchange = sent_exchange(&request);
                assert_eq!(exchange.on_bytes(&reference, &RESPONSE[..cut]), Next::Receive);
                assert_eq!(exchange.on_bytes(&reference, &RESPONSE[cut..end]), Next::Receive);
                let fault = Fault::PrematureEof { matched: end, length: RESPONSE.len() };
                assert_eq!(exchange.on_end_of_stream(&request, &reference), Next::Fail(fault));
            }
        }
    }

    #[test]
    fn wrong_byte_is_reported_with_its_offset_in_the_response() {
        let (request, reference) = (request(1), reference());
        for cut in 0..RESPONSE.len() {
            let mut exchange = sent_exchange(&request);
            assert_eq!(exchange.on_bytes(&reference, &RESPONSE[..cut]), Next::Receive);
            let mismatch = Mismatch { offset: cut, expected: Some(RESPONSE[cut]), found: 0 };
            let fault = Fault::WrongBytes(mismatch);
            assert_eq!(exchange.on_bytes(&reference, b"\0"), Next::Fail(fault));
        }
    }

    #[test]
    fn fragment_is_sent_completely_before_the_pause() {
        for fragments in 1..=5 {
            let request = request(fragments);
            let (mut exchange, mut pauses, mut sent) = (Exchange::new(), 0, Vec::new());
            let mut next = exchange.next_send(&request);
            loop {
                next = match next {
                    // Every send is short: one byte.
                    Next::Send { from, to } => {
                        assert!(from < to);
                        sent.push(request.bytes()[from]);
                        exchange.on_sent(&request, 1)
                    }
                    Next::Pause => {
                        pauses += 1;
                        exchange.next_send(&request)
                    }
                    other => break assert_eq!(other, Next::Receive),
                };
            }
            assert_eq!((&sent[..], pauses), (request.bytes(), fragments - 1));
        }
    }

    #[test]
    fn response_to_half_a_request_is_wrong() {
        let (request, reference) = (request(2), reference());
        let mut exchange = Exchange::new();
        let Next::Send { from: 0, to } = exchange.next_send(&request) else { panic!("it sends") };
        assert_eq!(exchange.on_sent(&request, to), Next::Pause);
        assert_eq!(exchange.on_bytes(&reference, RESPONSE), Next::Receive);
        let fault = Fault::PrematureEof { matched: RESPONSE.len(), length: RESPONSE.len() };
        assert_eq!(exchange.on_end_of_stream(&request, &reference), Next::Fail(fault));
    }
}
