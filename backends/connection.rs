//! One connection's life as a state machine that does no I/O: it knows no descriptor, no system
//! call and no clock. It is told what happened and answers what is to be done [`Next`].
//!
//! Both engines drive the same machine, so whatever they differ in, it is never the life itself.

use crate::request_head::RequestHead;

/// What a connection wants of its engine. Each is one *ask* of the ten steps.
#[must_use = "a connection that is not advanced hangs for ever"]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Bytes from the peer.
    Recv,
    /// The unsent rest of the answer to go to the peer.
    Send,
    /// The end of the stream to be told to the peer.
    Shutdown,
    /// Everything to be given back.
    Close,
}

/// Which bytes go back to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The response that the server was started with.
    Response,
    /// 431: the head is longer than the limit.
    HeadTooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The end of the request has not come yet.
    Receiving,
    /// The answer is known; a part of it is not sent.
    Sending,
    /// All is sent, and the peer is being told that nothing follows.
    ShuttingDown,
    /// The peer has been told; what it still sends is read and thrown away, so that closing
    /// cannot turn into a reset that destroys the answer on its way.
    Lingering,
    /// Nothing counts any more except that everything is given back.
    Closing,
}

/// What bounds a connection's life; the same for all of them.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long a request head may be, its end included, in bytes.
    pub request_head_bytes: usize,
    /// How many bytes are read and thrown away after the answer before the connection is closed
    /// all the same; `None` closes at once, as the documents do.
    pub lingering_close_bytes: Option<usize>,
}

/// The machine. See [`Next`] for what it answers.
#[derive(Clone, Debug)]
pub struct Connection {
    phase: Phase,
    head: RequestHead,
    reply: Reply,
    request_bytes: usize,
    sent_bytes: usize,
    drained_bytes: usize,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            phase: Phase::Receiving,
            head: RequestHead::default(),
            reply: Reply::Response,
            request_bytes: 0,
            sent_bytes: 0,
            drained_bytes: 0,
        }
    }
}

impl Connection {
    /// Bytes came; none at all is the end of the peer's stream.
    pub fn received(&mut self, bytes: &[u8], rules: &Rules) -> Next {
        match self.phase {
            Phase::Receiving if bytes.is_empty() => self.close(),
            Phase::Receiving => self.request_grew(bytes, rules),
            // HTTP/1.0: one request, one answer. What follows the request changes nothing, and
            // neither does a peer that has nothing more to say but still listens.
            Phase::Sending | Phase::ShuttingDown | Phase::Closing => self.wants(),
            Phase::Lingering => self.drained(bytes.len(), rules),
        }
    }

    /// The decision depends on the stream alone, never on how it was cut: a head is too large
    /// when its end does not lie within the limit.
    fn request_grew(&mut self, bytes: &[u8], rules: &Rules) -> Next {
        let end = self.head.scan(bytes).map(|end| self.request_bytes + end);
        self.request_bytes += bytes.len();
        match end {
            Some(end) if end <= rules.request_head_bytes => self.reply(Reply::Response),
            None if self.request_bytes < rules.request_head_bytes => Next::Recv,
            _ => self.reply(Reply::HeadTooLarge),
        }
    }

    fn reply(&mut self, reply: Reply) -> Next {
        self.reply = reply;
        self.phase = Phase::Sending;
        Next::Send
    }

    fn drained(&mut self, count: usize, rules: &Rules) -> Next {
        self.drained_bytes += count;
        if count > 0 && self.drained_bytes < rules.lingering_close_bytes.unwrap_or(0) {
            return Next::Recv;
        }
        self.close()
    }

    /// `count` bytes of the answer, which is `length` bytes long, were taken over by the kernel.
    pub fn sent(&mut self, count: usize, length: usize) -> Next {
        match self.phase {
            Phase::Sending => {
                self.sent_bytes += count;
                assert!(self.sent_bytes <= length, "more sent than there was");
                if self.sent_bytes < length {
                    return Next::Send;
                }
                self.phase = Phase::ShuttingDown;
                Next::Shutdown
            }
            _ => self.close(),
        }
    }

    /// The peer has been told that nothing follows, or it cannot be told any more.
    pub fn shut(&mut self, rules: &Rules) -> Next {
        match self.phase {
            Phase::ShuttingDown if rules.lingering_close_bytes.is_some() => {
                self.phase = Phase::Lingering;
                Next::Recv
            }
            _ => self.close(),
        }
    }

    /// Nothing more is wanted of the peer: an error, a deadline, the end of the server.
    pub fn close(&mut self) -> Next {
        self.phase = Phase::Closing;
        Next::Close
    }

    /// What its [`crate::conversation`] wants is what it wants.
    pub(crate) fn converse(&mut self, next: Next) -> Next {
        self.phase = match next {
            Next::Recv => Phase::Receiving,
            Next::Send => Phase::Sending,
            Next::Shutdown => Phase::ShuttingDown,
            Next::Close => Phase::Closing,
        };
        next
    }

    /// Whether nothing has been said of its end yet.
    pub(crate) fn is_conversing(&self) -> bool {
        matches!(self.phase, Phase::Receiving | Phase::Sending)
    }

    /// What it wants as it stands; what it was last told changes nothing.
    pub fn wants(&self) -> Next {
        match self.phase {
            Phase::Receiving | Phase::Lingering => Next::Recv,
            Phase::Sending => Next::Send,
            Phase::ShuttingDown => Next::Shutdown,
            Phase::Closing => Next::Close,
        }
    }

    /// Which reply the request has earned.
    pub fn chosen_reply(&self) -> Reply {
        self.reply
    }

    /// How much of the answer has been sent, in bytes.
    pub fn sent_bytes(&self) -> usize {
        self.sent_bytes
    }

    /// How much of the request has come, in bytes.
    pub fn request_bytes(&self) -> usize {
        self.request_bytes
    }

    /// Whether the request is still on its way, and nothing has been decided.
    pub fn is_receiving(&self) -> bool {
        self.phase == Phase::Receiving
    }

    /// Whether nothing is left but to give everything back.
    pub fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { request_head_bytes: 8, lingering_close_bytes: None };
    const LINGERING: Rules = Rules { request_head_bytes: 8, lingering_close_bytes: Some(10) };

    #[test]
    fn the_documents_life() {
        let mut connection = Connection::default();
        assert_eq!(connection.received(b"GET\r", &RULES), Next::Recv);
        assert_eq!(connection.received(b"\n\r\n", &RULES), Next::Send);
        assert_eq!(connection.chosen_reply(), Reply::Response);
        assert_eq!(connection.sent(100, 114), Next::Send);
        assert_eq!(connection.sent(14, 114), Next::Shutdown);
        assert_eq!(connection.shut(&RULES), Next::Close);
    }

    #[test]
    fn the_limit_depends_on_the_stream_and_not_on_its_cuts() {
        for (stream, reply) in [
            (&b"123456\n\n"[..], Reply::Response),
            (b"1234567\n\n", Reply::HeadTooLarge),
            (b"12345678", Reply::HeadTooLarge),
            (b"1\n\n4567890123", Reply::Response),
        ] {
            for cut in 0..stream.len() {
                let mut connection = Connection::default();
                let (first, second) = stream.split_at(cut);
                let mut next = Next::Recv;
                for piece in [first, second].iter().filter(|piece| !piece.is_empty()) {
                    next = connection.received(piece, &RULES);
                }
                assert_eq!(next, Next::Send, "{stream:?} cut at {cut}");
                assert_eq!(connection.chosen_reply(), reply, "{stream:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn the_end_of_the_stream_closes_only_what_has_no_request() {
        let mut connection = Connection::default();
        assert_eq!(connection.received(b"", &RULES), Next::Close);
        let mut connection = Connection::default();
        assert_eq!(connection.received(b"\n\n", &RULES), Next::Send);
        assert_eq!(connection.received(b"", &RULES), Next::Send, "it is still answered");
    }

    #[test]
    fn a_lingering_close_ends_with_the_peer_or_at_the_limit() {
        let lingering = || {
            let mut connection = Connection::default();
            assert_eq!(connection.received(b"\n\n", &LINGERING), Next::Send);
            assert_eq!(connection.sent(1, 1), Next::Shutdown);
            assert_eq!(connection.shut(&LINGERING), Next::Recv);
            connection
        };
        let mut connection = lingering();
        assert_eq!(connection.received(b"123456789", &LINGERING), Next::Recv);
        assert_eq!(connection.received(b"", &LINGERING), Next::Close);
        let mut connection = lingering();
        assert_eq!(connection.received(b"1234567890", &LINGERING), Next::Close);
    }

    #[test]
    fn whatever_comes_after_the_decision_to_close_only_closes() {
        let mut connection = Connection::default();
        assert_eq!(connection.close(), Next::Close);
        assert_eq!(connection.received(b"\n\n", &RULES), Next::Close);
        assert_eq!(connection.sent(1, 2), Next::Close);
        assert_eq!(connection.shut(&RULES), Next::Close);
    }
}
