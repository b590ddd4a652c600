//! What the worker of a history is told: small limits, so that they are met.

use std::sync::Arc;
use std::time::Duration;

use super::choices::Choices;
use crate::backend::{Closing, EngineOptions, Limits, ShutdownBy};
use crate::deadlines::DeadlineLengths;
use crate::io_uring::Techniques;

/// Everything that a history decides before it begins.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) limits: Limits,
    pub(super) deadlines: DeadlineLengths,
    pub(super) closing: Closing,
    pub(super) drain_timeout: Duration,
    pub(super) options: EngineOptions,
    pub(super) response: Arc<[u8]>,
    pub(super) response_body_start: usize,
    /// Whether connections persist.
    pub(super) keep_alive: bool,
    /// How much the kernel takes of an answer before the peer reads, in bytes.
    pub(super) send_buffer_bytes: usize,
    /// How many descriptors of connections there can be.
    pub(super) descriptors: usize,
    /// How many peers come at the most.
    pub(super) peers: usize,
    /// One call or operation in so many fails, if chance wants it; 1 is never.
    pub(super) fails_once_in: usize,
    pub(super) logs_requests: bool,
    /// The kernel has no IORING_OP_SHUTDOWN.
    pub(super) shutdown_by_call: bool,
}

impl Setup {
    pub(super) fn choose(choices: &mut Choices) -> Self {
        let length = |choices: &mut Choices| {
            Duration::from_millis(choices.of(&[0, 5000, 5000, 10_000, 2500, 1000, 1]))
        };
        let submissions = choices.of(&[8, 1, 2, 64]);
        let response_bytes = choices.of(&[114, 1, 10, 300]);
        let keep_alive = choices.below(3) == 2;
        let (idle, request_head) = (length(choices), length(choices));
        let head = match keep_alive {
            true => format!("HTTP/1.0 200 OK\r\nContent-Length: {response_bytes}\r\n\r\n"),
            false => String::new(),
        };
        let body = (0..response_bytes).map(|index| b'A' + (index % 26) as u8);
        Self {
            limits: Limits {
                connections: choices.of(&[4, 1, 2, 3, 8]),
                request_head_bytes: choices.of(&[32, 2, 16, 100]),
                receive_buffer_bytes: choices.of(&[1024, 1, 3, 8]),
                turn_bytes: choices.of(&[1024, 1, 8, 20]),
            },
            deadlines: DeadlineLengths {
                idle,
                request_head,
                send: length(choices),
                linger: length(choices),
                keep_alive: idle,
                request_body: request_head,
                life: Duration::from_millis(choices.of(&[0, 0, 0, 15_000, 3000])),
            },
            closing: match choices.below(4) {
                0 | 1 => Closing::AtOnce,
                2 => Closing::Lingering { bytes: 1000 },
                _ => Closing::Lingering { bytes: 5 },
            },
            drain_timeout: Duration::from_millis(choices.of(&[3000, 10_000, 1000, 1, 0])),
            options: EngineOptions {
                events_per_wait: choices.of(&[64, 1, 2, 5]),
                submission_queue_entries: submissions,
                completion_queue_entries: Some(submissions.max(choices.of(&[64, 1, 2, 8]))),
                busy_poll_us: 0,
                shutdown: choices.of(&[ShutdownBy::Call, ShutdownBy::Ring, ShutdownBy::Close]),
                techniques: Techniques {
                    multishot_accept: choices.below(2) == 1,
                    // A chain must fit into the queue.
                    linked_close: submissions > 2 && choices.below(2) == 1,
                    skip_success: choices.below(2) == 1,
                    provided_buffers: choices.of(&[0, 2, 1, 16]),
                    multishot_receive: choices.below(2) == 1,
                    ..Techniques::NONE
                },
            },
            response_body_start: head.len(),
            response: head.bytes().chain(body).collect(),
            keep_alive,
            send_buffer_bytes: choices.of(&[4096, 1, 7, 100]),
            descriptors: choices.of(&[usize::MAX, usize::MAX, 3, 1]),
            peers: choices.of(&[6, 1, 12, 30]),
            fails_once_in: choices.of(&[1, 200, 50, 12]),
            logs_requests: choices.below(2) == 1,
            shutdown_by_call: choices.below(4) == 1,
        }
    }

    /// Whether everybody who says nothing, or not all, is put out by a deadline.
    pub(super) fn puts_out_the_silent(&self) -> bool {
        !self.deadlines.idle.is_zero() && !self.deadlines.request_head.is_zero()
    }
}
