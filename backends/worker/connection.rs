//! One connection, without I/O: which step it needs next. The protocol decides within an exchange,
//! and the same shutdown, lingering and close follow for every protocol.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::output::Output;
use crate::protocol::{Awaits, Next, Protocol};
use crate::token::Operation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Receives and sends as the protocol decides.
    Exchanging,
    /// The output is sent; the send side is being shut down.
    ShuttingDown,
    /// Discards what the peer still sends. Unread bytes at close(2) would make the kernel send a
    /// reset, which can destroy a response that the peer has not read yet.
    Lingering,
    /// Only the close is left.
    Closing,
}

/// An open connection.
pub(crate) struct Connection<S> {
    /// `None` once the close owns it.
    fd: Option<OwnedFd>,
    phase: Phase,
    /// The protocol's decision: what follows when the output is sent.
    decision: Next,
    /// epoll: the step that interest is registered for; `None` before the first registration.
    /// io_uring: the operation in flight; `None` between a completion and the next submission.
    pub(crate) pending: Option<Operation>,
    pub(super) state: S,
    pub(super) output: Output,
    lingered_bytes: usize,
    /// The time of the accept or, in a stream without messages, of the last receive.
    pub(super) active_ms: u64,
    /// Counted as drained if it ends by itself: the stop waits for it.
    pub(super) is_draining: bool,
    /// The receive side was closed by the stop, since the connection was idle.
    pub(super) receive_closed: bool,
    /// The protocol has handled the end of the peer's stream.
    pub(super) has_peer_ended: bool,
    /// The lifetime has passed once; the next time the connection is closed.
    pub(super) has_expired_once: bool,
    /// It did not end by itself: an error, a deadline, or the end of the drain.
    pub(super) is_aborted: bool,
    /// A complete request is not logged yet.
    pub(super) is_unlogged: bool,
}

impl<S> Connection<S> {
    pub(super) fn new(fd: Option<OwnedFd>, state: S, output: Output, now_ms: u64) -> Self {
        Self {
            fd,
            phase: Phase::Exchanging,
            decision: Next::Recv,
            pending: None,
            state,
            output,
            lingered_bytes: 0,
            active_ms: now_ms,
            is_draining: false,
            receive_closed: false,
            has_peer_ended: false,
            has_expired_once: false,
            is_aborted: false,
            is_unlogged: false,
        }
    }

    /// Returns the descriptor; -1, which every system call refuses, once the close owns it.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Takes the descriptor for the close.
    pub(super) fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fd.take()
    }

    /// Returns the step of the present state.
    pub(crate) fn next(&self) -> Next {
        match self.phase {
            Phase::Exchanging if !self.output.is_empty() => Next::Send,
            Phase::Exchanging | Phase::Lingering => Next::Recv,
            Phase::ShuttingDown => Next::Shutdown,
            Phase::Closing => Next::Close,
        }
    }

    /// Takes the protocol's decision, and returns the step that it leads to.
    pub(super) fn decide(&mut self, decision: Next) -> Next {
        self.decision = decision;
        self.phase = match decision {
            Next::Close => Phase::Closing,
            Next::Shutdown if self.output.is_empty() => Phase::ShuttingDown,
            _ => Phase::Exchanging,
        };
        self.next()
    }

    /// Returns the step after a send.
    pub(super) fn after_send(&mut self) -> Next {
        self.decide(self.decision)
    }

    /// Handles discarded bytes, 0 at the end of the peer's stream. Closes at the end or the limit.
    pub(super) fn linger(&mut self, count: usize, max_bytes: usize) -> Next {
        self.lingered_bytes += count;
        if count == 0 || self.lingered_bytes >= max_bytes {
            self.phase = Phase::Closing;
        }
        self.next()
    }

    /// Handles the end of the shutdown, whether it succeeded or not.
    pub(super) fn on_shutdown(&mut self, lingers: bool) -> Next {
        self.phase = match self.phase {
            Phase::ShuttingDown if lingers => Phase::Lingering,
            _ => Phase::Closing,
        };
        self.next()
    }

    /// Ends the connection: an error, a deadline, or the end of the server.
    pub(super) fn close(&mut self) {
        self.phase = Phase::Closing;
    }

    /// Returns true while the protocol decides.
    pub(super) fn is_exchanging(&self) -> bool {
        self.phase == Phase::Exchanging
    }

    /// Returns true if the protocol has decided that the stream ends after the output: it gets no
    /// more bytes.
    pub(super) fn has_decided_end(&self) -> bool {
        self.decision == Next::Shutdown
    }

    pub(super) fn is_lingering(&self) -> bool {
        self.phase == Phase::Lingering
    }

    /// Returns true if only the close is left.
    pub(crate) fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    /// Returns the input that the connection waits for; `None` while it does not.
    pub(super) fn awaits<P: Protocol<Connection = S>>(&self, protocol: &P) -> Option<Awaits> {
        let is_receiving = self.is_exchanging() && self.output.is_empty();
        is_receiving.then(|| protocol.awaits(&self.state))
    }

    /// Returns true if the stop need not wait for what the peer sends: the connection is between
    /// messages, or only output that the protocol appended at the stop is left.
    pub(super) fn is_idle_or_ends<P: Protocol<Connection = S>>(&self, protocol: &P) -> bool {
        let is_idle = || match protocol.awaits(&self.state) {
            Awaits::Head | Awaits::Body => false,
            Awaits::NextMessage => self.output.is_empty(),
            Awaits::Bytes | Awaits::FirstMessage => true,
        };
        self.is_exchanging() && (self.has_decided_end() || is_idle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection<()> {
        Connection::new(None, (), Output::default(), 0)
    }

    #[test]
    fn pending_output_is_sent_before_the_decision_takes_effect() {
        let mut connection = connection();
        assert_eq!(connection.next(), Next::Recv);
        connection.output.push_static(b"12");
        assert_eq!(connection.decide(Next::Shutdown), Next::Send);
        connection.output.on_sent(1);
        assert_eq!(connection.after_send(), Next::Send);
        connection.output.on_sent(1);
        assert_eq!(connection.after_send(), Next::Shutdown);
        assert_eq!(connection.on_shutdown(false), Next::Close);
    }

    #[test]
    fn lingering_ends_at_end_of_stream_or_limit() {
        let lingering = || {
            let mut connection = connection();
            assert_eq!(connection.decide(Next::Shutdown), Next::Shutdown);
            assert_eq!(connection.on_shutdown(true), Next::Recv);
            connection
        };
        let mut connection = lingering();
        assert_eq!(connection.linger(9, 10), Next::Recv);
        assert_eq!(connection.linger(0, 10), Next::Close);
        assert_eq!(lingering().linger(10, 10), Next::Close);
    }

    #[test]
    fn close_discards_output() {
        let mut connection = connection();
        connection.output.push_static(b"12");
        assert_eq!(connection.decide(Next::Close), Next::Close);
        assert_eq!(connection.on_shutdown(true), Next::Close);
    }
}
