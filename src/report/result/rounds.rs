//! What was measured in one round: one server process, one working point.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ListenerState, Point};

/// One round of one arm at one working point, with a server process of its own. The rounds of a
/// block at one point run at once, a slice of time each in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Round {
    /// Which arm, as its place in the list of arms.
    pub arm: usize,
    /// Whether it is the second copy of the first arm, which shows the noise.
    pub control: bool,
    /// At which working point.
    pub point: Point,
    /// In which block; rounds are paired within a block.
    pub block: usize,
    /// The engine in force, as the server itself reported it at its end; `None` for another
    /// program.
    pub backend: Option<String>,
    /// When it began, since the experiment did.
    pub started_at_seconds: f64,
    /// How long it was measured, all slices together.
    pub duration_ns: u64,
    /// In how many slices of time, between which the other servers of the block had theirs.
    pub slices: usize,
    /// Requests answered rightly, to the last byte.
    pub requests: u64,
    /// What went wrong.
    pub failures: Failures,
    /// How long requests took.
    pub latency: LatencyPair,
    /// What the server used.
    pub server: ServerUse,
    /// What our own server counted in its whole life, warm-up included; `None` for others.
    pub counters: Option<ServerCounters>,
    /// What the client used.
    pub client: ClientUse,
    /// What the rest of the machine did meanwhile.
    pub machine: MachineUse,
}

/// Requests that were not answered rightly, by what went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failures {
    /// Answers with wrong bytes, too few or too many.
    pub wrong_bytes: u64,
    /// Connections that the server refused.
    pub refused: u64,
    /// Connections that were reset.
    pub reset: u64,
    /// Requests that took too long.
    pub timed_out: u64,
    /// Requests that were due and could not be sent, for want of a connection or a port.
    pub not_sent: u64,
    /// Anything else.
    pub other: u64,
    /// The first of them in words.
    pub example: Option<String>,
}

impl Failures {
    /// Takes in those of another time.
    pub fn add(&mut self, other: Self) {
        self.wrong_bytes += other.wrong_bytes;
        self.refused += other.refused;
        self.reset += other.reset;
        self.timed_out += other.timed_out;
        self.not_sent += other.not_sent;
        self.other += other.other;
        self.example = self.example.take().or(other.example);
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.wrong_bytes + self.refused + self.reset + self.timed_out + self.not_sent + self.other
    }
}

/// The same requests, looked at twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyPair {
    /// From when the request was due: what somebody who asked would have waited.
    pub corrected: Latency,
    /// From when it was really sent. In a closed loop both are the same.
    pub uncorrected: Latency,
}

/// A histogram of latencies and its well-known points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// The median.
    pub p50_ns: u64,
    /// 90 % were at least as fast.
    pub p90_ns: u64,
    /// 99 % were.
    pub p99_ns: u64,
    /// 99.9 % were.
    pub p99_9_ns: u64,
    /// The slowest.
    pub max_ns: u64,
    /// All of it, in nanoseconds: HdrHistogram's V2 form with DEFLATE, in base64.
    pub histogram: String,
}

/// What the server used while the round was measured, all its tasks together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerUse {
    /// CPU time, of all processes and tasks, ended ones and the kernel's io-wq and SQPOLL
    /// threads included.
    pub cpu_ns: u64,
    /// The part of it in user mode; the kernel counts it in ticks, so it is coarse.
    pub user_ns: u64,
    /// The part of it in the kernel, likewise.
    pub system_ns: u64,
    /// Context switches because a task had nothing to do.
    pub voluntary_switches: u64,
    /// Context switches because another task had its turn.
    pub involuntary_switches: u64,
    /// How many tasks it had at the end, and how many of them were the kernel's for io_uring.
    pub tasks: u32,
    /// Those of them that the kernel runs for io_uring.
    pub io_uring_tasks: u32,
    /// CPU time over the time that its processors had.
    pub busy: f64,
}

impl ServerUse {
    /// Takes in what was used in another slice of time.
    pub fn add(&mut self, other: Self) {
        self.cpu_ns += other.cpu_ns;
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.tasks = self.tasks.max(other.tasks);
        self.io_uring_tasks = self.io_uring_tasks.max(other.io_uring_tasks);
    }
}

/// What our own server counted in its whole life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerCounters {
    /// Answers handed to the kernel to the last byte: what to divide by.
    pub answered: u64,
    /// System calls by name.
    pub system_calls: BTreeMap<String, u64>,
    /// Every other counter by name.
    pub counters: BTreeMap<String, u64>,
    /// Events for each wait that brought any.
    pub events_per_wait: Option<f64>,
    /// How many waits brought how many events.
    pub batch_sizes: Vec<BatchSize>,
}

/// How many waits brought at least so many events, and fewer than the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchSize {
    /// The least number of events.
    pub at_least: u64,
    /// How many waits.
    pub waits: u64,
}

/// What the client used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientUse {
    /// CPU time of its threads.
    pub cpu_ns: u64,
    /// CPU time over the time that its threads had.
    pub busy: f64,
    /// The most connections that it had open at once.
    pub connections: u64,
    /// Connections that were to persist, and that the server ended between two answers. Results
    /// of programs that knew no such load are without.
    #[serde(default)]
    pub connections_ended: u64,
    /// At a fixed rate: how late the worst request was sent, after it was due.
    pub most_late_ns: u64,
}

/// What the rest of the machine did, in all slices of the block at this point together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MachineUse {
    /// Time that the hypervisor kept from the processors of server and client, as a share.
    pub stolen: f64,
    /// Time that the control group was throttled.
    pub throttled_ns: u64,
    /// Time of the server's processors that neither the server used nor nobody, as a share:
    /// others, and interrupts.
    pub server_cpus_others: f64,
    /// What the listener's queue lost.
    pub listener: ListenerState,
}
