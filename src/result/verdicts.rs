//! Metrics, their intervals, and verdicts.

use std::fmt;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LoadLevel;

/// Compared quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Metric {
    /// CPU time of the server per request.
    #[value(alias = "cpu")]
    CpuPerRequest,
    /// Requests with a correct response per second.
    Throughput,
    /// Median latency, corrected for coordinated omission.
    #[value(alias = "p50")]
    LatencyP50,
    /// 99th percentile of latency, corrected for coordinated omission.
    #[value(alias = "p99")]
    LatencyP99,
    /// 99.9th percentile of latency, corrected for coordinated omission.
    #[serde(rename = "latency_p99.9")]
    #[value(name = "latency_p99.9", alias = "p99.9")]
    LatencyP999,
    /// System calls per request that the server reports.
    #[value(alias = "system_calls")]
    SystemCallsPerRequest,
    /// Context switches of the server per request.
    #[value(alias = "context_switches")]
    ContextSwitchesPerRequest,
    /// Instructions of the server per request, counted by the CPU.
    #[value(alias = "instructions")]
    InstructionsPerRequest,
    /// CPU cycles of the server per request, counted by the CPU.
    #[value(alias = "cycles")]
    CyclesPerRequest,
    /// CPU time of the server per GiB of a stream.
    CpuPerGib,
    /// Bytes of a stream per second.
    BytesThroughput,
}

impl Metric {
    /// Returns the name in sentences and tables.
    pub const fn label(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "CPU per request",
            Self::Throughput | Self::BytesThroughput => "throughput",
            Self::LatencyP50 => "latency p50",
            Self::LatencyP99 => "latency p99",
            Self::LatencyP999 => "latency p99.9",
            Self::SystemCallsPerRequest => "system calls per request",
            Self::ContextSwitchesPerRequest => "context switches per request",
            Self::InstructionsPerRequest => "instructions per request",
            Self::CyclesPerRequest => "cycles per request",
            Self::CpuPerGib => "CPU per GiB",
        }
    }

    /// Returns the unit of values; empty for plain numbers.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::CpuPerRequest | Self::LatencyP50 | Self::LatencyP99 | Self::LatencyP999 => "µs",
            Self::Throughput => "requests/s",
            Self::CpuPerGib => "s",
            Self::BytesThroughput => "GB/s",
            Self::SystemCallsPerRequest
            | Self::ContextSwitchesPerRequest
            | Self::InstructionsPerRequest
            | Self::CyclesPerRequest => "",
        }
    }

    /// Returns the quantile of a latency: 0.99 of the 99th percentile.
    pub const fn quantile(self) -> Option<f64> {
        match self {
            Self::LatencyP50 => Some(0.5),
            Self::LatencyP99 => Some(0.99),
            Self::LatencyP999 => Some(0.999),
            _ => None,
        }
    }

    /// Returns true if larger values are better.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::Throughput | Self::BytesThroughput)
    }
}

impl fmt::Display for Metric {
    /// Writes the name in JSON and in `--fail-if`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.to_possible_value().expect("no variant is skipped").get_name())
    }
}

/// A metric at a load level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetricAt {
    /// Compared quantity.
    pub metric: Metric,
    /// Load level of its rounds.
    pub load_level: LoadLevel,
}

/// Verdict on one metric of an arm, compared with the first arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The whole interval is on the better side.
    Better,
    /// The whole interval is on the worse side.
    Worse,
    /// The whole interval is close to 1; see [`MetricResult::no_difference_larger_than`].
    NoDifference,
    /// The interval is too wide for any other verdict.
    Inconclusive,
    /// The metric is not valid in this run; see [`MetricResult::reason`].
    NotCompared,
}

/// One metric of an arm, compared with the first arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricResult {
    /// Compared quantity.
    pub metric: Metric,
    /// Load level of its rounds.
    pub load_level: LoadLevel,
    /// True for the primary metric, on which the conclusion and the stopping rule are based.
    pub is_primary: bool,
    /// Median of the rounds of the first arm, in [`Metric::unit`].
    pub baseline: Option<f64>,
    /// Median of the rounds of the other arm.
    pub candidate: Option<f64>,
    /// Ratio "other / first": the geometric mean over all blocks; of a latency, the trimmed mean.
    pub ratio: Option<f64>,
    /// Lower end of the confidence interval of the ratio.
    pub low: Option<f64>,
    /// Upper end of the confidence interval of the ratio.
    pub high: Option<f64>,
    /// Confidence of this interval alone, at the interim analysis that computed it. All intervals
    /// of an experiment together hold with [`Method::confidence`](super::Method::confidence).
    pub confidence: Option<f64>,
    /// Number of pairs of rounds.
    pub pairs: usize,
    /// Verdict on the metric.
    pub verdict: Verdict,
    /// With "no difference": the bound of the relative difference; 0.02 is 2%.
    pub no_difference_larger_than: Option<f64>,
    /// Reason for which the metric was not compared.
    pub reason: Option<String>,
}

impl MetricResult {
    /// Returns the metric and its load level.
    pub const fn at(&self) -> MetricAt {
        MetricAt { metric: self.metric, load_level: self.load_level }
    }
}

/// Comparison of an arm with the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Index of the first arm.
    pub baseline: usize,
    /// Index of the other arm.
    pub candidate: usize,
    /// Metrics, in table order.
    pub metrics: Vec<MetricResult>,
    /// Conclusion in a sentence.
    pub conclusion: String,
    /// Probable causes of the difference: system calls, context switches, CPU time in user and
    /// kernel mode, batch sizes.
    pub causes: Vec<String>,
}

/// A/A comparison: the first arm with itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Control {
    /// Second instance over first, in table order. [`Verdict::Better`] or [`Verdict::Worse`]
    /// means that the experiment is faulty.
    pub metrics: Vec<MetricResult>,
}

impl Control {
    /// Returns a metric of the control.
    pub fn metric(&self, at: MetricAt) -> Option<&MetricResult> {
        self.metrics.iter().find(|it| it.at() == at)
    }
}

/// Problem that invalidates an experiment or some of its metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// Kind of the problem.
    pub kind: GateKind,
    /// Effect on the verdicts.
    pub effect: GateEffect,
    /// Metrics concerned; empty for all.
    pub metrics: Vec<MetricAt>,
    /// Indices of the arms concerned; empty for all.
    pub arms: Vec<usize>,
    /// Symptom and probable cause in a sentence.
    pub reason: String,
    /// Flag or change to try, in a sentence.
    pub remedy: String,
}

/// Effect of a gate on the verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateEffect {
    /// The whole experiment is invalid.
    Invalid,
    /// The metrics concerned are not compared.
    NotCompared,
    /// Verdicts are not changed.
    Warning,
}

/// Kind of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// The client was saturated and the server was not, so throughput is that of the client.
    ClientSaturated,
    /// Neither client nor server was saturated, so throughput has another limit.
    ServerNotSaturated,
    /// The server did not reach the offered rate, or the client did not offer it.
    RateNotReached,
    /// Responses had wrong bytes.
    WrongBytes,
    /// Connections were refused, or dropped because the accept queue was full.
    ConnectionsRefused,
    /// Other requests failed.
    RequestsFailed,
    /// The server closed keep-alive connections, so the load was not the requested one.
    ConnectionsClosedByServer,
    /// The completion queue of io_uring overflowed.
    CompletionQueueOverflow,
    /// The kernel had no provided buffer (ENOBUFS), or the server no free slot.
    OutOfBuffers,
    /// io-wq workers did part of the work of a server.
    IoWqWorkers,
    /// The number of events that a wait may return differs between the arms, and was reached.
    BatchLimitsDiffer,
    /// The hypervisor took CPU time (steal time).
    CpuSteal,
    /// The control group was throttled.
    CpuThrottled,
    /// Server and client share a core.
    SharedCore,
    /// Other processes or interrupts used the CPUs of the server.
    OtherLoadOnServerCpus,
    /// The first arm differs from its second instance.
    ControlDiffers,
    /// The server used another engine than the requested one.
    WrongEngine,
    /// The server of a stream did not become idle between slices.
    ServerNotQuiet,
    /// The technique of a ladder step is not in force.
    TechniqueNotInForce,
    /// There were too few rounds for an interval.
    TooFewRounds,
    /// This program was built without optimisation.
    NotOptimised,
}

/// Overall result of a run or an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// One arm is better than all others in the primary metric. A ladder compares its last step
    /// with its first.
    Winner {
        /// Index in the list of arms.
        arm: usize,
    },
    /// No arm differs from the first by more than the bound.
    NoDifference,
    /// The result depends on the load or on the value of the sweep.
    Depends,
    /// Some intervals are too wide.
    Inconclusive,
    /// A gate has invalidated the experiment.
    Invalid,
}
