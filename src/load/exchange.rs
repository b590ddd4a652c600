//! One request and its response on its own connection: a state machine without I/O. Its input is
//! events of the connection, its output the next action.

use super::message::Pattern;
use super::payload::Payload;
use super::response::{Fault, Mismatch, Reference};
use super::response_stream::{ResponseStream, Verified};

/// The reason for sending the body of a request with `Expect: 100-continue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyTrigger {
    /// 100 Continue.
    Continue,
    /// No response to the head in time.
    Timeout,
}

/// Progress of an exchange.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchange {
    /// Messages: position in the pattern of the first byte.
    start: u64,
    /// Bytes of the request that have been sent.
    sent: usize,
    /// `Expect: 100-continue`: set when the body may be sent.
    body_trigger: Option<BodyTrigger>,
    /// Messages: bytes of the echo that have been received and are correct.
    matched: usize,
    response: ResponseStream,
    /// Set if the response is complete.
    is_complete: bool,
    /// Number of interim responses before it.
    interim: u64,
}

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Next {
    /// Send these bytes of the request.
    Send { from: usize, to: usize },
    /// Wait for the pause between two fragments, then call [`Exchange::next_send`].
    Pause,
    /// Wait for 100 Continue or a final response, or call [`Exchange::on_continue_timeout`].
    AwaitContinue,
    /// Wait for bytes or the end of the stream.
    Receive,
    /// The message was echoed: close the send side, and wait for the end of the stream.
    CloseSend,
    /// The response is correct and complete.
    Finish,
    /// The response is wrong.
    Fail(Fault),
}

impl Exchange {
    /// Starts another exchange. `start` is the position of a message in the pattern; it has no
    /// effect on HTTP.
    pub(super) fn restart(&mut self, start: u64) {
        let mut response = std::mem::take(&mut self.response);
        response.reset();
        *self = Self { start, response, ..Self::default() };
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Returns the next fragment to send, once connected and after each pause.
    pub(super) fn next_send(&self, payload: Payload<'_>) -> Next {
        Next::Send { from: self.sent, to: payload.end_of_fragment(self.sent) }
    }

    /// Records that `count` bytes were sent.
    pub(super) fn on_sent(&mut self, payload: Payload<'_>, count: usize) -> Next {
        let end = payload.end_of_fragment(self.sent);
        self.sent += count;
        debug_assert!(self.sent <= end, "more was sent than the fragment holds");
        if self.sent < end {
            Next::Send { from: self.sent, to: end }
        } else if self.awaits_continue(payload) {
            Next::AwaitContinue
        } else if !self.is_sent(payload) {
            Next::Pause
        } else {
            Next::Receive
        }
    }

    /// Verifies received bytes. If the server closes the connection, its end reports a response
    /// that arrives before the request has been sent.
    pub(super) fn on_bytes(&mut self, payload: Payload<'_>, bytes: &[u8]) -> Next {
        let next = match payload {
            Payload::Http { reference, .. } => self.on_response(payload, reference, bytes),
            Payload::Messages { pattern, .. } => self.on_echo(payload, pattern, bytes),
        };
        next.unwrap_or_else(Next::Fail)
    }

    fn on_response(
        &mut self,
        payload: Payload<'_>,
        reference: &Reference,
        bytes: &[u8],
    ) -> Result<Next, Fault> {
        let mut rest = bytes;
        if !self.is_complete {
            let Verified::Complete { count, interim, .. } =
                self.response.verify(reference, bytes)?
            else {
                if self.awaits_continue(payload) && self.response.has_continued(reference) {
                    self.body_trigger = Some(BodyTrigger::Continue);
                    return Ok(self.next_send(payload));
                }
                return Ok(Next::Receive);
            };
            (self.is_complete, self.interim) = (true, interim);
            self.matched = reference.bytes().len();
            rest = &bytes[count..];
        }
        match rest.first() {
            Some(&found) => Err(Mismatch { offset: self.matched, expected: None, found }.into()),
            // The server may wait for a body that is not sent.
            None if payload.client_closes() || self.awaits_continue(payload) => self.end(payload),
            None => Ok(Next::Receive),
        }
    }

    /// Verifies an echo. A server cannot send more than it was sent.
    fn on_echo(
        &mut self,
        payload: Payload<'_>,
        pattern: &Pattern,
        bytes: &[u8],
    ) -> Result<Next, Fault> {
        let in_message = |it: Mismatch| Mismatch { offset: it.offset + self.matched, ..it };
        let position = self.start + self.matched as u64;
        pattern.check(position, self.sent - self.matched, bytes).map_err(in_message)?;
        self.matched += bytes.len();
        self.is_complete = self.matched == payload.response_bytes();
        Ok(if self.is_complete { Next::CloseSend } else { Next::Receive })
    }

    /// Handles the end of the peer's stream.
    pub(super) fn on_end_of_stream(&mut self, payload: Payload<'_>) -> Next {
        self.end(payload).unwrap_or_else(Next::Fail)
    }

    fn end(&mut self, payload: Payload<'_>) -> Result<Next, Fault> {
        let length = Some(payload.response_bytes());
        match payload {
            _ if self.is_complete => {}
            Payload::Http { reference, .. } => {
                self.interim = self.response.on_end_of_stream(reference)?;
            }
            Payload::Messages { .. } => {
                return Err(Fault::PrematureEof { matched: self.matched, length });
            }
        }
        match self.is_sent(payload) || self.awaits_continue(payload) {
            true => Ok(Next::Finish),
            false => Err(Fault::PrematureEof { matched: payload.response_bytes(), length }),
        }
    }

    /// Bytes of the response that have been received.
    pub(super) fn received(&self) -> usize {
        self.matched + self.response.received()
    }

    /// Returns true if the response is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Number of interim responses before the response.
    pub(super) fn interim(&self) -> u64 {
        self.interim
    }

    /// Returns the byte in which the response differs, if it is not known whether that is correct.
    pub(super) fn undecided_difference(&self) -> Option<Mismatch> {
        self.response.undecided_difference()
    }

    /// Sends the body although the server has not agreed to that.
    pub(super) fn on_continue_timeout(&mut self) {
        self.body_trigger = Some(BodyTrigger::Timeout);
    }

    /// The reason for sending the body; `None` if it was not sent.
    pub(super) fn body_trigger(&self) -> Option<BodyTrigger> {
        self.body_trigger
    }

    /// Returns true if the head has been sent, and the body waits for 100 Continue.
    fn awaits_continue(&self, payload: Payload<'_>) -> bool {
        payload.expects_continue()
            && self.body_trigger.is_none()
            && self.sent == payload.end_of_fragment(0)
    }

    pub(super) fn is_sent(&self, payload: Payload<'_>) -> bool {
        self.sent == payload.request_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::message::{Direction, Pattern};
    use crate::load::request::Request;
    use crate::load::response::{Closer, Reference};
    use crate::load::verify::Verify;

    const RESPONSE: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!";

    fn request(fragments: usize) -> Request {
        let request = Request::get("/", "a", &[]).unwrap();
        request.in_fragments(fragments, Duration::ZERO).unwrap()
    }

    fn reference() -> Reference {
        Reference::of(RESPONSE, Verify::Bytes, Closer::Server)
    }

    fn sent_exchange(payload: Payload<'_>) -> Exchange {
        let mut exchange = Exchange::default();
        assert_eq!(exchange.on_sent(payload, payload.request_bytes()), Next::Receive);
        exchange
    }

    #[test]
    fn response_split_in_three_anywhere_is_correct() {
        let (request, reference) = (request(1), reference());
        let payload = Payload::Http { request: &request, reference: &reference };
        for first in 0..=RESPONSE.len() {
            for second in first..=RESPONSE.len() {
                let mut exchange = sent_exchange(payload);
                for piece in [&RESPONSE[..first], &RESPONSE[first..second], &RESPONSE[second..]] {
                    assert_eq!(exchange.on_bytes(payload, piece), Next::Receive);
                }
                assert_eq!(exchange.on_end_of_stream(payload), Next::Finish);
            }
        }
    }

    #[test]
    fn response_that_ends_anywhere_too_early_is_wrong() {
        let (request, reference) = (request(1), reference());
        let payload = Payload::Http { request: &request, reference: &reference };
        for end in 0..RESPONSE.len() {
            for cut in 0..=end {
                let mut exchange = sent_exchange(payload);
                assert_eq!(exchange.on_bytes(payload, &RESPONSE[..cut]), Next::Receive);
                assert_eq!(exchange.on_bytes(payload, &RESPONSE[cut..end]), Next::Receive);
                let fault = Fault::PrematureEof { matched: end, length: Some(RESPONSE.len()) };
                assert_eq!(exchange.on_end_of_stream(payload), Next::Fail(fault));
            }
        }
    }

    #[test]
    fn wrong_byte_is_reported_with_its_offset_in_the_response() {
        let (request, reference) = (request(1), reference());
        let payload = Payload::Http { request: &request, reference: &reference };
        // Wrong bytes within the head are known to be wrong when it is complete.
        for cut in 5..RESPONSE.len() {
            let mut exchange = sent_exchange(payload);
            assert_eq!(exchange.on_bytes(payload, &RESPONSE[..cut]), Next::Receive);
            let mismatch = Mismatch { offset: cut, expected: Some(RESPONSE[cut]), found: 0 };
            if cut < RESPONSE.len() - 13 {
                let _ = exchange.on_bytes(payload, b"\0");
                assert_eq!(exchange.undecided_difference(), Some(mismatch), "{cut}");
            } else {
                let fault = Fault::WrongBytes(mismatch);
                assert_eq!(exchange.on_bytes(payload, b"\0"), Next::Fail(fault));
            }
        }
    }

    #[test]
    fn fragment_is_sent_completely_before_the_pause() {
        for fragments in 1..=5 {
            let (request, reference) = (request(fragments), reference());
            let payload = Payload::Http { request: &request, reference: &reference };
            let (mut exchange, mut pauses, mut sent) = (Exchange::default(), 0, Vec::new());
            let mut next = exchange.next_send(payload);
            loop {
                next = match next {
                    // Every send is short: one byte.
                    Next::Send { from, to } => {
                        assert!(from < to);
                        sent.push(request.bytes()[from]);
                        exchange.on_sent(payload, 1)
                    }
                    Next::Pause => {
                        pauses += 1;
                        exchange.next_send(payload)
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
        let payload = Payload::Http { request: &request, reference: &reference };
        let mut exchange = Exchange::default();
        let Next::Send { from: 0, to } = exchange.next_send(payload) else { panic!("it sends") };
        assert_eq!(exchange.on_sent(payload, to), Next::Pause);
        assert_eq!(exchange.on_bytes(payload, RESPONSE), Next::Receive);
        let fault = Fault::PrematureEof { matched: RESPONSE.len(), length: Some(RESPONSE.len()) };
        assert_eq!(exchange.on_end_of_stream(payload), Next::Fail(fault));
    }

    #[test]
    fn echoed_message_is_verified_up_to_the_bytes_sent() {
        let pattern = Pattern::random();
        let (payload, start) =
            (Payload::Messages { bytes: 10, direction: Direction::Both, pattern: &pattern }, 5);
        let message = &pattern.from(start)[..11];
        let mut exchange = Exchange { start, ..Exchange::default() };
        assert_eq!(exchange.on_sent(payload, 4), Next::Send { from: 4, to: 10 });
        assert_eq!(payload.piece(start, 4, 10), &message[4..10]);
        assert_eq!(exchange.on_bytes(payload, &message[..3]), Next::Receive);
        let mismatch = Mismatch { offset: 4, expected: None, found: message[4] };
        let fault = Next::Fail(Fault::WrongBytes(mismatch));
        assert_eq!(exchange.clone().on_bytes(payload, &message[3..5]), fault);
        assert_eq!(exchange.on_sent(payload, 6), Next::Receive);
        let fault = Fault::PrematureEof { matched: 3, length: Some(10) };
        assert_eq!(exchange.on_end_of_stream(payload), Next::Fail(fault));
        assert_eq!(exchange.on_bytes(payload, &message[3..10]), Next::CloseSend);
        assert_eq!(exchange.on_end_of_stream(payload), Next::Finish);
        let mismatch = Mismatch { offset: 10, expected: None, found: message[10] };
        let fault = Next::Fail(Fault::WrongBytes(mismatch));
        assert_eq!(exchange.on_bytes(payload, &message[10..]), fault);
    }
}
