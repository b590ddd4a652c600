//! Reference model of one connection: a naive state machine that is compared with the server's own
//! at each lifecycle event.

use std::sync::Arc;
use std::time::Duration;

use ringpoll_backends::{Closing, ConnectionId, LifecycleEvent, Next};

use crate::setup::Setup;

/// Response to a request head that is longer than the limit.
const HEAD_TOO_LARGE: &[u8] = b"HTTP/1.0 431 Request Header Fields Too Large\r\n\
    Content-Type: text/plain\r\nContent-Length: 36\r\n\r\n\
    The request head exceeds the limit.\n";

/// Returns the end of the request head, by the literal definition: after the first empty line.
fn end_of_head(stream: &[u8]) -> Option<usize> {
    (0..=stream.len())
        .find(|&end| stream[..end].ends_with(b"\n\n") || stream[..end].ends_with(b"\n\r\n"))
}

/// Response that is due to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpectedResponse {
    Response,
    HeadTooLarge,
}

pub(crate) fn expected_response(
    stream: &[u8],
    request_head_bytes: usize,
) -> Option<ExpectedResponse> {
    match end_of_head(stream) {
        Some(end) if end <= request_head_bytes => Some(ExpectedResponse::Response),
        None if stream.len() < request_head_bytes => None,
        _ => Some(ExpectedResponse::HeadTooLarge),
    }
}

/// Returns the whole response of this kind.
pub(crate) fn response_bytes(setup: &Setup, expected: ExpectedResponse) -> Arc<[u8]> {
    match expected {
        ExpectedResponse::Response => Arc::clone(&setup.response),
        ExpectedResponse::HeadTooLarge => HEAD_TOO_LARGE.into(),
    }
}

/// State of the connection, from the lifecycle events that the server reports.
#[derive(Default)]
pub(crate) struct ConnectionModel {
    pub(crate) id: Option<ConnectionId>,
    pub(crate) is_closed: bool,
    accepted_ms: u64,
    /// The time of the last event; not with HTTP/1.0.
    active_ms: u64,
    /// The next step after the last event.
    pub(crate) last_next: Option<Next>,
    pub(crate) received: usize,
    pub(crate) expected_response: Option<ExpectedResponse>,
    pub(crate) sent: usize,
    pub(crate) shut: bool,
    lingered_bytes: usize,
    pub(crate) has_expired: bool,
    pub(crate) has_failed: bool,
    pub(crate) has_responded: bool,
    /// The stream ended before the request was complete.
    pub(crate) premature_eof: bool,
    /// Deadline of the current phase.
    phase_deadline_ms: Option<u64>,
    /// Deadline of the whole connection.
    lifetime_deadline_ms: Option<u64>,
}

impl ConnectionModel {
    pub(crate) fn is_open(&self) -> bool {
        self.id.is_some() && !self.is_closed
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.last_next == Some(Next::Close)
    }

    /// Returns true if it was accepted before `then_ms` and has sent nothing.
    pub(crate) fn is_idle_since(&self, then_ms: u64) -> bool {
        self.received == 0 && self.accepted_ms <= then_ms
    }

    /// Returns true if the last event of a stream was before `then_ms`.
    pub(crate) fn is_inactive_since(&self, then_ms: u64) -> bool {
        self.active_ms <= then_ms
    }

    pub(crate) fn response_length(&self, setup: &Setup) -> usize {
        self.expected_response.map_or(0, |expected| response_bytes(setup, expected).len())
    }

    /// Returns true if a deadline has passed.
    pub(crate) fn is_overdue(&self, now_ms: u64) -> bool {
        [self.phase_deadline_ms, self.lifetime_deadline_ms]
            .into_iter()
            .flatten()
            .any(|end| end <= now_ms)
    }

    /// Applies an event of a protocol other than HTTP/1.0. The next step is the server's own: each
    /// byte that is sent is checked.
    pub(crate) fn unmodelled_event(
        &mut self,
        event: LifecycleEvent,
        next: Option<Next>,
        now_ms: u64,
    ) {
        self.active_ms = now_ms;
        match event {
            LifecycleEvent::Accepted => self.accepted_ms = now_ms,
            LifecycleEvent::Received(count) => {
                self.received += count;
                self.lingered_bytes += if self.shut { count } else { 0 };
            }
            LifecycleEvent::Sent(count) => self.sent += count,
            LifecycleEvent::Shutdown => self.shut = true,
            _ => {
                assert!(matches!(next, None | Some(Next::Close)), "{event:?} and then {next:?}");
            }
        }
        self.last_next = next;
    }

    /// Applies an event, and returns the expected next step. `stream` is all that the server has
    /// received.
    pub(crate) fn on_event(
        &mut self,
        event: LifecycleEvent,
        stream: &[u8],
        setup: &Setup,
        now_ms: u64,
    ) -> Next {
        let next = match event {
            LifecycleEvent::Accepted => {
                self.accepted_ms = now_ms;
                self.phase_deadline_ms = deadline(setup.deadlines.idle, now_ms);
                self.lifetime_deadline_ms = deadline(setup.deadlines.lifetime, now_ms);
                Next::Recv
            }
            LifecycleEvent::Received(count) => self.on_received(count, stream, setup, now_ms),
            LifecycleEvent::Sent(count) => self.on_sent(count, setup, now_ms),
            LifecycleEvent::Shutdown => self.on_shutdown(setup, now_ms),
            _ => Next::Close,
        };
        self.last_next = Some(next);
        next
    }

    fn on_received(&mut self, count: usize, stream: &[u8], setup: &Setup, now_ms: u64) -> Next {
        let first = self.received == 0;
        self.received += count;
        assert_eq!(self.received, stream.len(), "the server reports other bytes than it received");
        match self.expected_response {
            None if count == 0 => {
                self.premature_eof = true;
                Next::Close
            }
            None => {
                self.expected_response = expected_response(stream, setup.request_head_bytes);
                if self.expected_response.is_some() {
                    self.phase_deadline_ms = deadline(setup.deadlines.send, now_ms);
                    return Next::Send;
                }
                if first {
                    self.phase_deadline_ms = deadline(setup.deadlines.request_head, now_ms);
                }
                Next::Recv
            }
            Some(_) if self.shut => self.on_lingered(count, setup),
            Some(_) if self.sent == self.response_length(setup) => Next::Shutdown,
            Some(_) => Next::Send,
        }
    }

    fn on_lingered(&mut self, count: usize, setup: &Setup) -> Next {
        let Closing::Lingering { bytes } = setup.closing else {
            panic!("received after the end of the response without a lingering close");
        };
        self.lingered_bytes += count;
        if count > 0 && self.lingered_bytes < bytes { Next::Recv } else { Next::Close }
    }

    /// Returns true if the lingering close has read its limit of bytes.
    pub(crate) fn has_lingered_enough(&self, setup: &Setup) -> bool {
        matches!(setup.closing, Closing::Lingering { bytes } if self.lingered_bytes >= bytes)
    }

    fn on_sent(&mut self, count: usize, setup: &Setup, now_ms: u64) -> Next {
        self.sent += count;
        if self.sent < self.response_length(setup) {
            self.phase_deadline_ms = deadline(setup.deadlines.send, now_ms);
            return Next::Send;
        }
        self.has_responded = true;
        Next::Shutdown
    }

    fn on_shutdown(&mut self, setup: &Setup, now_ms: u64) -> Next {
        assert_eq!(
            self.sent,
            self.response_length(setup),
            "shut down before the whole response was sent"
        );
        assert!(!self.shut, "shut down twice");
        self.shut = true;
        if setup.closing == Closing::AtOnce {
            return Next::Close;
        }
        self.phase_deadline_ms = deadline(setup.deadlines.linger, now_ms);
        Next::Recv
    }
}

/// Returns the end of a phase that begins now; `None` if its deadline is disabled.
fn deadline(length: Duration, now_ms: u64) -> Option<u64> {
    (!length.is_zero()).then(|| now_ms + length.as_millis() as u64)
}
