//! `--ladder epoll` and `--ladder io_uring`: an incremental ablation from the engine of the
//! reference program to the tuned engine. Each step adds one technique to the previous step.
//!
//! Each step is an arm. It is compared with the previous step, for the effect of its technique, and
//! with the first step, for the cumulative effect.
//!
//! 1. This module: the steps. [`technique_use`]: techniques that are not in force.
//! 2. [`analysis`]: from the rounds of an experiment to the effect of each step.
//! 3. `sentence`: the conclusion.

pub mod analysis;
mod sentence;
pub mod technique_use;

use std::sync::LazyLock;

use clap::ValueEnum;
use ringpoll_backends::Techniques;

use super::arm::{self, CommonSettings, PreparedArm, usage};
use crate::failure::Failure;
use crate::result::{Arm, LoadLevel};

/// The load level of a ladder. CPU per request is compared where all steps do the same work;
/// saturation as well would double the time.
pub const LOAD_LEVELS: [LoadLevel; 1] = [LoadLevel::FixedRate];

/// A ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ladder {
    /// From epoll:level and epoll:edge to epoll:tuned.
    Epoll,
    /// From io_uring:single_shot to io_uring:tuned.
    #[value(name = "io_uring", alias = "io-uring")]
    IoUring,
}

/// A step of a ladder.
#[derive(Clone, Debug)]
pub struct LadderStep {
    /// The label of its arm.
    pub label: String,
    /// A description of the technique that it adds.
    pub adds: &'static str,
    change: StepChange,
}

#[derive(Clone, Debug)]
enum StepChange {
    /// A different engine.
    Engine(&'static str),
    /// A configuration key and its value.
    Key(&'static str, String),
}

/// The settings of the first step: the connection lifecycle of the reference programs, without any
/// optional technique of sockets. All techniques of io_uring are off as well.
const BASE_SETTINGS: [&str; 6] = [
    // Lingering costs the same at each step, and would exclude `shutdown = "close"`.
    "server.lingering_close=false",
    "server.send_more=false",
    "server.defer_accept_s=0",
    "server.quick_ack=true",
    "epoll.shutdown=call",
    "io_uring.shutdown=ring",
];

fn engine(name: &'static str, label: &str, adds: &'static str) -> LadderStep {
    LadderStep { label: label.to_owned(), adds, change: StepChange::Engine(name) }
}

fn key(key: &'static str, value: &str, label: &str, adds: &'static str) -> LadderStep {
    let change = StepChange::Key(key, value.to_owned());
    LadderStep { label: format!("+ {label}"), adds, change }
}

/// Returns the steps of the techniques of io_uring.
fn technique_steps() -> impl Iterator<Item = LadderStep> {
    Techniques::ALL.iter().filter_map(|it| {
        let setting = it.setting(it.enabled);
        let (_, value) = setting.split_once('=')?;
        it.ladder_step.map(|adds| key(it.qualified_key, value, it.key, adds))
    })
}

fn socket_steps() -> [LadderStep; 3] {
    [
        key(
            "server.send_more",
            "true",
            "send_more",
            "the FIN is sent in the last segment of the response (MSG_MORE)",
        ),
        key(
            "server.defer_accept_s",
            "1",
            "defer_accept",
            "a connection can be accepted once its first bytes have arrived (TCP_DEFER_ACCEPT)",
        ),
        key(
            "server.quick_ack",
            "false",
            "delayed acknowledgement",
            "the response carries the acknowledgement of the request (TCP_QUICKACK off)",
        ),
    ]
}

fn shutdown_by_close(key_name: &'static str) -> LadderStep {
    let adds = "no shutdown(2) directly before close(2)";
    key(key_name, "close", "shutdown by close", adds)
}

static EPOLL: LazyLock<Vec<LadderStep>> = LazyLock::new(|| {
    let engines = [
        engine("epoll:level", "epoll:level", "the first reference program: level-triggered"),
        engine("epoll:edge", "epoll:edge", "the second reference program: edge-triggered"),
        engine("epoll:tuned", "epoll:tuned", "no system call that can be avoided"),
    ];
    engines.into_iter().chain([shutdown_by_close("epoll.shutdown")]).chain(socket_steps()).collect()
});

static IO_URING: LazyLock<Vec<LadderStep>> = LazyLock::new(|| {
    let name = "io_uring:single_shot";
    let engines = [
        engine(name, name, "one single-shot SQE for each operation"),
        engine("io_uring:tuned", "bare io_uring:tuned", "the tuned engine without its techniques"),
        key(
            "io_uring.shutdown",
            "call",
            "shutdown by call",
            "shutdown(2) instead of IORING_OP_SHUTDOWN, which runs in a worker thread",
        ),
    ];
    engines
        .into_iter()
        .chain(technique_steps())
        .chain([shutdown_by_close("io_uring.shutdown")])
        .chain(socket_steps())
        .collect()
});

impl Ladder {
    /// Returns its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::IoUring => "io_uring",
        }
    }

    /// Returns its steps.
    pub fn steps(self) -> &'static [LadderStep] {
        match self {
            Self::Epoll => &EPOLL,
            Self::IoUring => &IO_URING,
        }
    }
}

/// Prepares the arm of each step.
///
/// # Errors
/// Returns a usage failure if `--set` makes two steps equal, or if an arm is invalid.
pub fn prepare_arms(ladder: Ladder, common: &CommonSettings) -> Result<Vec<PreparedArm>, Failure> {
    let mut common = common.clone();
    // The last value of a key counts, so `--set` overrides these.
    let off = Techniques::ALL.iter().map(|it| it.setting(0));
    let base = BASE_SETTINGS.map(str::to_owned).into_iter().chain(off);
    common.set.splice(0..0, base);
    let mut arms = arm::parse_arms(&specs(ladder), &[], &common)?;
    for (arm, step) in arms.iter_mut().zip(ladder.steps()) {
        arm.description.label.clone_from(&step.label);
    }
    for pair in arms.windows(2) {
        let [previous, step] = [&pair[0].description, &pair[1].description];
        if arm::differences(&[previous.clone(), step.clone()]).is_empty() {
            return Err(usage(format!(
                "--ladder {}: step {} does not differ from {}, because --set or the configuration \
                 fixes a key of the ladder. Remove that setting.",
                ladder.name(),
                step.label,
                previous.label
            )));
        }
    }
    Ok(arms)
}

/// Returns the arms as text: `io_uring:tuned,io_uring.shutdown=call,…`.
fn specs(ladder: Ladder) -> Vec<String> {
    let mut engine = "";
    let mut keys: Vec<(&str, &str)> = Vec::new();
    let spec = |step: &'static LadderStep| {
        match &step.change {
            StepChange::Engine(name) => engine = name,
            StepChange::Key(key, value) => {
                keys.retain(|(other, _)| other != key);
                keys.push((key, value));
            }
        }
        let keys: String = keys.iter().map(|(key, value)| format!(",{key}={value}")).collect();
        format!("{engine}{keys}")
    };
    ladder.steps().iter().map(spec).collect()
}

/// The analysis of a measured ladder.
#[derive(Clone, Debug)]
pub struct LadderAnalysis<'arms> {
    /// The ladder.
    pub ladder: Ladder,
    /// The arms of its steps, with the kernel features that their servers report.
    pub arms: &'arms [Arm],
    /// For each step, the reason if its technique is not in force.
    pub unused_reasons: Vec<Option<String>>,
}

impl<'arms> LadderAnalysis<'arms> {
    /// Determines which techniques are in force, from the reports of the servers.
    pub fn new(ladder: Ladder, arms: &'arms [Arm]) -> Self {
        Self { ladder, arms, unused_reasons: technique_use::unused_reasons(ladder, arms) }
    }

    /// Returns the nearest previous step whose technique is in force.
    pub fn previous(&self, step: usize) -> Option<usize> {
        (0..step).rev().find(|&previous| self.unused_reasons[previous].is_none())
    }
}

#[cfg(test)]
mod tests;
