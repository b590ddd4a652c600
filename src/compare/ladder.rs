//! `--ladder epoll` and `--ladder io_uring`: from the mirror of the documents to the tuned engine,
//! one technique added a rung.
//!
//! Each rung is an arm, so all of them are measured side by side like any arms. What is different
//! is how they are held against each other: each against the rung below it, which is what the
//! technique gains, and against the first, which is how far one has come.
//!
//! 1. Here: the rungs. [`presence`]: whether what a rung adds is in force.
//! 2. [`gains`]: from the rounds of an experiment to each rung's gains.
//! 3. `words`, [`table`]: in sentences, and for a terminal.

pub mod gains;
pub mod presence;
pub mod table;
mod words;

use clap::ValueEnum;

use super::arm::{self, CommonSettings, Contestant, usage};
use crate::failure::Failure;
use crate::report::result::{Arm, Point};

/// Where a ladder is measured. CPU per request is judged where all rungs do the same work; at
/// saturation, as many rungs would take twice the time.
pub const POINTS: [Point; 1] = [Point::FixedRate];

/// Which ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ladder {
    /// epoll:level, epoll:edge, and on to epoll:tuned.
    Epoll,
    /// io_uring:single_shot, and on to io_uring:tuned.
    #[value(name = "io_uring", alias = "io-uring")]
    IoUring,
}

/// What a rung adds to the one below it.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What tables call it.
    pub label: &'static str,
    /// What is different from the rung below, in words.
    pub adds: &'static str,
    /// How it comes about.
    change: Change,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    /// Another engine.
    Engine(&'static str),
    /// One key of the configuration more.
    Key(&'static str, &'static str),
}

/// What is the same on all rungs that do not say otherwise: the life of the documents, each socket
/// technique off, and each technique of io_uring.
const BASE: [&str; 19] = [
    // A peer that has to be waited for costs all rungs the same, and leaves nothing to the close.
    "server.lingering_close=false",
    "server.send_more=false",
    "server.defer_accept_s=0",
    "server.quick_ack=true",
    "epoll.shutdown=call",
    "io_uring.shutdown=ring",
    "io_uring.deferred_task_run=false",
    "io_uring.cooperative_task_run=false",
    "io_uring.multishot_accept=false",
    "io_uring.multishot_receive=false",
    "io_uring.provided_buffers=0",
    "io_uring.bundles=false",
    "io_uring.direct_descriptors=false",
    "io_uring.skip_success=false",
    "io_uring.linked_close=false",
    "io_uring.registered_ring=false",
    "io_uring.no_submission_queue_array=false",
    "io_uring.minimum_wait_us=0",
    "io_uring.submission_queue_polling=false",
];

const fn engine(name: &'static str, label: &'static str, adds: &'static str) -> Step {
    Step { label, adds, change: Change::Engine(name) }
}

const fn key(
    key: &'static str,
    value: &'static str,
    label: &'static str,
    adds: &'static str,
) -> Step {
    Step { label, adds, change: Change::Key(key, value) }
}

const SEND_MORE: Step = key(
    "server.send_more",
    "true",
    "+ send_more",
    "the end of the stream leaves in the segment of the answer's last bytes (MSG_MORE)",
);
const DEFER_ACCEPT: Step = key(
    "server.defer_accept_s",
    "1",
    "+ defer_accept",
    "a connection is there to be accepted when its first bytes are (TCP_DEFER_ACCEPT)",
);
const DELAYED_ACK: Step = key(
    "server.quick_ack",
    "false",
    "+ delayed acknowledgement",
    "the answer acknowledges the request, and no segment of its own does (TCP_QUICKACK)",
);

const EPOLL: [Step; 7] = [
    engine("epoll:level", "epoll:level", "the first of the documents"),
    engine("epoll:edge", "epoll:edge", "the second of the documents: edge triggered"),
    engine("epoll:tuned", "epoll:tuned", "no step is taken in vain"),
    key(
        "epoll.shutdown",
        "close",
        "+ shutdown by close",
        "no shutdown(2) where the close follows at once",
    ),
    SEND_MORE,
    DEFER_ACCEPT,
    DELAYED_ACK,
];

const IO_URING: [Step; 17] = [
    engine("io_uring:single_shot", "io_uring:single_shot", "one submission for each step"),
    engine("io_uring:tuned", "bare io_uring:tuned", "the tuned engine without its techniques"),
    key(
        "io_uring.shutdown",
        "call",
        "+ shutdown by call",
        "shutdown(2) in place of IORING_OP_SHUTDOWN and its worker thread",
    ),
    key(
        "io_uring.cooperative_task_run",
        "true",
        "+ cooperative_task_run",
        "completions do not interrupt the server",
    ),
    key(
        "io_uring.deferred_task_run",
        "true",
        "+ deferred_task_run",
        "completions are made when the server waits for them",
    ),
    key(
        "io_uring.multishot_accept",
        "true",
        "+ multishot_accept",
        "one ACCEPT brings all connections",
    ),
    key(
        "io_uring.provided_buffers",
        "1024",
        "+ provided_buffers",
        "receive buffers that all connections share",
    ),
    key(
        "io_uring.multishot_receive",
        "true",
        "+ multishot_receive",
        "one RECV for all of a persistent connection",
    ),
    key(
        "io_uring.shutdown",
        "close",
        "+ shutdown by close",
        "no shutdown(2) where the close follows at once",
    ),
    key(
        "io_uring.linked_close",
        "true",
        "+ linked_close",
        "the close is submitted with the answer, linked to it",
    ),
    key(
        "io_uring.skip_success",
        "true",
        "+ skip_success",
        "no completion for an answer whose close is linked to it",
    ),
    key(
        "io_uring.direct_descriptors",
        "true",
        "+ direct_descriptors",
        "connections are entries of the ring's own table",
    ),
    key(
        "io_uring.registered_ring",
        "true",
        "+ registered_ring",
        "the ring is not looked up as a descriptor",
    ),
    key(
        "io_uring.no_submission_queue_array",
        "true",
        "+ no_submission_queue_array",
        "no second array of indices",
    ),
    SEND_MORE,
    DEFER_ACCEPT,
    DELAYED_ACK,
];

impl Ladder {
    /// How it is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::IoUring => "io_uring",
        }
    }

    /// Its rungs, from the first on.
    pub const fn steps(self) -> &'static [Step] {
        match self {
            Self::Epoll => &EPOLL,
            Self::IoUring => &IO_URING,
        }
    }
}

/// The arms of a ladder: rung by rung what stands below it, and one step more.
///
/// # Errors
/// When `--set` leaves a rung nothing to add, and as [`arm::read`].
pub fn contestants(ladder: Ladder, common: &CommonSettings) -> Result<Vec<Contestant>, Failure> {
    let mut common = common.clone();
    // Before what was asked for, which so has the last word.
    common.set.splice(0..0, BASE.map(str::to_owned));
    let mut contestants = arm::read(&specs(ladder), &common)?;
    for (contestant, step) in contestants.iter_mut().zip(ladder.steps()) {
        step.label.clone_into(&mut contestant.description.label);
    }
    for pair in contestants.windows(2) {
        let [below, rung] = [&pair[0].description, &pair[1].description];
        if arm::differences(&[below.clone(), rung.clone()]).is_empty() {
            return Err(usage(format!(
                "--ladder {}: {} is not different from {} below it; leave to the ladder what it \
                 sets on its rungs",
                ladder.name(),
                rung.label,
                below.label
            )));
        }
    }
    Ok(contestants)
}

/// `io_uring:tuned,io_uring.shutdown=call,…`: a key that is set again has its last value.
fn specs(ladder: Ladder) -> Vec<String> {
    let mut engine = "";
    let mut keys: Vec<(&str, &str)> = Vec::new();
    let spec = |step: &Step| {
        match step.change {
            Change::Engine(name) => engine = name,
            Change::Key(key, value) => {
                keys.retain(|(other, _)| *other != key);
                keys.push((key, value));
            }
        }
        let keys: String = keys.iter().map(|(key, value)| format!(",{key}={value}")).collect();
        format!("{engine}{keys}")
    };
    ladder.steps().iter().map(spec).collect()
}

/// A ladder that is measured: what it is made of, and what of it is in force.
#[derive(Clone, Debug)]
pub struct Climb<'arms> {
    /// Which.
    pub ladder: Ladder,
    /// Its rungs, introduced.
    pub arms: &'arms [Arm],
    /// How each rung stands.
    pub presence: Vec<presence::Presence>,
}

impl<'arms> Climb<'arms> {
    /// Finds out what is in force of it, from what the servers say.
    pub fn new(ladder: Ladder, arms: &'arms [Arm]) -> Self {
        Self { ladder, arms, presence: presence::of(ladder, arms) }
    }

    /// The rung that a rung is held against: the nearest below it that is in force.
    pub fn below(&self, rung: usize) -> Option<usize> {
        (0..rung).rev().find(|&below| self.presence[below].missing.is_none())
    }
}

#[cfg(test)]
mod tests;
