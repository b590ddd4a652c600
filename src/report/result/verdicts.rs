//! What follows from the rounds.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Point;

/// What is compared.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The server's CPU time for each request.
    CpuPerRequest,
    /// Requests answered in a second.
    Throughput,
    /// The median latency, from when the request was due.
    LatencyP50,
    /// The latency that 99 % of requests stay below, from when they were due.
    LatencyP99,
    /// System calls for each request, from the server's own report.
    SystemCallsPerRequest,
    /// Context switches of the server for each request.
    ContextSwitchesPerRequest,
}

impl Metric {
    /// All of them, in the order of the tables.
    pub const ALL: &[Self] = &[
        Self::CpuPerRequest,
        Self::Throughput,
        Self::LatencyP50,
        Self::LatencyP99,
        Self::SystemCallsPerRequest,
        Self::ContextSwitchesPerRequest,
    ];

    /// Its name in JSON and in `--fail-if`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "cpu_per_request",
            Self::Throughput => "throughput",
            Self::LatencyP50 => "latency_p50",
            Self::LatencyP99 => "latency_p99",
            Self::SystemCallsPerRequest => "system_calls_per_request",
            Self::ContextSwitchesPerRequest => "context_switches_per_request",
        }
    }

    /// Its name in a sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "CPU per request",
            Self::Throughput => "throughput",
            Self::LatencyP50 => "latency p50",
            Self::LatencyP99 => "latency p99",
            Self::SystemCallsPerRequest => "system calls per request",
            Self::ContextSwitchesPerRequest => "context switches per request",
        }
    }

    /// The unit of its values; empty for plain numbers.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::CpuPerRequest | Self::LatencyP50 | Self::LatencyP99 => "µs",
            Self::Throughput => "requests/s",
            Self::SystemCallsPerRequest | Self::ContextSwitchesPerRequest => "",
        }
    }

    /// Whether more of it is better.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::Throughput)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A metric at a working point.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct MetricAt {
    /// What.
    pub metric: Metric,
    /// Where.
    pub point: Point,
}

/// What can be said of an arm against the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval is on the better side.
    Better,
    /// The whole interval is on the worse side.
    Worse,
    /// The whole interval is close to 1: see [`MetricResult::no_difference_larger_than`].
    NoDifference,
    /// The interval is too wide to say anything.
    Inconclusive,
    /// This run cannot judge this metric: see [`MetricResult::reason`].
    NotJudgeable,
}

/// One metric of one arm against the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricResult {
    /// What.
    pub metric: Metric,
    /// Where.
    pub point: Point,
    /// Whether this is the metric that the sentence is about.
    pub decides: bool,
    /// The first arm's value: the median of its rounds, in [`Metric::unit`].
    pub baseline: Option<f64>,
    /// The other arm's value.
    pub contender: Option<f64>,
    /// Other / first: the mean over the pairs, on a logarithmic scale.
    pub ratio: Option<f64>,
    /// The lower end of the ratio's interval.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
    /// How sure this interval is by itself, at the look at which it was taken. All intervals of
    /// an experiment hold together with the confidence of the method.
    pub confidence: Option<f64>,
    /// How many blocks it rests on.
    pub pairs: usize,
    /// What it comes to.
    pub verdict: Verdict,
    /// With "no difference": larger than this, 0.02 being 2 %.
    pub no_difference_larger_than: Option<f64>,
    /// Why it cannot be judged.
    pub reason: Option<String>,
}

/// One arm against the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// The first arm.
    pub baseline: usize,
    /// The other, as its place in the list of arms.
    pub contender: usize,
    /// Metric by metric, in the order of the tables.
    pub metrics: Vec<MetricResult>,
    /// The sentence about these two.
    pub sentence: String,
    /// What explains it, a line each: system calls, context switches, the split of the CPU time,
    /// batches.
    pub why: Vec<String>,
}

/// The first arm against itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Control {
    /// The second copy over the first, metric by metric. [`Verdict::Better`] or
    /// [`Verdict::Worse`] here is a fault of the experiment.
    pub metrics: Vec<MetricResult>,
}

/// What makes an experiment, or a metric of it, not to be judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// Which rule.
    pub kind: GateKind,
    /// What it does.
    pub effect: GateEffect,
    /// The metrics concerned; empty for all.
    pub metrics: Vec<MetricAt>,
    /// The arms concerned, as their places in the list; empty for all.
    pub arms: Vec<usize>,
    /// What was seen, in a sentence.
    pub reason: String,
    /// The flag or the change to try, in a sentence.
    pub remedy: String,
}

/// What a gate does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateEffect {
    /// Nothing of the experiment can be trusted.
    Invalid,
    /// The metrics named cannot be judged.
    NotJudgeable,
    /// The verdicts stand; it is said all the same.
    Warning,
}

/// The rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// The client was busy all the time and the server was not: throughput is the client's.
    ClientSaturated,
    /// Neither was busy all the time: throughput is bound by something else.
    ServerNotSaturated,
    /// The server could not follow the offered rate, or the client did not offer it.
    RateNotKept,
    /// Answers with wrong bytes.
    WrongBytes,
    /// Connections were refused, or dropped by a full queue.
    ConnectionsRefused,
    /// Other requests failed.
    RequestsFailed,
    /// The server ended connections that were to persist: the load was not what was asked for.
    ConnectionsNotKept,
    /// io_uring's completion queue overflowed.
    CompletionsOverflowed,
    /// The kernel found no receive buffer (ENOBUFS), or the server no slot.
    BuffersRanOut,
    /// The hypervisor kept processor time from us.
    CpuStolen,
    /// The control group was throttled.
    CpuThrottled,
    /// Server and client share a core.
    SharedCore,
    /// Others used the server's processors.
    OthersOnTheCores,
    /// The first arm differs from itself.
    ControlDiffers,
    /// The engine in force is not the one that was asked for.
    WrongEngine,
    /// What a rung of a ladder adds is not in force.
    TechniqueNotInForce,
    /// Too few rounds for any interval.
    TooFewRounds,
    /// This program was built without optimisation.
    NotOptimised,
}

/// What a whole run comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// One arm is better than all others in the metric that decides; with two arms, the sentence
    /// says which. With a ladder: its last rung against its first.
    Winner {
        /// As its place in the list of arms.
        arm: usize,
    },
    /// No difference that matters.
    NoDifference,
    /// It depends on the load; only with several of them, or with a sweep.
    Depends,
    /// Not enough to say.
    Inconclusive,
    /// Nothing of it can be trusted.
    Invalid,
}
