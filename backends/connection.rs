//! The states of one connection, without I/O: no descriptor, no system call, no clock. Each event
//! goes in, and the [`Next`] step comes out.
//!
//! Every engine drives this state machine, so their connections cannot differ in their lifecycle.

use crate::request_head::RequestHead;

/// The step that a connection needs next: one of the engine's `start_*` functions.
#[must_use = "a connection whose next step is not started hangs"]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Receive from the peer.
    Recv,
    /// Send the pending output.
    Send,
    /// Shut down the send side, so that the peer sees the end of the stream.
    Shutdown,
    /// Close the descriptor and free the slot.
    Close,
}

/// The response to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    /// The response that the server was started with.
    Response,
    /// 431: the head is longer than the limit.
    HeadTooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for the end of the request head.
    Receiving,
    /// Sends the response.
    Sending,
    /// The response is sent; the send side is being shut down.
    ShuttingDown,
    /// Discards what the peer still sends. Unread bytes at close(2) would make the kernel send a
    /// reset, which can destroy a response that the peer has not read yet.
    Lingering,
    /// Only the close is left.
    Closing,
}

/// The limits that are the same for all connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Longest request head, its end included, in bytes.
    pub request_head_bytes: usize,
    /// Most bytes that a lingering close discards; `None` closes at once, as the reference
    /// programs do.
    pub lingering_close_bytes: Option<usize>,
}

/// The state machine of one HTTP/1.0 connection: one request, one response.
#[derive(Clone, Debug)]
pub struct Connection {
    phase: Phase,
    head: RequestHead,
    response: ResponseKind,
    request_bytes: usize,
    sent_bytes: usize,
    lingered_bytes: usize,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            phase: Phase::Receiving,
            head: RequestHead::default(),
            response: ResponseKind::Response,
            request_bytes: 0,
            sent_bytes: 0,
            lingered_bytes: 0,
        }
    }
}

impl Connection {
    /// Handles received bytes; an empty slice is the end of the peer's stream.
    pub fn on_received(&mut self, bytes: &[u8], limits: &ConnectionLimits) -> Next {
        match self.phase {
            Phase::Receiving if bytes.is_empty() => self.close(),
            Phase::Receiving => self.on_request_bytes(bytes, limits),
            // HTTP/1.0: one request, one response. Further bytes change nothing, nor does a
            // half-close: the peer may still be reading.
            Phase::Sending | Phase::ShuttingDown | Phase::Closing => self.next(),
            Phase::Lingering => self.on_lingering(bytes.len(), limits),
        }
    }

    /// A head is too large when its end is not within the limit. That depends on the stream alone,
    /// not on how it is split.
    fn on_request_bytes(&mut self, bytes: &[u8], limits: &ConnectionLimits) -> Next {
        let end = self.head.scan(bytes).map(|end| self.request_bytes + end);
        self.request_bytes += bytes.len();
        match end {
            Some(end) if end <= limits.request_head_bytes => self.respond(ResponseKind::Response),
            None if self.request_bytes < limits.request_head_bytes => Next::Recv,
            _ => self.respond(ResponseKind::HeadTooLarge),
        }
    }

    fn respond(&mut self, response: ResponseKind) -> Next {
        self.response = response;
        self.phase = Phase::Sending;
        Next::Send
    }

    fn on_lingering(&mut self, count: usize, limits: &ConnectionLimits) -> Next {
        self.lingered_bytes += count;
        if count > 0 && self.lingered_bytes < limits.lingering_close_bytes.unwrap_or(0) {
            return Next::Recv;
        }
        self.close()
    }

    /// Handles that the kernel accepted `count` bytes of a response of `length` bytes.
    pub fn on_sent(&mut self, count: usize, length: usize) -> Next {
        match self.phase {
            Phase::Sending => {
                self.sent_bytes += count;
                assert!(self.sent_bytes <= length, "more bytes sent than pending");
                if self.sent_bytes < length {
                    return Next::Send;
                }
                self.phase = Phase::ShuttingDown;
                Next::Shutdown
            }
            _ => self.close(),
        }
    }

    /// Handles the end of the shutdown, whether it succeeded or not.
    pub fn on_shutdown(&mut self, limits: &ConnectionLimits) -> Next {
        match self.phase {
            Phase::ShuttingDown if limits.lingering_close_bytes.is_some() => {
                self.phase = Phase::Lingering;
                Next::Recv
            }
            _ => self.close(),
        }
    }

    /// Ends the connection: an error, a deadline, or the end of the server.
    pub fn close(&mut self) -> Next {
        self.phase = Phase::Closing;
        Next::Close
    }

    /// Takes the state that [`crate::http11::Http11`] decided.
    pub(crate) fn set_next(&mut self, next: Next) -> Next {
        self.phase = match next {
            Next::Recv => Phase::Receiving,
            Next::Send => Phase::Sending,
            Next::Shutdown => Phase::ShuttingDown,
            Next::Close => Phase::Closing,
        };
        next
    }

    /// Returns true while requests and responses are exchanged.
    pub(crate) fn is_exchanging(&self) -> bool {
        matches!(self.phase, Phase::Receiving | Phase::Sending)
    }

    /// Returns the step of the present state.
    pub fn next(&self) -> Next {
        match self.phase {
            Phase::Receiving | Phase::Lingering => Next::Recv,
            Phase::Sending => Next::Send,
            Phase::ShuttingDown => Next::Shutdown,
            Phase::Closing => Next::Close,
        }
    }

    /// Returns the response to the request.
    pub fn response(&self) -> ResponseKind {
        self.response
    }

    /// Returns how many bytes of the response are sent.
    pub fn sent_bytes(&self) -> usize {
        self.sent_bytes
    }

    /// Returns how many bytes of the request are received.
    pub fn request_bytes(&self) -> usize {
        self.request_bytes
    }

    /// Returns true until the request head is complete or refused.
    pub fn is_receiving(&self) -> bool {
        self.phase == Phase::Receiving
    }

    /// Returns true if only the close is left.
    pub fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ConnectionLimits =
        ConnectionLimits { request_head_bytes: 8, lingering_close_bytes: None };
    const LINGERING: ConnectionLimits =
        ConnectionLimits { request_head_bytes: 8, lingering_close_bytes: Some(10) };

    #[test]
    fn reference_lifecycle() {
        let mut connection = Connection::default();
        assert_eq!(connection.on_received(b"GET\r", &LIMITS), Next::Recv);
        assert_eq!(connection.on_received(b"\n\r\n", &LIMITS), Next::Send);
        assert_eq!(connection.response(), ResponseKind::Response);
        assert_eq!(connection.on_sent(100, 114), Next::Send);
        assert_eq!(connection.on_sent(14, 114), Next::Shutdown);
        assert_eq!(connection.on_shutdown(&LIMITS), Next::Close);
    }

    #[test]
    fn head_limit_does_not_depend_on_how_the_stream_is_split() {
        for (stream, response) in [
            (&b"123456\n\n"[..], ResponseKind::Response),
            (b"1234567\n\n", ResponseKind::HeadTooLarge),
            (b"12345678", ResponseKind::HeadTooLarge),
            (b"1\n\n4567890123", ResponseKind::Response),
        ] {
            for cut in 0..stream.len() {
                let mut connection = Connection::default();
                let (first, second) = stream.split_at(cut);
                let mut next = Next::Recv;
                for piece in [first, second].iter().filter(|piece| !piece.is_empty()) {
                    next = connection.on_received(piece, &LIMITS);
                }
                assert_eq!(next, Next::Send, "{stream:?} split at {cut}");
                assert_eq!(connection.response(), response, "{stream:?} split at {cut}");
            }
        }
    }

    #[test]
    fn end_of_stream_closes_only_without_a_request() {
        let mut connection = Connection::default();
        assert_eq!(connection.on_received(b"", &LIMITS), Next::Close);
        let mut connection = Connection::default();
        assert_eq!(connection.on_received(b"\n\n", &LIMITS), Next::Send);
        assert_eq!(connection.on_received(b"", &LIMITS), Next::Send, "the response is still sent");
    }

    #[test]
    fn lingering_close_ends_at_end_of_stream_or_limit() {
        let lingering = || {
            let mut connection = Connection::default();
            assert_eq!(connection.on_received(b"\n\n", &LINGERING), Next::Send);
            assert_eq!(connection.on_sent(1, 1), Next::Shutdown);
            assert_eq!(connection.on_shutdown(&LINGERING), Next::Recv);
            connection
        };
        let mut connection = lingering();
        assert_eq!(connection.on_received(b"123456789", &LINGERING), Next::Recv);
        assert_eq!(connection.on_received(b"", &LINGERING), Next::Close);
        let mut connection = lingering();
        assert_eq!(connection.on_received(b"1234567890", &LINGERING), Next::Close);
    }

    #[test]
    fn every_event_after_close_leads_to_close() {
        let mut connection = Connection::default();
        assert_eq!(connection.close(), Next::Close);
        assert_eq!(connection.on_received(b"\n\n", &LIMITS), Next::Close);
        assert_eq!(connection.on_sent(1, 2), Next::Close);
        assert_eq!(connection.on_shutdown(&LIMITS), Next::Close);
    }
}
