//! The result of a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::client_cpu::ClientCpu;
use super::exchange::BodyTrigger;
use super::failures::FailureCounts;
use super::intervals::Intervals;
use super::response::Reference;

/// The upper bound of recorded latencies: twice [`MAX_DURATION`](super::plan::MAX_DURATION).
const MAX_LATENCY_NS: u64 = 7_200_000_000_000;

/// Precision of the histograms.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Latencies in nanoseconds.
pub type Latencies = Histogram<u64>;

/// The reason for the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The plan was completed.
    Plan,
    /// [`Control::stop`](super::Control::stop) was called.
    Stop,
    /// The time limit was reached before all requests were started.
    TimeLimit,
}

/// Counts of idle connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleCount {
    /// Number in the plan.
    pub requested: usize,
    /// Number open before the first request.
    pub opened: usize,
    /// Number of these that the server closed during the run.
    pub closed_by_server: usize,
}

/// Completed requests with `Expect: 100-continue`, by what followed their head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContinueCounts {
    /// 100 Continue, after which the body was sent.
    pub continued: u64,
    /// Nothing within a second, after which the body was sent.
    pub timed_out: u64,
    /// A final response, so that the body was not sent.
    pub final_response: u64,
}

impl ContinueCounts {
    pub(super) fn count(&mut self, trigger: Option<BodyTrigger>) {
        *match trigger {
            Some(BodyTrigger::Continue) => &mut self.continued,
            Some(BodyTrigger::Timeout) => &mut self.timed_out,
            None => &mut self.final_response,
        } += 1;
    }

    fn add(&mut self, other: Self) {
        self.continued += other.continued;
        self.timed_out += other.timed_out;
        self.final_response += other.final_response;
    }
}

/// The result of a run. All fields are about the measured phase unless they name the warm-up.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The HTTP responses with which all others were compared, one for each request of the plan;
    /// none for messages.
    pub references: Arc<[Reference]>,
    /// The start of the measured phase.
    pub began: Instant,
    /// Time from the first request to the last response, or to the planned end if that is later.
    pub duration: Duration,
    /// The reason for the end.
    pub ended_by: EndedBy,
    /// Requests started.
    pub started: u64,
    /// Requests with a correct and complete response.
    pub completed: u64,
    /// Failed requests.
    pub failures: FailureCounts,
    /// Failed requests of the warm-up.
    pub warm_up_failures: FailureCounts,
    /// Requests in flight when the run was stopped.
    pub unfinished: u64,
    /// Connections opened.
    pub connections_opened: u64,
    /// Persistent connections that the server closed between two responses, without a request to
    /// do so. Requests without a response were sent again on another connection.
    pub connections_closed_by_server: u64,
    /// Interim responses (status 1xx), which were skipped.
    pub interim_responses: u64,
    /// Requests that waited for 100 Continue.
    pub continues: ContinueCounts,
    /// Request bytes passed to the kernel.
    pub bytes_sent: u64,
    /// Response bytes received, correct or not.
    pub bytes_received: u64,
    /// Latency corrected for coordinated omission: from the time at which a request was *due* to
    /// the end of its response, including any delay of its start. Equal to `uncorrected` in a
    /// closed loop.
    pub corrected: Latencies,
    /// Uncorrected latency: from the time at which a request was started.
    pub uncorrected: Latencies,
    /// Open loop: delay from the time at which a request was due to its start.
    pub scheduling_delay: Latencies,
    /// `corrected` over time, if the plan has an interval.
    pub intervals: Option<Intervals>,
    /// Maximum number of requests in flight.
    pub max_in_flight: usize,
    /// Idle connections.
    pub idle: IdleCount,
    /// Number of source addresses used: more than 1 if one had no ephemeral port left.
    pub source_addresses: usize,
    /// CPU time of the client.
    pub client_cpu: ClientCpu,
}

impl Outcome {
    /// The response to the first request of the plan; `None` for messages.
    pub fn reference(&self) -> Option<&Reference> {
        self.references.first()
    }

    /// Returns the completed requests per second.
    pub fn requests_per_second(&self) -> f64 {
        self.completed as f64 / self.duration.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Returns the client's CPU time per started request.
    pub fn client_cpu_per_request(&self) -> Duration {
        self.client_cpu.total().div_f64(self.started.max(1) as f64)
    }

    /// Returns 10^9 bytes per second of a stream: of its complete messages of this length. Bytes
    /// that return from an echo server count once.
    pub fn gigabytes_per_second(&self, message_bytes: usize) -> f64 {
        self.requests_per_second() * message_bytes as f64 / 1e9
    }

    /// Returns the client's CPU time in seconds per GiB of complete messages of this length; 0 if
    /// there is none.
    pub fn client_cpu_seconds_per_gib(&self, message_bytes: usize) -> f64 {
        let bytes = self.completed as f64 * message_bytes as f64;
        let gibs = bytes / f64::from(1 << 30);
        if gibs > 0.0 { self.client_cpu.total().as_secs_f64() / gibs } else { 0.0 }
    }

    /// Returns true if at least one request completed, none failed, in the warm-up or after it,
    /// and all idle connections were opened.
    pub fn is_clean(&self) -> bool {
        self.completed > 0
            && self.failures.total() == 0
            && self.warm_up_failures.total() == 0
            && self.idle.opened == self.idle.requested
    }
}

/// Counts of one thread in one phase.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) started: u64,
    pub(super) completed: u64,
    pub(super) failures: FailureCounts,
    pub(super) unfinished: u64,
    pub(super) connections_opened: u64,
    pub(super) connections_closed_by_server: u64,
    pub(super) interim_responses: u64,
    pub(super) continues: ContinueCounts,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    /// `None` in a closed loop, where requests are due when they are started.
    pub(super) open_loop: Option<OpenLoopTally>,
    pub(super) uncorrected: Latencies,
    pub(super) intervals: Option<Intervals>,
    pub(super) max_in_flight: usize,
    pub(super) last_response_ns: u64,
}

#[derive(Clone, Debug)]
pub(super) struct OpenLoopTally {
    pub(super) corrected: Latencies,
    pub(super) scheduling_delay: Latencies,
}

/// The times of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestTimes {
    pub(super) due_ns: u64,
    pub(super) started_ns: u64,
    pub(super) ended_ns: u64,
}

impl Tally {
    pub(super) fn new(is_open_loop: bool, interval: Option<Duration>) -> Self {
        let open_loop = is_open_loop.then(|| OpenLoopTally {
            corrected: new_latencies(),
            scheduling_delay: new_latencies(),
        });
        Self {
            started: 0,
            completed: 0,
            failures: FailureCounts::default(),
            unfinished: 0,
            connections_opened: 0,
            connections_closed_by_server: 0,
            interim_responses: 0,
            continues: ContinueCounts::default(),
            bytes_sent: 0,
            bytes_received: 0,
            open_loop,
            uncorrected: new_latencies(),
            intervals: interval.map(Intervals::new),
            max_in_flight: 0,
            last_response_ns: 0,
        }
    }

    pub(super) fn complete(&mut self, times: RequestTimes) {
        let RequestTimes { due_ns, started_ns, ended_ns } = times;
        self.completed += 1;
        self.last_response_ns = ended_ns;
        // Saturating: events share the time at which the wait returned, so a request started while
        // they are handled can end "before" its start.
        self.uncorrected.saturating_record(ended_ns.saturating_sub(started_ns));
        if let Some(open_loop) = &mut self.open_loop {
            open_loop.corrected.saturating_record(ended_ns.saturating_sub(due_ns));
            open_loop.scheduling_delay.saturating_record(started_ns.saturating_sub(due_ns));
        }
        if let Some(intervals) = &mut self.intervals {
            let began_ns = if self.open_loop.is_some() { due_ns } else { started_ns };
            intervals.record(ended_ns, ended_ns.saturating_sub(began_ns));
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        const SAME: &str = "all histograms have the same bounds";
        self.started += other.started;
        self.completed += other.completed;
        self.failures.add(&other.failures);
        self.unfinished += other.unfinished;
        self.connections_opened += other.connections_opened;
        self.connections_closed_by_server += other.connections_closed_by_server;
        self.interim_responses += other.interim_responses;
        self.continues.add(other.continues);
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.uncorrected.add(&other.uncorrected).expect(SAME);
        if let (Some(own), Some(other)) = (&mut self.open_loop, &other.open_loop) {
            own.corrected.add(&other.corrected).expect(SAME);
            own.scheduling_delay.add(&other.scheduling_delay).expect(SAME);
        }
        if let (Some(own), Some(other)) = (&mut self.intervals, &other.intervals) {
            own.add(other);
        }
        self.max_in_flight += other.max_in_flight;
        self.last_response_ns = self.last_response_ns.max(other.last_response_ns);
    }
}

pub(super) fn new_latencies() -> Latencies {
    Histogram::new_with_bounds(1, MAX_LATENCY_NS, SIGNIFICANT_DIGITS).expect("valid bounds")
}
