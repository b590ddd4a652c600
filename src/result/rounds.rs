//! Measurements of one round: one server process at one load level.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ListenerState, LoadLevel, Metric};

/// One round of one arm at one load level, with a separate server process. The rounds of a block
/// at one load level are interleaved in slices of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Round {
    /// Index in the list of arms.
    pub arm: usize,
    /// True for the second instance of the first arm, which shows the noise.
    pub control: bool,
    /// Load level of the round.
    pub load_level: LoadLevel,
    /// Number of the block. Rounds are paired within a block.
    pub block: usize,
    /// Engine name that the server reported at its end; `None` for another program.
    pub engine: Option<String>,
    /// Start time, relative to the start of the experiment.
    pub started_at_seconds: f64,
    /// Total duration of all slices.
    pub duration_ns: u64,
    /// Number of slices, between which the other servers of the block ran.
    pub slices: usize,
    /// Requests with a correct response.
    pub requests: u64,
    /// With a stream: bytes of the messages, the sum of both directions.
    pub bytes: Option<u64>,
    /// With a stream: slices before or after which the server did not become idle in time.
    pub slices_not_quiet: Option<usize>,
    /// Failed requests by cause.
    pub failures: Failures,
    /// Latencies of the requests.
    pub latency: LatencyPair,
    /// At a fixed rate: percentiles of short periods, by which latencies are compared.
    #[serde(default)]
    pub periods: Vec<LatencyPeriods>,
    /// Resources used by the server.
    pub server: ServerUsage,
    /// Counters of ringpoll's server since its start, including warm-up; `None` for another
    /// program.
    pub counters: Option<ServerCounters>,
    /// System calls of another program; `None` for ringpoll's server.
    #[serde(default)]
    pub system_calls: Option<SystemCallCount>,
    /// Instructions and cycles of the server; `None` if they cannot be counted.
    #[serde(default)]
    pub hardware: Option<HardwareCounts>,
    /// Resources used by the client.
    pub client: ClientUsage,
    /// Use of the CPUs by others, and lost connections.
    pub machine: MachineUsage,
}

impl Round {
    /// Returns the percentile of latency in each period; `None` if it was not recorded, or if the
    /// metric is not a latency.
    pub fn latency_of_periods_ns(&self, metric: Metric) -> Option<&[u64]> {
        let periods = self.periods.iter().find(|it| it.metric == metric)?;
        Some(&periods.latency_ns)
    }
}

/// Failed requests by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failures {
    /// Responses with wrong, missing or additional bytes.
    pub wrong_bytes: u64,
    /// Connections refused by the server.
    pub refused: u64,
    /// Connections reset by the server.
    pub reset: u64,
    /// Requests without a response before the timeout.
    pub timed_out: u64,
    /// Scheduled requests that were not sent, because no connection or local port was free.
    pub not_sent: u64,
    /// Other failures.
    pub other: u64,
    /// Description of the first failure.
    pub example: Option<String>,
}

impl Failures {
    /// Adds the failures of another slice.
    pub fn add(&mut self, other: Self) {
        self.wrong_bytes += other.wrong_bytes;
        self.refused += other.refused;
        self.reset += other.reset;
        self.timed_out += other.timed_out;
        self.not_sent += other.not_sent;
        self.other += other.other;
        self.example = self.example.take().or(other.example);
    }

    /// Returns the number of all failures.
    pub fn total(&self) -> u64 {
        self.wrong_bytes + self.refused + self.reset + self.timed_out + self.not_sent + self.other
    }
}

/// Latencies with and without correction for coordinated omission. In a closed loop both are
/// equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyPair {
    /// Since the scheduled time of the request: corrected for coordinated omission.
    pub corrected: Latency,
    /// Since the time at which the request was sent.
    pub uncorrected: Latency,
}

/// A percentile of latency, corrected for coordinated omission, in each period of a round. A period
/// is one slice or several, with enough requests for the percentile. The periods of all arms of a
/// block are interleaved, so the first of one arm ran at the same time as the first of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyPeriods {
    /// Metric of the percentile.
    pub metric: Metric,
    /// Percentile in each period, in the order in which they ran; none if the round has too few
    /// requests for it.
    pub latency_ns: Vec<u64>,
}

/// Histogram of latencies and its percentiles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// Number of requests.
    pub count: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p99_9_ns: u64,
    /// 99.99th percentile.
    #[serde(default)]
    pub p99_99_ns: u64,
    /// Maximum.
    pub max_ns: u64,
    /// Histogram in nanoseconds: the V2 DEFLATE format of HdrHistogram, in base64; empty in a
    /// compact file.
    pub histogram: String,
}

/// Resources used by all threads of the server during the measured slices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerUsage {
    /// CPU time of all processes and threads, including ended ones and the io-wq and SQPOLL
    /// threads of the kernel.
    pub cpu_ns: u64,
    /// Part of it in user mode. The kernel may account it in ticks.
    pub user_ns: u64,
    /// Part of it in kernel mode. The kernel may account it in ticks.
    pub system_ns: u64,
    /// Voluntary context switches: the thread waited.
    pub voluntary_switches: u64,
    /// Involuntary context switches: the thread was preempted.
    pub involuntary_switches: u64,
    /// Largest number of threads, including those of the kernel for io_uring.
    pub tasks: u32,
    /// Largest number of io_uring kernel threads: io-wq workers and SQPOLL.
    pub io_uring_tasks: u32,
    /// Largest number of io-wq workers: kernel threads that run the operations that block.
    #[serde(default)]
    pub io_wq_workers: u32,
    /// CPU time of the io-wq workers, part of `cpu_ns`.
    #[serde(default)]
    pub io_wq_cpu_ns: u64,
    /// Sum of the peak resident sets (VmHWM) of all processes at the end of a slice, since they
    /// started; 0 in results without it. Memory that processes share is counted for each.
    #[serde(default)]
    pub peak_resident_bytes: u64,
    /// CPU time divided by the available CPU time.
    pub cpu_utilization: f64,
}

impl ServerUsage {
    /// Adds the usage of another slice.
    pub fn add(&mut self, other: Self) {
        self.cpu_ns += other.cpu_ns;
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.tasks = self.tasks.max(other.tasks);
        self.io_uring_tasks = self.io_uring_tasks.max(other.io_uring_tasks);
        self.io_wq_workers = self.io_wq_workers.max(other.io_wq_workers);
        self.io_wq_cpu_ns += other.io_wq_cpu_ns;
        self.peak_resident_bytes = self.peak_resident_bytes.max(other.peak_resident_bytes);
    }
}

/// Counters of ringpoll's server since its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerCounters {
    /// Complete responses: the divisor of all "per request" numbers.
    pub responses: u64,
    /// System calls by name.
    pub system_calls: BTreeMap<String, u64>,
    /// Other counters by name.
    pub counters: BTreeMap<String, u64>,
    /// Events or completions per wait that returned any.
    pub events_per_wait: Option<f64>,
    /// Distribution of the number of events per wait.
    pub batch_sizes: Vec<BatchSize>,
}

/// System calls of a server that does not report them, as the tracepoint raw_syscalls:sys_enter of
/// the kernel counts them. That slows down the server, so they are those of a slice of their own
/// after the measured ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SystemCallCount {
    /// They were counted.
    Counted {
        /// System calls of all processes and threads in this slice.
        calls: u64,
        /// Requests with a correct response in this slice.
        requests: u64,
    },
    /// They could not be counted.
    NotAvailable {
        /// The reason, with what to try.
        reason: String,
    },
}

/// Instructions and cycles of a server, in user and kernel mode, as the CPU counts them, in a slice
/// of their own after the measured ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HardwareCounts {
    /// Instructions of all processes and threads in this slice.
    pub instructions: u64,
    /// CPU cycles in this slice.
    pub cycles: u64,
    /// Requests with a correct response in this slice.
    pub requests: u64,
}

/// Number of waits that returned at least `min_events` events and fewer than the next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchSize {
    /// Smallest number of events.
    // The name in the report of `serve`.
    #[serde(alias = "events_from")]
    pub min_events: u64,
    /// Number of waits.
    pub waits: u64,
}

/// Resources used by the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientUsage {
    /// CPU time of all threads.
    pub cpu_ns: u64,
    /// CPU time divided by the available CPU time.
    pub cpu_utilization: f64,
    /// Largest number of open connections.
    pub max_open_connections: u64,
    /// Keep-alive connections that the server closed between two responses.
    pub connections_closed_by_server: u64,
    /// At a fixed rate: the largest delay between the scheduled and the actual time of a request.
    pub max_scheduling_delay_ns: u64,
}

/// Use of the CPUs by others, and lost connections, in all slices of a block at one load level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MachineUsage {
    /// Share of the time of all CPUs of server and client that the hypervisor took (steal time).
    pub steal_share: f64,
    /// Time for which the control group was throttled.
    pub throttled_ns: u64,
    /// Share of the time of the server's CPUs used by other processes and interrupts.
    pub server_cpus_other_share: f64,
    /// Connections lost by the listener.
    pub listener: ListenerState,
}
