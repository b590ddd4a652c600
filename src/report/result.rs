//! What a comparison found: the one model that the terminal, JSON and HTML are made from.
//!
//! Everything is in it, raw rounds and histograms included, so that a result can be judged again
//! later or elsewhere without measuring again. Numbers carry their unit at the end of their name.
//! [`SCHEMA_VERSION`] grows when a field changes its meaning or goes; new fields may come within
//! a version.

mod environment;
mod ladder;
mod rounds;
mod verdicts;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use environment::{
    CpuDescription, Environment, Isolation, ListenerState, Placement, ProgramDescription, Tunable,
};
pub use ladder::{Ladder, Rung};
pub use rounds::{
    BatchSize, ClientUse, Failures, Latency, LatencyPair, MachineUse, Round, ServerCounters,
    ServerUse,
};
pub use verdicts::{
    Comparison, Control, Gate, GateEffect, GateKind, Metric, MetricAt, MetricResult, Outcome,
    Verdict,
};

/// The version of this model, written into every result.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole run of `ringpoll compare`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComparisonResult {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// When it began, in UTC: `2026-01-31T12:00:00Z`.
    pub started_at: String,
    /// How long it took, calibration included.
    pub duration_seconds: f64,
    /// The command line, word by word.
    pub command_line: Vec<String>,
    /// The overall sentence: which is better here, by how much, how sure.
    pub sentence: String,
    /// What the sentence comes to, for machines.
    pub outcome: Outcome,
    /// Where it ran.
    pub environment: Environment,
    /// How it was measured.
    pub method: Method,
    /// Those that were compared. The first is the baseline: every ratio is "other / first".
    pub arms: Vec<Arm>,
    /// What is not the same in all arms, setting by setting. Everything else is.
    pub differences: Vec<Difference>,
    /// One for each load or, with a sweep, one for each value.
    pub experiments: Vec<Experiment>,
    /// With a sweep: where which arm wins.
    pub crossover: Option<CrossoverMap>,
}

/// How it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Method {
    /// Decides the order of the rounds and the resampling; the same seed gives the same.
    pub seed: u64,
    /// The time that each experiment may take; with several loads what one does not need is the
    /// next one's.
    pub budget_seconds: f64,
    /// How long each round was measured.
    pub round_seconds: f64,
    /// How long each server was under load before its round.
    pub warm_up_seconds: f64,
    /// How sure all claims of an experiment are together: 0.95 is at most one run in twenty with
    /// a false claim, all metrics, arms and looks counted.
    pub confidence: f64,
    /// A difference within this is none: 0.01 is 1 %.
    pub negligible: f64,
    /// The widest interval that still counts as "no difference larger than".
    pub equivalence: f64,
    /// Where server and client ran.
    pub placement: Placement,
    /// Whether they had a network to themselves.
    pub isolation: Isolation,
}

/// One of those that were compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Arm {
    /// As it was asked for: `epoll:level`, `command:nginx …`.
    pub spec: String,
    /// What tables call it: `epoll:level`; made unique where two arms are the same.
    pub label: String,
    /// Whether it is our own server, or another program.
    pub kind: ArmKind,
    /// The command line that its server was started with, the port as `{port}`.
    pub command_line: Vec<String>,
    /// Our own server's own words for its engine, such as `epoll, level triggered`, checked in
    /// each round against what was asked for.
    pub engine: Option<String>,
    /// Every setting in force, in the order of the configuration; empty for another program.
    pub settings: Vec<Setting>,
    /// Kernel features of the engine in force, as far as it tells them.
    pub kernel_features: Vec<String>,
}

/// Our own server, or another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArmKind {
    /// This program's own server, on one of its engines.
    Engine,
    /// Any other server program.
    Command,
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// The configuration's full name for it: `io_uring.submission_queue_entries`.
    pub key: String,
    /// Its value as text.
    pub value: String,
    /// Where it came from: `default`, `flag --set`, …
    pub origin: String,
}

/// A setting, or a trait, that is not the same in all arms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// What it is: a configuration key, or `program`.
    pub key: String,
    /// Its value in each arm, in the order of the arms; `None` where it is not known.
    pub values: Vec<Option<String>>,
}

/// One load, measured at its working points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Experiment {
    /// What the clients did.
    pub load: LoadDescription,
    /// With a sweep: the value that this experiment stands for.
    pub sweep: Option<SweepValue>,
    /// With a ladder: what each rung gains.
    pub ladder: Option<Ladder>,
    /// The working points, in the order of the tables.
    pub working_points: Vec<WorkingPoint>,
    /// The sentence about this load.
    pub sentence: String,
    /// What the sentence comes to.
    pub outcome: Outcome,
    /// Each arm against the first.
    pub comparisons: Vec<Comparison>,
    /// The first arm against itself, metric by metric: the noise floor.
    pub control: Control,
    /// What makes this experiment, or a metric of it, not to be judged.
    pub gates: Vec<Gate>,
    /// What each arm did at each point, in one line.
    pub summaries: Vec<ArmSummary>,
    /// Every round, in the order in which they ran.
    pub rounds: Vec<Round>,
    /// The looks at the data that were accounted for.
    pub looks: Vec<Look>,
    /// Why it ended: `decided`, `budget spent`, `interrupted`.
    pub ended: Ended,
    /// Things worth knowing that change no verdict.
    pub notes: Vec<String>,
}

/// Why an experiment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The interval of the metric that decides was narrow enough.
    Decided,
    /// The time was over.
    BudgetSpent,
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// What the clients did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadDescription {
    /// Its name on the command line: `keep-alive`. Results of programs that knew one load alone
    /// are without.
    #[serde(default = "the_only_load_once")]
    pub name: String,
    /// In words: `one connection a request, 64 connections`.
    pub text: String,
    /// What was set, by the load generator's own names.
    pub parameters: Vec<Setting>,
    /// What the servers of all arms that are engines are set to for it.
    #[serde(default)]
    pub server_settings: Vec<Setting>,
}

fn the_only_load_once() -> String {
    "churn".to_owned()
}

/// The value of a sweep that an experiment stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SweepValue {
    /// What was swept: `connections`, or a key of the configuration.
    pub key: String,
    /// Its value here.
    pub value: String,
}

/// A kind of working point.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Below saturation, the same rate offered to every arm: the open loop.
    FixedRate,
    /// As much as goes: the closed loop.
    Saturated,
}

/// A working point as it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkingPoint {
    /// Which kind.
    pub point: Point,
    /// The offered rate, at a fixed rate.
    pub requests_per_second: Option<f64>,
    /// Where the rate came from, in words.
    pub rate_origin: Option<String>,
}

/// What an arm did at a working point: medians over its rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArmSummary {
    /// Which arm, as its place in [`ComparisonResult::arms`].
    pub arm: usize,
    /// Where.
    pub point: Point,
    /// How many rounds.
    pub rounds: usize,
    /// Requests answered rightly, all rounds together.
    pub requests: u64,
    /// Requests answered rightly in a second.
    pub requests_per_second: f64,
    /// The server's CPU time for each request.
    pub cpu_per_request_us: f64,
    /// The part of it in user mode, as far as the kernel's tick tells.
    pub user_share: Option<f64>,
    /// How much of its processors the server used: 1.0 is all.
    pub server_busy: f64,
    /// How much of its processor the client used.
    pub client_busy: f64,
    /// The client's CPU time for each request.
    pub client_cpu_per_request_us: f64,
    /// System calls for each request, from the server's own report.
    pub system_calls_per_request: Option<f64>,
    /// The most frequent of them, each with its number for each request, in falling order.
    pub system_calls: Vec<(String, f64)>,
    /// Context switches for each request, of all the server's tasks.
    pub context_switches_per_request: f64,
    /// Events or completions for each wait that brought any.
    pub events_per_wait: Option<f64>,
    /// The most kernel threads that it had for io_uring: io-wq workers and SQPOLL.
    pub io_uring_tasks: u32,
    /// Latencies of all rounds together.
    pub latency: LatencyPair,
}

/// A look at the data in the course of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Look {
    /// After how many blocks.
    pub blocks: usize,
    /// What part of the planned information that was.
    pub information: f64,
    /// How sure an interval had to be to claim something at this look, for a budget of errors of
    /// its own of one in twenty.
    pub nominal_confidence: f64,
    /// Whether the experiment ended here.
    pub ended: bool,
}

/// Where which arm wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CrossoverMap {
    /// What was swept.
    pub key: String,
    /// What stands in the cells.
    pub metric: MetricAt,
    /// One for each value, in the order asked for.
    pub cells: Vec<CrossoverCell>,
    /// The map in a sentence: `up to 16 connections epoll:level, from 64 on io_uring`.
    pub sentence: String,
}

/// A cell of the map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CrossoverCell {
    /// The value of the key.
    pub value: String,
    /// Which arm wins, as its place in [`ComparisonResult::arms`]; `None` where none is shown to.
    pub winner: Option<usize>,
    /// For each arm after the first: ratio and interval.
    pub results: Vec<MetricResult>,
}
