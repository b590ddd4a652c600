//! A ladder: from a mirror of the documents to the tuned engine, one technique added a rung.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MetricAt, MetricResult};

/// What each rung of a ladder gains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ladder {
    /// As it was asked for: `epoll`, `io_uring`.
    pub name: String,
    /// What the rungs are compared by.
    pub metric: MetricAt,
    /// From the first on. Each is an arm.
    pub rungs: Vec<Rung>,
}

/// A rung: all that stands below it, and one technique more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rung {
    /// Which arm it is, as its place in the list of arms.
    pub arm: usize,
    /// What it adds to the rung below, in words.
    pub adds: String,
    /// Why what it adds is not in force here; then it is not judged, and no rung is held against
    /// it.
    pub not_in_force: Option<String>,
    /// What is different from the rung below besides.
    pub remark: Option<String>,
    /// The median of its rounds, in the metric's unit.
    pub value: Option<f64>,
    /// System calls for each request, from the server's own report.
    pub system_calls_per_request: Option<f64>,
    /// This rung over the first; the first itself has its second copy over its first, which is
    /// the noise. `None` where it is not in force.
    pub to_first: Option<MetricResult>,
    /// The rung that it is held against: the nearest below it that is in force.
    pub below: Option<usize>,
    /// This rung over that one: what its technique gains.
    pub to_below: Option<MetricResult>,
}
