//! Result model of a comparison: the source of the terminal tables, the JSON and the pages.
//!
//! It contains the raw rounds and histograms, so a result can be analysed again without measuring
//! again; [`ComparisonResult::remove_rounds`] makes it compact. Names of numbers end with their
//! unit. [`SCHEMA_VERSION`] is incremented when a field is renamed, removed or changes its meaning;
//! fields may be added within a version.

mod environment;
mod ladder;
mod rounds;
mod verdicts;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use environment::{
    CpuDescription, CpuPlacement, Environment, Isolation, KernelParameters, ListenerState,
    NamedValue, ProgramDescription,
};
pub use ladder::{LadderResult, LadderStepResult};
pub use rounds::{
    BatchSize, ClientUsage, Failures, HardwareCounts, Latency, LatencyPair, LatencyPeriods,
    MachineUsage, Round, ServerCounters, ServerUsage, SystemCallCount,
};
pub use verdicts::{
    Comparison, Control, Gate, GateEffect, GateKind, Metric, MetricAt, MetricResult, Outcome,
    Verdict,
};

/// Version of this model.
pub const SCHEMA_VERSION: u32 = 2;

/// Result of one run of `ringpoll compare`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComparisonResult {
    /// [`SCHEMA_VERSION`] of the program that wrote the result.
    pub schema_version: u32,
    /// Start time in UTC: `2026-01-31T12:00:00Z`.
    pub started_at: String,
    /// Duration of the run, including calibration.
    pub duration_seconds: f64,
    /// Command line, one item per argument.
    pub command_line: Vec<String>,
    /// Overall conclusion in a sentence: which arm is better, by how much, with what confidence.
    pub conclusion: String,
    /// Overall conclusion for programs.
    pub outcome: Outcome,
    /// Machine and software on which the comparison ran.
    pub environment: Environment,
    /// Parameters of the measurement.
    pub method: Method,
    /// Compared servers. The first is the baseline: every ratio is "other / first".
    pub arms: Vec<Arm>,
    /// Settings that differ between arms. All others are equal.
    pub differences: Vec<Difference>,
    /// One experiment per load or, with a sweep, one per value.
    pub experiments: Vec<Experiment>,
    /// With a sweep: the better arm for each value.
    pub crossover: Option<CrossoverMap>,
}

impl ComparisonResult {
    /// Removes the raw rounds and histograms, which are most of a result. Verdicts, intervals and
    /// percentiles remain.
    pub fn remove_rounds(&mut self) {
        for experiment in &mut self.experiments {
            experiment.rounds.clear();
            for summary in &mut experiment.summaries {
                summary.latency.corrected.histogram.clear();
                summary.latency.uncorrected.histogram.clear();
            }
        }
    }
}

/// Parameters of the measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Method {
    /// Seed of the order of the rounds and of the resampling.
    pub seed: u64,
    /// Time budget of each experiment. With several loads, time left over goes to the next one.
    pub budget_seconds: f64,
    /// Measured time of each round.
    pub round_seconds: f64,
    /// Time under load before each round.
    pub warm_up_seconds: f64,
    /// Simultaneous confidence of all verdicts of an experiment: with 0.95, at most one run in
    /// twenty has a wrong verdict, over all metrics, arms and interim analyses.
    pub confidence: f64,
    /// Largest relative difference that counts as no difference: 0.01 is 1%.
    pub negligible: f64,
    /// Largest relative difference that an interval may contain for the verdict "no difference".
    pub equivalence: f64,
    /// CPUs of server and client.
    pub cpu_placement: CpuPlacement,
    /// Network isolation of server and client.
    pub isolation: Isolation,
}

/// A compared server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Arm {
    /// Argument on the command line: `epoll:level`, `command:nginx …`, or the name and the file of
    /// `--arms`.
    pub spec: String,
    /// Name in tables: `epoll:level`, with a suffix if two arms are equal.
    pub label: String,
    /// Kind of the server.
    pub kind: ArmKind,
    /// Command line of the server, with `{port}` and `{address}` where they were replaced.
    pub command_line: Vec<String>,
    /// Engine name that ringpoll's server reports, such as `epoll, level-triggered`. It is
    /// checked in each round.
    pub engine: Option<String>,
    /// All settings, in the order of the configuration file. For another program: the keys of the
    /// file of `--arms`, except its command.
    pub settings: Vec<Setting>,
    /// Kernel features that the engine reports as used.
    pub kernel_features: Vec<String>,
}

/// Kind of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArmKind {
    /// `ringpoll serve`, with one of its engines.
    Engine,
    /// Another server program.
    Command,
}

/// A setting and its origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Full configuration key: `io_uring.submission_queue_entries`.
    pub key: String,
    /// Value as text.
    pub value: String,
    /// Origin of the value: `default`, `flag --set`, …
    pub origin: String,
}

/// A setting that differs between arms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Configuration key, or `program`.
    pub key: String,
    /// Value in each arm, in the order of the arms; `None` is unknown.
    pub values: Vec<Option<String>>,
}

/// One load, measured at one or more load levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Experiment {
    /// Load that the clients generated.
    pub load: LoadDescription,
    /// The parts of each HTTP response that were checked, in the order of the arms; empty for
    /// messages.
    #[serde(default)]
    pub verified: Vec<String>,
    /// With a sweep: the value of this experiment.
    pub sweep: Option<SweepValue>,
    /// With a ladder: the gain of each step.
    pub ladder: Option<LadderResult>,
    /// Load levels, in table order.
    pub load_levels: Vec<LoadLevelResult>,
    /// Conclusion for this load in a sentence.
    pub conclusion: String,
    /// Conclusion for programs.
    pub outcome: Outcome,
    /// Comparison of each arm with the first.
    pub comparisons: Vec<Comparison>,
    /// Comparison of the first arm with itself: the noise floor.
    pub control: Control,
    /// Problems that invalidate the experiment or some of its metrics.
    pub gates: Vec<Gate>,
    /// Summary of each arm at each load level.
    pub summaries: Vec<ArmSummary>,
    /// All rounds, in the order in which they ran; empty in a compact file.
    pub rounds: Vec<Round>,
    /// Interim analyses, over which alpha was spent.
    pub interim_analyses: Vec<InterimAnalysis>,
    /// Reason for which the experiment ended.
    pub stop_reason: StopReason,
    /// Facts that change no verdict.
    pub notes: Vec<String>,
}

/// Reason for which an experiment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The interval of the primary metric was narrow enough.
    Decided,
    /// The time budget was spent.
    BudgetSpent,
    /// A signal ended it early, such as SIGINT (Ctrl-C).
    Interrupted,
}

/// Load that the clients generated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadDescription {
    /// Name on the command line: `keep-alive`.
    pub name: String,
    /// Description: `one connection per request, 64 connections`.
    pub description: String,
    /// Parameters of the load generator.
    pub parameters: Vec<Setting>,
    /// Settings that the load requires of all arms with one of ringpoll's engines.
    pub server_settings: Vec<Setting>,
}

/// The value of a sweep in one experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SweepValue {
    /// Swept parameter: `connections`, or a configuration key.
    pub key: String,
    /// Value in this experiment.
    pub value: String,
}

/// Kind of a load level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum LoadLevel {
    /// Open loop below saturation, with the same request rate for all arms.
    FixedRate,
    /// Closed loop: each connection sends the next request after the response.
    Saturation,
}

/// A load level and its request rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadLevelResult {
    /// Kind of the load level.
    pub load_level: LoadLevel,
    /// Offered rate, at a fixed rate.
    pub requests_per_second: Option<f64>,
    /// Origin of the rate in words.
    pub rate_origin: Option<String>,
}

/// Summary of an arm at a load level: medians over its rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArmSummary {
    /// Index in [`ComparisonResult::arms`].
    pub arm: usize,
    /// Load level of the rounds.
    pub load_level: LoadLevel,
    /// Number of rounds.
    pub rounds: usize,
    /// Requests with a correct response, in all rounds.
    pub requests: u64,
    /// Rate of requests with a correct response.
    pub requests_per_second: f64,
    /// CPU time of the server per request.
    pub cpu_per_request_us: f64,
    /// Share of this time in user mode. The kernel may account it in ticks.
    pub user_cpu_share: Option<f64>,
    /// CPU utilization of the server: 1.0 is all of its CPUs.
    pub server_cpu_utilization: f64,
    /// CPU utilization of the client: 1.0 is all of its CPUs.
    pub client_cpu_utilization: f64,
    /// CPU time of the client per request.
    pub client_cpu_per_request_us: f64,
    /// System calls per request, reported by a ringpoll server or counted by the kernel.
    pub system_calls_per_request: Option<f64>,
    /// Most frequent system calls with their number per request, in descending order.
    pub system_calls: Vec<(String, f64)>,
    /// Context switches per request of all threads of the server.
    pub context_switches_per_request: f64,
    /// Events or completions per wait that returned any.
    pub events_per_wait: Option<f64>,
    /// Largest number of io_uring kernel threads: io-wq workers and SQPOLL.
    pub io_uring_tasks: u32,
    /// Largest number of io-wq workers: kernel threads that run the operations that block.
    #[serde(default)]
    pub io_wq_workers: u32,
    /// Share of the CPU time of the server that the io-wq workers used.
    #[serde(default)]
    pub io_wq_cpu_share: f64,
    /// Largest resident set of all processes; 0 in results without it.
    #[serde(default)]
    pub peak_resident_bytes: u64,
    /// Latencies of all rounds.
    pub latency: LatencyPair,
}

/// Interim analysis of an experiment, of the kind used in group sequential designs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InterimAnalysis {
    /// Number of blocks measured before it.
    pub blocks: usize,
    /// Share of the planned information.
    pub information_fraction: f64,
    /// Confidence of the interval of a single metric with a total alpha of 0.05.
    pub nominal_confidence: f64,
    /// True if the experiment ended with this analysis.
    pub stopped: bool,
}

/// The better arm for each value of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CrossoverMap {
    /// Swept parameter.
    pub key: String,
    /// Metric of the cells.
    pub metric: MetricAt,
    /// One cell per value, in the order of the command line.
    pub cells: Vec<CrossoverCell>,
    /// Conclusion: `up to 16 connections epoll:level, from 64 on io_uring`.
    pub conclusion: String,
}

/// One value of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CrossoverCell {
    /// Value of the parameter.
    pub value: String,
    /// Index of the better arm in [`ComparisonResult::arms`]; `None` if none is proved better.
    pub winner: Option<usize>,
    /// Ratio and interval of each arm after the first.
    pub results: Vec<MetricResult>,
}
