//! Rules about the machine around the experiment.

use super::{Evidence, Gate, GateEffect, GateKind};
use crate::compare::statistics::paired::{mean, median};
use crate::report::result::{Metric, Round};

/// Stolen time above which times of day mean little: throughput and latency.
const STOLEN_BEARABLE: f64 = 0.02;
/// Stolen time above which nothing means much.
const STOLEN_TOO_MUCH: f64 = 0.10;
/// Throttled time above which an experiment is invalid.
const THROTTLED_BEARABLE: f64 = 0.01;
/// How much of the server's processors others may have before it is said.
const OTHERS_BEARABLE: f64 = 0.05;

/// What runs on a clock is everybody's when server and client take turns.
pub(super) fn shared_core(evidence: &Evidence) -> Vec<Gate> {
    if !evidence.placement.shared {
        return Vec::new();
    }
    vec![Gate {
        kind: GateKind::SharedCore,
        effect: GateEffect::NotJudgeable,
        metrics: evidence.wherever(&clocked()),
        arms: Vec::new(),
        reason: evidence.placement.reason.clone(),
        remedy: "--server-cpus and --client-cpus on cores of their own; CPU per request can be \
                 judged all the same"
            .to_owned(),
    }]
}

/// A hypervisor that runs somebody else meanwhile.
pub(super) fn cpu_stolen(evidence: &Evidence) -> Vec<Gate> {
    let shares: Vec<f64> = evidence.rounds.iter().map(|round| round.machine.stolen).collect();
    if shares.is_empty() || mean(&shares) <= STOLEN_BEARABLE {
        return Vec::new();
    }
    let stolen = mean(&shares);
    let too_much = stolen > STOLEN_TOO_MUCH;
    vec![Gate {
        kind: GateKind::CpuStolen,
        effect: if too_much { GateEffect::Invalid } else { GateEffect::NotJudgeable },
        metrics: if too_much { Vec::new() } else { evidence.wherever(&clocked()) },
        arms: Vec::new(),
        reason: format!("the hypervisor kept {:.1} % of the processors' time", stolen * 100.0),
        remedy: "another time of day, or a machine whose processors are its own".to_owned(),
    }]
}

/// A control group whose quota was used up.
pub(super) fn cpu_throttled(evidence: &Evidence) -> Vec<Gate> {
    let throttled: u64 = evidence.rounds.iter().map(|round| round.machine.throttled_ns).sum();
    let all: u64 = evidence.rounds.iter().map(|round| round.duration_ns).sum();
    let share = throttled as f64 / all.max(1) as f64;
    if share <= THROTTLED_BEARABLE {
        return Vec::new();
    }
    vec![Gate {
        kind: GateKind::CpuThrottled,
        effect: GateEffect::Invalid,
        metrics: Vec::new(),
        arms: Vec::new(),
        reason: format!("the control group was throttled for {:.1} % of the time", share * 100.0),
        remedy: "a control group without a quota (cpu.max), or a container with a higher limit"
            .to_owned(),
    }]
}

/// Others on the server's processors: paired rounds bear it, and intervals grow by it.
pub(super) fn others_on_the_cores(evidence: &Evidence) -> Vec<Gate> {
    let others =
        median(evidence.rounds.iter().map(|round: &Round| round.machine.server_cpus_others));
    let Some(others) = others.filter(|&others| others > OTHERS_BEARABLE) else {
        return Vec::new();
    };
    vec![Gate {
        kind: GateKind::OthersOnTheCores,
        effect: GateEffect::Warning,
        metrics: Vec::new(),
        arms: Vec::new(),
        reason: format!(
            "other programs and interrupts used {:.0} % of the server's processors",
            others * 100.0
        ),
        remedy: "stop them, or choose other processors with --server-cpus".to_owned(),
    }]
}

/// The figures of a debug build are those of a debug build.
pub(super) fn not_optimised(evidence: &Evidence) -> Vec<Gate> {
    if evidence.optimised {
        return Vec::new();
    }
    vec![Gate {
        kind: GateKind::NotOptimised,
        effect: GateEffect::Warning,
        metrics: Vec::new(),
        arms: Vec::new(),
        reason: "this program was built without optimisation".to_owned(),
        remedy: "cargo build --release".to_owned(),
    }]
}

/// What is measured by the clock on the wall, and not by a processor's own.
fn clocked() -> [Metric; 3] {
    [Metric::Throughput, Metric::LatencyP50, Metric::LatencyP99]
}
