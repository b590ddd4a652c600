//! Settings of the worker and the kernel of a history. Limits are small, so that they are reached.

use std::sync::Arc;
use std::time::Duration;

use ringpoll_backends::{Closing, DeadlineLengths, EngineOptions, Limits, ShutdownBy, Techniques};

use crate::choices::Choices;

/// The protocol of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Http10,
    Http11,
    Echo,
    Discard,
    Chargen,
}

impl Service {
    /// Returns true if the protocol has no messages.
    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::Echo | Self::Discard | Self::Chargen)
    }
}

/// Choices that a history makes before it starts.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) request_head_bytes: usize,
    pub(crate) deadlines: DeadlineLengths,
    pub(crate) closing: Closing,
    pub(crate) drain_timeout: Duration,
    pub(crate) options: EngineOptions,
    pub(crate) response: Arc<[u8]>,
    pub(crate) response_body_start: usize,
    pub(crate) service: Service,
    /// Bytes that the kernel accepts before the peer reads.
    pub(crate) send_buffer_bytes: usize,
    /// Maximum number of open connection descriptors; more fail with EMFILE.
    pub(crate) descriptors: usize,
    /// Maximum number of peers.
    pub(crate) peers: usize,
    /// One call or operation in this many fails; 1 means never.
    pub(crate) fails_once_in: usize,
    pub(crate) logs_requests: bool,
    /// The stop is requested before the peers finish, and they wait for some ticks.
    pub(crate) stops_early: bool,
    /// The kernel has no IORING_OP_SHUTDOWN.
    pub(crate) shutdown_by_call: bool,
}

impl Setup {
    pub(crate) fn choose(choices: &mut Choices) -> Self {
        let length = |choices: &mut Choices| {
            Duration::from_millis(choices.pick(&[0, 5000, 5000, 10_000, 2500, 1000, 1]))
        };
        let submissions = choices.pick(&[8, 1, 2, 64]);
        let response_bytes = choices.pick(&[114, 1, 10, 300]);
        let service = choices.pick(&[
            Service::Http10,
            Service::Http10,
            Service::Http11,
            Service::Echo,
            Service::Discard,
            Service::Chargen,
        ]);
        let (idle, request_head) = (length(choices), length(choices));
        let head = match service {
            Service::Http11 => {
                format!("HTTP/1.0 200 OK\r\nContent-Length: {response_bytes}\r\n\r\n")
            }
            _ => String::new(),
        };
        let body = (0..response_bytes).map(|index| b'A' + (index % 26) as u8);
        let connections = choices.pick(&[4, 1, 2, 3, 8]);
        let request_head_bytes = choices.pick(&[32, 2, 16, 100]);
        Self {
            request_head_bytes,
            limits: Limits {
                connections,
                message_bytes: choices.pick(&[1024, 1, 20]),
                receive_buffer_bytes: choices.pick(&[1024, 1, 3, 8]),
                read_budget_bytes: choices.pick(&[1024, 1, 8, 20]),
            },
            deadlines: DeadlineLengths {
                idle,
                request_head,
                send: length(choices),
                linger: length(choices),
                keep_alive: idle,
                request_body: request_head,
                lifetime: Duration::from_millis(choices.pick(&[0, 0, 0, 15_000, 3000])),
            },
            closing: match choices.below(4) {
                0 | 1 => Closing::AtOnce,
                2 => Closing::Lingering { bytes: 1000 },
                _ => Closing::Lingering { bytes: 5 },
            },
            drain_timeout: Duration::from_millis(choices.pick(&[3000, 10_000, 1000, 1, 0])),
            options: EngineOptions {
                events_per_wait: choices.pick(&[64, 1, 2, 5]),
                submission_queue_entries: submissions,
                completion_queue_entries: Some(submissions.max(choices.pick(&[64, 1, 2, 8]))),
                busy_poll_us: choices.pick(&[0, 50, 0]),
                shutdown: choices.pick(&[ShutdownBy::Call, ShutdownBy::Ring, ShutdownBy::Close]),
                techniques: choose_techniques(choices),
            },
            response_body_start: head.len(),
            response: head.bytes().chain(body).collect(),
            service,
            send_buffer_bytes: choices.pick(&[4096, 1, 7, 100]),
            descriptors: choices.pick(&[usize::MAX, usize::MAX, 3, 1]),
            peers: choices.pick(&[6, 1, 12, 30]),
            fails_once_in: choices.pick(&[1, 200, 50, 12]),
            logs_requests: choices.below(2) == 1,
            stops_early: choices.below(2) == 1,
            shutdown_by_call: choices.below(4) == 1,
        }
    }

    /// Returns true if deadlines close a peer that sends nothing or an incomplete request.
    pub(crate) fn closes_idle_peers(&self) -> bool {
        let has_head_deadline = !self.deadlines.request_head.is_zero();
        !self.deadlines.idle.is_zero() && (has_head_deadline || self.service.is_stream())
    }
}

/// Chooses the techniques of `io_uring:tuned`. Zero-copy sends are not simulated.
fn choose_techniques(choices: &mut Choices) -> Techniques {
    let mut flag = |once_in| choices.below(once_in) == 1;
    Techniques {
        defer_taskrun: flag(2),
        coop_taskrun: flag(2),
        multishot_accept: flag(2),
        multishot_receive: flag(2),
        bundles: flag(2),
        sqpoll: flag(4),
        provided_buffers: choices.pick(&[0, 2, 1, 16]),
        ..Techniques::NONE
    }
}
