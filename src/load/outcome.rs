//! What a run found.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::answer::Reference;
use super::failures::Failures;
use super::own_cost::OwnCost;

/// The longest latency that is told from longer ones: twice [`LONGEST`](super::plan::LONGEST).
const LONGEST_NS: u64 = 7_200_000_000_000;

/// To three digits.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Latencies in nanoseconds.
pub type Latencies = Histogram<u64>;

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// It did all that was planned.
    Plan,
    /// It was told to stop.
    Stop,
    /// Its time was over before all requests that were asked for had been begun.
    TimeLimit,
}

/// The idle connections beside the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleCount {
    /// How many were asked for.
    pub asked_for: usize,
    /// How many were there before the first request.
    pub opened: usize,
    /// How many of these the server had closed by the end.
    pub lost: usize,
}

/// What a run found. All of it is about the measured part, after the warm-up, if nothing else is
/// said.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What every answer was held against.
    pub reference: Arc<Reference>,
    /// From the first request to the last answer, or to the planned end if that is later.
    pub duration: Duration,
    /// How it ended.
    pub ended_by: EndedBy,
    /// Requests begun.
    pub begun: u64,
    /// Requests answered rightly, up to the end of their connection where each has one of its own.
    pub completed: u64,
    /// Requests that were not.
    pub failures: Failures,
    /// The same in the warm-up.
    pub warm_up_failures: Failures,
    /// Requests under way when the run was stopped.
    pub unfinished: u64,
    /// Connections that were begun.
    pub connections_opened: u64,
    /// Of connections that persist, those that the server ended between two answers, unasked: what
    /// it had not answered by then was asked again on another.
    pub connections_ended: u64,
    /// Bytes of requests that the kernel took.
    pub bytes_sent: u64,
    /// Bytes of answers that came, right or wrong.
    pub bytes_received: u64,
    /// From when a request was *due* to the end of its connection: what somebody who asks at that
    /// time waits, whatever held the client up. In the closed loop the same as the other one.
    pub corrected: Latencies,
    /// From when a request was really begun.
    pub uncorrected: Latencies,
    /// Open loop: how long after it was due a request was begun.
    pub lateness: Latencies,
    /// The most requests under way at once.
    pub most_under_way: usize,
    /// The idle connections.
    pub idle: IdleCount,
    /// How many addresses were connected from, because the ports of one were used up; else 1.
    pub source_addresses: usize,
    /// What the client itself used.
    pub own_cost: OwnCost,
}

impl Outcome {
    /// Right answers a second.
    pub fn requests_per_second(&self) -> f64 {
        self.completed as f64 / self.duration.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The client's own CPU time for each request that was begun.
    pub fn own_cpu_per_request(&self) -> Duration {
        self.own_cost.cpu().div_f64(self.begun.max(1) as f64)
    }

    /// Whether everything went well that was begun: no failure, in the warm-up neither, at least
    /// one answer, and every idle connection opened.
    pub fn is_clean(&self) -> bool {
        self.completed > 0
            && self.failures.total() == 0
            && self.warm_up_failures.total() == 0
            && self.idle.opened == self.idle.asked_for
    }
}

/// What one thread counts in one phase.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) begun: u64,
    pub(super) completed: u64,
    pub(super) failures: Failures,
    pub(super) unfinished: u64,
    pub(super) connections_opened: u64,
    pub(super) connections_ended: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    /// `None` in the closed loop, where a request is due when it is begun.
    pub(super) open_loop: Option<OpenLoopTally>,
    pub(super) uncorrected: Latencies,
    pub(super) most_under_way: usize,
    pub(super) last_answer_ns: u64,
}

#[derive(Clone, Debug)]
pub(super) struct OpenLoopTally {
    pub(super) corrected: Latencies,
    pub(super) lateness: Latencies,
}

/// When a request was due, begun and answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) due_ns: u64,
    pub(super) begun_ns: u64,
    pub(super) ended_ns: u64,
}

impl Tally {
    pub(super) fn new(is_open_loop: bool) -> Self {
        let open_loop =
            is_open_loop.then(|| OpenLoopTally { corrected: latencies(), lateness: latencies() });
        Self {
            begun: 0,
            completed: 0,
            failures: Failures::default(),
            unfinished: 0,
            connections_opened: 0,
            connections_ended: 0,
            bytes_sent: 0,
            bytes_received: 0,
            open_loop,
            uncorrected: latencies(),
            most_under_way: 0,
            last_answer_ns: 0,
        }
    }

    pub(super) fn complete(&mut self, times: Times) {
        self.completed += 1;
        self.last_answer_ns = times.ended_ns;
        // The events of one wait share one time; a request that was begun and answered between two
        // looks at the clock took less than it can tell.
        self.uncorrected.saturating_record(times.ended_ns.saturating_sub(times.begun_ns));
        if let Some(open_loop) = &mut self.open_loop {
            open_loop.corrected.saturating_record(times.ended_ns.saturating_sub(times.due_ns));
            open_loop.lateness.saturating_record(times.begun_ns.saturating_sub(times.due_ns));
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        const SAME: &str = "all have the same bounds";
        self.begun += other.begun;
        self.completed += other.completed;
        self.failures.add(&other.failures);
        self.unfinished += other.unfinished;
        self.connections_opened += other.connections_opened;
        self.connections_ended += other.connections_ended;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.uncorrected.add(&other.uncorrected).expect(SAME);
        if let (Some(own), Some(other)) = (&mut self.open_loop, &other.open_loop) {
            own.corrected.add(&other.corrected).expect(SAME);
            own.lateness.add(&other.lateness).expect(SAME);
        }
        self.most_under_way += other.most_under_way;
        self.last_answer_ns = self.last_answer_ns.max(other.last_answer_ns);
    }
}

pub(super) fn latencies() -> Latencies {
    Histogram::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS).expect("the bounds make sense")
}
