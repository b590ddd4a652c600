//! What the host asks of a guest, and what the guest has found.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// All that a guest is to do, in this order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Work {
    /// Look at what the program says in each situation.
    pub(crate) observe: bool,
    pub(crate) suites: Vec<Suite>,
    pub(crate) cost: Option<CostPlan>,
    /// The arms of a comparison; none is no comparison.
    pub(crate) compare: Vec<String>,
    /// To show that the host finds it out.
    pub(crate) misbehave: Option<Misbehaviour>,
}

/// A test program of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Suite {
    pub(crate) name: String,
    /// In the guest.
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    /// In seconds of the guest's.
    pub(crate) limit_s: u64,
}

/// How the cost of a request is found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CostPlan {
    pub(crate) arms: Vec<CostArm>,
    pub(crate) warm_up_requests: u64,
    /// So many connections, each with one request.
    pub(crate) requests: u64,
    /// So many requests on connections that persist: each of them costs less.
    pub(crate) persistent_requests: u64,
    /// Until everything that the start has set off is over.
    pub(crate) settle_ms: u64,
}

/// One server under one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CostArm {
    /// What the server is called, whatever the load.
    pub(crate) server: String,
    pub(crate) variant: String,
    /// `KEY=VALUE` of the configuration, each.
    pub(crate) settings: Vec<String>,
    pub(crate) load: CostLoad,
}

impl CostArm {
    /// What is measured, under the name that the baseline has it by.
    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.server, self.load)
    }
}

/// What is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CostLoad {
    /// Whether connections persist; if not, each has one request.
    pub(crate) keep_alive: bool,
    /// How many requests are under way at once.
    pub(crate) at_once: usize,
}

impl fmt::Display for CostLoad {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.keep_alive { "keep-alive" } else { "churn" };
        write!(formatter, "{kind}, {} at once", self.at_once)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Misbehaviour {
    /// The kernel panics.
    Panic,
    /// Only a part of the frame is sent.
    HalfAFrame,
    /// The work ends with this exit code.
    Exit(i32),
    /// Nothing is ever said.
    Silence,
}

/// What a guest has found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// `uname -r`
    pub(crate) release: String,
    /// `/proc/version`
    pub(crate) version: String,
    /// By situation.
    pub(crate) observations: BTreeMap<String, Observation>,
    pub(crate) suites: Vec<SuiteResult>,
    pub(crate) costs: Vec<Cost>,
    /// How the comparison ended, if one was asked for.
    pub(crate) compared: Option<i32>,
}

/// What the program did in one situation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Observation {
    /// `None` when it was killed.
    pub(crate) exit: Option<i32>,
    /// On standard error, line by line, without addresses.
    pub(crate) says: Vec<String>,
    /// Whether a request was answered.
    pub(crate) answers: bool,
    /// What the doctor wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) doctor: Option<Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SuiteResult {
    pub(crate) name: String,
    /// `None` when it did not end in time.
    pub(crate) exit: Option<i32>,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: Vec<String>,
    /// What it said of the tests that failed, or at its end when it did not come to that.
    pub(crate) failures: Vec<String>,
    pub(crate) took_s: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) arm: CostArm,
    pub(crate) requests: u64,
    /// Of all the server's tasks, kernel and user together; under icount one is one instruction.
    pub(crate) nanoseconds: u64,
    /// The server's threads, the kernel's workers among them, when it was over.
    pub(crate) tasks: u64,
    /// Why there is no figure.
    pub(crate) refused: Option<String>,
}
