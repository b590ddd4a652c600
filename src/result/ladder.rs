//! Ladder: an incremental ablation from an engine like the reference programs to the tuned
//! engine. Each step adds one technique.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MetricAt, MetricResult};

/// Gain of each step of a ladder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LadderResult {
    /// Name on the command line: `epoll`, `io_uring`.
    pub name: String,
    /// Metric by which the steps are compared.
    pub metric: MetricAt,
    /// Steps in order. Each is an arm.
    pub steps: Vec<LadderStepResult>,
}

/// One step of a ladder: the previous step and one more technique.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LadderStepResult {
    /// Index in the list of arms.
    pub arm: usize,
    /// Technique that it adds, in words.
    pub adds: String,
    /// Reason for which the technique is not in force on this machine. Such a step is not compared.
    pub unused_reason: Option<String>,
    /// Median of its rounds, in the unit of the metric.
    pub value: Option<f64>,
    /// System calls per request that the server reports.
    pub system_calls_per_request: Option<f64>,
    /// Ratio to the first step. For the first step, this is the control: its second instance over
    /// its first. `None` if the technique is not in force.
    pub to_first: Option<MetricResult>,
    /// Index of the nearest previous step whose technique is in force.
    pub previous: Option<usize>,
    /// Ratio to that step: the gain of the technique.
    pub to_previous: Option<MetricResult>,
}
