//! The work that the host gives to a guest, and the results of the guest.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The work of a guest, in this order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Work {
    /// Run ringpoll in each situation and record its output.
    pub(crate) observe: bool,
    pub(crate) suites: Vec<Suite>,
    pub(crate) path_length: Option<PathLengthPlan>,
    /// The arms of a comparison; empty for no comparison.
    pub(crate) compare: Vec<String>,
    /// A deliberate fault, which the host must detect.
    pub(crate) fault: Option<GuestFault>,
}

/// A test program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Suite {
    pub(crate) name: String,
    /// Path in the guest.
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    /// Timeout in seconds of the guest's clock.
    pub(crate) limit_s: u64,
}

/// A measurement of the path length.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PathLengthPlan {
    pub(crate) arms: Vec<PathLengthArm>,
    pub(crate) warm_up_requests: u64,
    /// Requests with a connection each.
    pub(crate) requests: u64,
    /// Requests on keep-alive connections.
    pub(crate) keep_alive_requests: u64,
    /// Pause before and after the measurement, until background work has ended.
    pub(crate) settle_ms: u64,
}

/// One server under one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PathLengthArm {
    /// Name of the server without the load.
    pub(crate) server: String,
    pub(crate) variant: String,
    /// Configuration as `KEY=VALUE`.
    pub(crate) settings: Vec<String>,
    pub(crate) load: PathLengthLoad,
}

impl PathLengthArm {
    /// Returns the name of the arm, its key in the baseline.
    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.server, self.load)
    }
}

/// A load for the path length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PathLengthLoad {
    /// True for keep-alive connections, false for one request a connection.
    pub(crate) keep_alive: bool,
    /// Connections, each with one request in flight.
    pub(crate) concurrency: usize,
}

impl fmt::Display for PathLengthLoad {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.keep_alive { "keep-alive" } else { "churn" };
        write!(formatter, "{kind}, concurrency {}", self.concurrency)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GuestFault {
    /// The kernel panics.
    Panic,
    /// Only a part of the message is sent.
    TruncatedMessage,
    /// The work ends with this exit code.
    Exit(i32),
    /// The guest hangs.
    Hang,
}

/// The results of a guest.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// `uname -r`
    pub(crate) release: String,
    /// `/proc/version`
    pub(crate) version: String,
    /// By name of the situation.
    pub(crate) observations: BTreeMap<String, Observation>,
    pub(crate) suites: Vec<SuiteResult>,
    pub(crate) path_lengths: Vec<PathLengthSample>,
    /// Exit code of the comparison.
    pub(crate) compared: Option<i32>,
}

/// The behaviour of ringpoll in one situation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Observation {
    /// Exit code; `None` if it was killed.
    pub(crate) exit: Option<i32>,
    /// Lines of standard error, without addresses.
    pub(crate) stderr: Vec<String>,
    /// True if a request got a response.
    pub(crate) serves: bool,
    /// Output of `ringpoll doctor --json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) doctor: Option<Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SuiteResult {
    pub(crate) name: String,
    /// Exit code; `None` after a timeout.
    pub(crate) exit: Option<i32>,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: Vec<String>,
    /// Output of the failed tests, or the last lines if there is none.
    pub(crate) failures: Vec<String>,
    pub(crate) took_s: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PathLengthSample {
    pub(crate) arm: PathLengthArm,
    pub(crate) requests: u64,
    /// CPU time of all tasks of the server, kernel and user; under icount 1 ns is one instruction.
    pub(crate) nanoseconds: u64,
    /// Tasks of the server at the end, including the kernel's io_uring workers.
    pub(crate) tasks: u64,
    /// The reason if the measurement failed.
    pub(crate) error: Option<String>,
}
