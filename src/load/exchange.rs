//! One request and its answer: a state machine that does no I/O. It is told what happened on its
//! connection, and answers what to do next.
//!
//! The life that it knows is one connection a request: the peer's end of the stream ends it. On a
//! connection that persists, the last right byte would end an exchange, and [`Exchange::new`]
//! begin the next one.

use super::answer::{Mismatch, Reference};
use super::request::Request;

/// Where an exchange stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exchange {
    /// How many bytes of the request have been sent.
    sent: usize,
    /// How many bytes of the answer have come, all of them right.
    matched: usize,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Next {
    /// Send the request from the one byte up to the other, for now.
    Send { from: usize, to: usize },
    /// Wait as long as lies between two pieces, then go on.
    Pause,
    /// Wait for bytes, or for the end.
    Receive,
    /// The answer was right and is over.
    Finish,
    /// It was not.
    Fail(Fault),
}

/// What a server can do wrong in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    WrongBytes(Mismatch),
    /// The stream ended before the answer did, or before the request was whole.
    EarlyEnd {
        matched: usize,
        length: usize,
    },
}

impl Exchange {
    /// One that begins.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// What to send now: when the connection is there, and after each pause.
    pub(super) fn ready(&self, request: &Request) -> Next {
        Next::Send { from: self.sent, to: request.end_of_fragment(self.sent) }
    }

    /// So many bytes were sent.
    pub(super) fn sent(&mut self, request: &Request, count: usize) -> Next {
        let end = request.end_of_fragment(self.sent);
        self.sent += count;
        debug_assert!(self.sent <= end, "more was sent than was asked for");
        if self.sent < end {
            Next::Send { from: self.sent, to: end }
        } else if !self.is_sent(request) {
            Next::Pause
        } else {
            Next::Receive
        }
    }

    /// Bytes came. They may come while the request is still being sent: the server then answers
    /// what it has not been asked, and the end of the stream will show it.
    pub(super) fn received(&mut self, reference: &Reference, bytes: &[u8]) -> Next {
        match reference.check(self.matched, bytes) {
            Ok(matched) => {
                self.matched = matched;
                Next::Receive
            }
            Err(mismatch) => Next::Fail(Fault::WrongBytes(mismatch)),
        }
    }

    /// The peer ended its stream.
    pub(super) fn ended(&self, request: &Request, reference: &Reference) -> Next {
        let length = reference.bytes().len();
        if self.matched == length && self.is_sent(request) {
            Next::Finish
        } else {
            Next::Fail(Fault::EarlyEnd { matched: self.matched, length })
        }
    }

    /// How many bytes of the answer have come and were right.
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

    const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!";

    fn request(fragments: usize) -> Request {
        let request = Request::get("/", "a", &[]).unwrap();
        request.in_fragments(fragments, Duration::ZERO).unwrap()
    }

    fn reference() -> Reference {
        Reference::learn(ANSWER.to_vec(), None).unwrap()
    }

    /// An exchange whose request has been sent.
    fn asked(request: &Request) -> Exchange {
        let mut exchange = Exchange::new();
        assert_eq!(exchange.sent(request, request.bytes().len()), Next::Receive);
        exchange
    }

    #[test]
    fn an_answer_cut_anywhere_in_two_or_three_is_right() {
        let (request, reference) = (request(1), reference());
        for first in 0..=ANSWER.len() {
            for second in first..=ANSWER.len() {
                let mut exchange = asked(&request);
                for piece in [&ANSWER[..first], &ANSWER[first..second], &ANSWER[second..]] {
                    assert_eq!(exchange.received(&reference, piece), Next::Receive);
                }
                assert_eq!(exchange.ended(&request, &reference), Next::Finish);
            }
        }
    }

    #[test]
    fn an_answer_that_ends_anywhere_before_its_end_is_not() {
        let (request, reference) = (request(1), reference());
        for end in 0..ANSWER.len() {
            for cut in 0..=end {
                let mut exchange = asked(&request);
                assert_eq!(exchange.received(&reference, &ANSWER[..cut]), Next::Receive);
                assert_eq!(exchange.received(&reference, &ANSWER[cut..end]), Next::Receive);
                let fault = Fault::EarlyEnd { matched: end, length: ANSWER.len() };
                assert_eq!(exchange.ended(&request, &reference), Next::Fail(fault));
            }
        }
    }

    #[test]
    fn a_wrong_byte_is_told_with_its_place_in_the_whole_answer() {
        let (request, reference) = (request(1), reference());
        for cut in 0..ANSWER.len() {
            let mut exchange = asked(&request);
            assert_eq!(exchange.received(&reference, &ANSWER[..cut]), Next::Receive);
            let mismatch = Mismatch { at: cut, expected: Some(ANSWER[cut]), found: 0 };
            let fault = Fault::WrongBytes(mismatch);
            assert_eq!(exchange.received(&reference, b"\0"), Next::Fail(fault));
        }
    }

    #[test]
    fn each_fragment_is_sent_whole_before_the_pause() {
        for fragments in 1..=5 {
            let request = request(fragments);
            let (mut exchange, mut pauses, mut sent) = (Exchange::new(), 0, Vec::new());
            let mut next = exchange.ready(&request);
            loop {
                next = match next {
                    // One byte at a time: each send is a short one.
                    Next::Send { from, to } => {
                        assert!(from < to);
                        sent.push(request.bytes()[from]);
                        exchange.sent(&request, 1)
                    }
                    Next::Pause => {
                        pauses += 1;
                        exchange.ready(&request)
                    }
                    other => break assert_eq!(other, Next::Receive),
                };
            }
            assert_eq!((&sent[..], pauses), (request.bytes(), fragments - 1));
        }
    }

    #[test]
    fn an_answer_to_half_a_request_is_wrong() {
        let (request, reference) = (request(2), reference());
        let mut exchange = Exchange::new();
        let Next::Send { from: 0, to } = exchange.ready(&request) else { panic!("it sends") };
        assert_eq!(exchange.sent(&request, to), Next::Pause);
        assert_eq!(exchange.received(&reference, ANSWER), Next::Receive);
        let fault = Fault::EarlyEnd { matched: ANSWER.len(), length: ANSWER.len() };
        assert_eq!(exchange.ended(&request, &reference), Next::Fail(fault));
    }
}
