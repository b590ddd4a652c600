//! Reference model of one connection: a naive state machine that is compared with the server's own
//! at each lifecycle event.

use std::sync::Arc;

use super::setup::Setup;
use crate::deadlines::{Deadline, DeadlineLengths};
use crate::protocol::Next;
use crate::slab::ConnectionId;
use crate::worker::{Closing, LifecycleEvent};

/// Returns the end of the request head, by the literal definition: after the first empty line.
fn end_of_head(stream: &[u8]) -> Option<usize> {
    (0..=stream.len())
        .find(|&end| stream[..end].ends_with(b"\n\n") || stream[..end].ends_with(b"\n\r\n"))
}

/// Response that is due to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpectedResponse {
    Response,
    HeadTooLarge,
}

pub(super) fn expected_response(
    stream: &[u8],
    request_head_bytes: usize,
) -> Option<ExpectedResponse> {
    match end_of_head(stream) {
        Some(end) if end <= request_head_bytes => Some(ExpectedResponse::Response),
        None if stream.len() < request_head_bytes => None,
        _ => Some(ExpectedResponse::HeadTooLarge),
    }
}

const HEAD_TOO_LARGE: &[u8] = b"HTTP/1.0 431 Request Header Fields Too Large\r\n\
    Content-Type: text/plain\r\nContent-Length: 36\r\n\r\n\
    The request head exceeds the limit.\n";

/// Returns the whole response of this kind.
pub(super) fn response_bytes(setup: &Setup, expected: ExpectedResponse) -> Arc<[u8]> {
    match expected {
        ExpectedResponse::Response => Arc::clone(&setup.response),
        ExpectedResponse::HeadTooLarge => (*HEAD_TOO_LARGE).into(),
    }
}

/// State of the connection, from the lifecycle events that the server reports.
#[derive(Default)]
pub(super) struct ConnectionModel {
    pub(super) id: Option<ConnectionId>,
    pub(super) is_closed: bool,
    accepted_ms: u64,
    /// The next step after the last event.
    pub(super) last_next: Option<Next>,
    pub(super) received: usize,
    pub(super) expected_response: Option<ExpectedResponse>,
    pub(super) sent: usize,
    pub(super) shut: bool,
    lingered_bytes: usize,
    pub(super) has_expired: bool,
    pub(super) has_failed: bool,
    pub(super) has_responded: bool,
    /// The stream ended before the request was complete.
    pub(super) premature_eof: bool,
    /// Deadline of the current phase.
    phase_deadline_ms: Option<u64>,
    /// Deadline of the whole connection.
    lifetime_deadline_ms: Option<u64>,
}

impl ConnectionModel {
    pub(super) fn is_open(&self) -> bool {
        self.id.is_some() && !self.is_closed
    }

    pub(super) fn is_closing(&self) -> bool {
        self.last_next == Some(Next::Close)
    }

    /// Returns true if it was accepted before `then_ms` and has sent nothing.
    pub(super) fn is_idle_since(&self, then_ms: u64) -> bool {
        self.received == 0 && self.accepted_ms <= then_ms
    }

    pub(super) fn response_length(&self, setup: &Setup) -> usize {
        self.expected_response.map_or(0, |expected| response_bytes(setup, expected).len())
    }

    /// Returns true if a deadline has passed.
    pub(super) fn is_overdue(&self, now_ms: u64) -> bool {
        [self.phase_deadline_ms, self.lifetime_deadline_ms]
            .into_iter()
            .flatten()
            .any(|end| end <= now_ms)
    }

    /// Applies an event with keep-alive. The next step is the server's own: the script checks each
    /// byte that is sent.
    pub(super) fn keep_alive_event(
        &mut self,
        event: LifecycleEvent,
        next: Option<Next>,
        now_ms: u64,
    ) {
        match event {
            LifecycleEvent::Accepted => self.accepted_ms = now_ms,
            LifecycleEvent::Received(count) => {
                self.received += count;
                self.lingered_bytes += if self.shut { count } else { 0 };
            }
            LifecycleEvent::Sent(count) => self.sent += count,
            LifecycleEvent::Shutdown => self.shut = true,
            LifecycleEvent::Failed(_) | LifecycleEvent::Expired | LifecycleEvent::Closed => {
                assert!(matches!(next, None | Some(Next::Close)), "{event:?} and then {next:?}");
            }
        }
        self.last_next = next;
    }

    /// Applies an event, and returns the expected next step. `stream` is all that the server has
    /// received.
    pub(super) fn on_event(
        &mut self,
        event: LifecycleEvent,
        stream: &[u8],
        setup: &Setup,
        now_ms: u64,
    ) -> Next {
        let next = match event {
            LifecycleEvent::Accepted => {
                self.accepted_ms = now_ms;
                self.start_deadline(Deadline::Idle, setup, now_ms);
                self.start_deadline(Deadline::Lifetime, setup, now_ms);
                Next::Recv
            }
            LifecycleEvent::Received(count) => self.on_received(count, stream, setup, now_ms),
            LifecycleEvent::Sent(count) => self.on_sent(count, setup, now_ms),
            LifecycleEvent::Shutdown => self.on_shutdown(setup, now_ms),
            LifecycleEvent::Failed(_) | LifecycleEvent::Expired | LifecycleEvent::Closed => {
                Next::Close
            }
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
                    self.start_deadline(Deadline::Send, setup, now_ms);
                    return Next::Send;
                }
                if first {
                    self.start_deadline(Deadline::RequestHead, setup, now_ms);
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
    pub(super) fn has_lingered_enough(&self, setup: &Setup) -> bool {
        matches!(setup.closing, Closing::Lingering { bytes } if self.lingered_bytes >= bytes)
    }

    fn on_sent(&mut self, count: usize, setup: &Setup, now_ms: u64) -> Next {
        self.sent += count;
        if self.sent < self.response_length(setup) {
            self.start_deadline(Deadline::Send, setup, now_ms);
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
        match setup.closing {
            Closing::AtOnce => Next::Close,
            Closing::Lingering { .. } => {
                self.start_deadline(Deadline::Linger, setup, now_ms);
                Next::Recv
            }
        }
    }

    fn start_deadline(&mut self, deadline: Deadline, setup: &Setup, now_ms: u64) {
        let DeadlineLengths {
            idle,
            request_head,
            send,
            linger,
            keep_alive,
            request_body,
            lifetime,
        } = setup.deadlines;
        let (ends_ms, length) = match deadline {
            Deadline::Idle => (&mut self.phase_deadline_ms, idle),
            Deadline::RequestHead => (&mut self.phase_deadline_ms, request_head),
            Deadline::Send => (&mut self.phase_deadline_ms, send),
            Deadline::Linger => (&mut self.phase_deadline_ms, linger),
            Deadline::KeepAlive => (&mut self.phase_deadline_ms, keep_alive),
            Deadline::RequestBody => (&mut self.phase_deadline_ms, request_body),
            Deadline::Lifetime => (&mut self.lifetime_deadline_ms, lifetime),
        };
        *ends_ms = (!length.is_zero()).then(|| now_ms + length.as_millis() as u64);
    }
}
