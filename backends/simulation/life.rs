//! What must hold of one connection: a second, naive account of its life, kept beside the
//! server's own and compared with it at each step.

use std::sync::Arc;

use super::setup::Setup;
use crate::backend::{Closing, Step};
use crate::connection::Next;
use crate::deadlines::{Deadline, DeadlineLengths};
use crate::slots::ConnectionId;

/// The definition, taken literally: the first place where either end stands in the whole.
fn end_of_head(stream: &[u8]) -> Option<usize> {
    (0..=stream.len())
        .find(|&end| stream[..end].ends_with(b"\n\n") || stream[..end].ends_with(b"\n\r\n"))
}

/// What a stream has earned, as far as it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Earned {
    Response,
    HeadTooLarge,
}

pub(super) fn earned(stream: &[u8], request_head_bytes: usize) -> Option<Earned> {
    match end_of_head(stream) {
        Some(end) if end <= request_head_bytes => Some(Earned::Response),
        None if stream.len() < request_head_bytes => None,
        _ => Some(Earned::HeadTooLarge),
    }
}

/// The whole answer of that kind.
pub(super) fn answer(setup: &Setup, earned: Earned) -> Arc<[u8]> {
    match earned {
        Earned::Response => Arc::clone(&setup.response),
        Earned::HeadTooLarge => crate::server::HEAD_TOO_LARGE.into(),
    }
}

/// What the server has said of a connection.
#[derive(Default)]
pub(super) struct Life {
    pub(super) id: Option<ConnectionId>,
    pub(super) is_over: bool,
    accepted_ms: u64,
    /// What it was told last.
    pub(super) told: Option<Next>,
    pub(super) received: usize,
    pub(super) earned: Option<Earned>,
    pub(super) sent: usize,
    pub(super) shut: bool,
    drained: usize,
    pub(super) has_expired: bool,
    pub(super) has_failed: bool,
    pub(super) was_answered: bool,
    /// Its stream ended before its request did.
    pub(super) ended_early: bool,
    /// When its time ends: that of the phase, and that of all.
    phase_ends_ms: Option<u64>,
    life_ends_ms: Option<u64>,
}

impl Life {
    pub(super) fn is_there(&self) -> bool {
        self.id.is_some() && !self.is_over
    }

    pub(super) fn is_closing(&self) -> bool {
        self.told == Some(Next::Close)
    }

    /// Whether it has been there since then, and silent.
    pub(super) fn has_said_nothing_since(&self, then_ms: u64) -> bool {
        self.received == 0 && self.accepted_ms <= then_ms
    }

    pub(super) fn answer_length(&self, setup: &Setup) -> usize {
        self.earned.map_or(0, |earned| answer(setup, earned).len())
    }

    /// Whether the time of a deadline was over at that time.
    pub(super) fn is_overdue(&self, now_ms: u64) -> bool {
        [self.phase_ends_ms, self.life_ends_ms].into_iter().flatten().any(|end| end <= now_ms)
    }

    /// The same where connections persist: what comes next is believed, since each byte that is
    /// sent is looked at.
    pub(super) fn persistent_step(&mut self, step: Step, next: Option<Next>, now_ms: u64) {
        match step {
            Step::Accepted => self.accepted_ms = now_ms,
            Step::Received(count) => {
                self.received += count;
                self.drained += if self.shut { count } else { 0 };
            }
            Step::Sent(count) => self.sent += count,
            Step::Shut => self.shut = true,
            Step::Failed(_) | Step::Expired | Step::Closed => {
                assert!(matches!(next, None | Some(Next::Close)), "{step:?} and then {next:?}");
            }
        }
        self.told = next;
    }

    /// The step, and what must come next; `stream` is what the server has received of the peer.
    pub(super) fn step(&mut self, step: Step, stream: &[u8], setup: &Setup, now_ms: u64) -> Next {
        let next = match step {
            Step::Accepted => {
                self.accepted_ms = now_ms;
                self.start(Deadline::Idle, setup, now_ms);
                self.start(Deadline::Life, setup, now_ms);
                Next::Recv
            }
            Step::Received(count) => self.received(count, stream, setup, now_ms),
            Step::Sent(count) => self.sent(count, setup, now_ms),
            Step::Shut => self.shut(setup, now_ms),
            Step::Failed(_) | Step::Expired | Step::Closed => Next::Close,
        };
        self.told = Some(next);
        next
    }

    fn received(&mut self, count: usize, stream: &[u8], setup: &Setup, now_ms: u64) -> Next {
        let first = self.received == 0;
        self.received += count;
        assert_eq!(self.received, stream.len(), "not what the kernel gave");
        match self.earned {
            None if count == 0 => {
                self.ended_early = true;
                Next::Close
            }
            None => {
                self.earned = earned(stream, setup.limits.request_head_bytes);
                if self.earned.is_some() {
                    self.start(Deadline::Send, setup, now_ms);
                    return Next::Send;
                }
                if first {
                    self.start(Deadline::RequestHead, setup, now_ms);
                }
                Next::Recv
            }
            Some(_) if self.shut => self.drained(count, setup),
            Some(_) if self.sent == self.answer_length(setup) => Next::Shutdown,
            Some(_) => Next::Send,
        }
    }

    fn drained(&mut self, count: usize, setup: &Setup) -> Next {
        let Closing::Lingering { bytes } = setup.closing else {
            panic!("nothing is received after the end but by a lingering close");
        };
        self.drained += count;
        if count > 0 && self.drained < bytes { Next::Recv } else { Next::Close }
    }

    /// Whether the lingering close has read as much as it may.
    pub(super) fn has_drained_all(&self, setup: &Setup) -> bool {
        matches!(setup.closing, Closing::Lingering { bytes } if self.drained >= bytes)
    }

    fn sent(&mut self, count: usize, setup: &Setup, now_ms: u64) -> Next {
        self.sent += count;
        if self.sent < self.answer_length(setup) {
            self.start(Deadline::Send, setup, now_ms);
            return Next::Send;
        }
        self.was_answered = true;
        Next::Shutdown
    }

    fn shut(&mut self, setup: &Setup, now_ms: u64) -> Next {
        assert_eq!(self.sent, self.answer_length(setup), "shut down before the answer was sent");
        assert!(!self.shut, "shut down twice");
        self.shut = true;
        match setup.closing {
            Closing::AtOnce => Next::Close,
            Closing::Lingering { .. } => {
                self.start(Deadline::Linger, setup, now_ms);
                Next::Recv
            }
        }
    }

    fn start(&mut self, deadline: Deadline, setup: &Setup, now_ms: u64) {
        let DeadlineLengths { idle, request_head, send, linger, keep_alive, request_body, life } =
            setup.deadlines;
        let (ends_ms, length) = match deadline {
            Deadline::Idle => (&mut self.phase_ends_ms, idle),
            Deadline::RequestHead => (&mut self.phase_ends_ms, request_head),
            Deadline::Send => (&mut self.phase_ends_ms, send),
            Deadline::Linger => (&mut self.phase_ends_ms, linger),
            Deadline::KeepAlive => (&mut self.phase_ends_ms, keep_alive),
            Deadline::RequestBody => (&mut self.phase_ends_ms, request_body),
            Deadline::Life => (&mut self.life_ends_ms, life),
        };
        *ends_ms = (!length.is_zero()).then(|| now_ms + length.as_millis() as u64);
    }
}
