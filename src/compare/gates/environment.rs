//! Gates about the machine: other load, shared cores, stolen and throttled CPU time.

use clap::ValueEnum;

use super::{Evidence, Gate, GateEffect, GateKind, percent};
use crate::compare::statistics::paired::{mean, median};
use crate::result::{Metric, Round};

/// Steal time above which throughput and latency are not compared.
const STEAL_THRESHOLD: f64 = 0.02;
/// Steal time above which an experiment is invalid.
const INVALID_STEAL_THRESHOLD: f64 = 0.10;
/// Throttled time above which an experiment is invalid.
const THROTTLED_THRESHOLD: f64 = 0.01;
/// Other load on the server's CPUs above which there is a warning.
const OTHER_LOAD_THRESHOLD: f64 = 0.05;

/// Wall-clock metrics depend on both server and client if these share a core.
pub(super) fn shared_core(evidence: &Evidence) -> Option<Gate> {
    if !evidence.placement.shares_core {
        return None;
    }
    Some(Gate {
        metrics: evidence.where_measured(&wall_clock_metrics()),
        reason: "Server and client share a CPU core, so throughput and latency were not compared."
            .to_owned(),
        remedy: format!(
            "Try --server-cpus and --client-cpus with different cores. {} is still valid.",
            evidence.cost()
        ),
        ..Gate::new(GateKind::SharedCore, GateEffect::NotCompared)
    })
}

/// A hypervisor that runs other guests changes wall-clock times.
pub(super) fn cpu_steal(evidence: &Evidence) -> Option<Gate> {
    let shares: Vec<f64> = evidence.rounds.iter().map(|round| round.machine.steal_share).collect();
    if shares.is_empty() || mean(&shares) <= STEAL_THRESHOLD {
        return None;
    }
    let stolen = mean(&shares);
    let invalid = stolen > INVALID_STEAL_THRESHOLD;
    let consequence = if invalid { "" } else { ", so throughput and latency were not compared" };
    Some(Gate {
        metrics: if invalid { Vec::new() } else { evidence.where_measured(&wall_clock_metrics()) },
        reason: format!(
            "The hypervisor stole {} of the CPU time{consequence}.",
            percent(stolen, 1)
        ),
        remedy: "Try again later, or use a machine with dedicated CPUs.".to_owned(),
        ..Gate::new(
            GateKind::CpuSteal,
            if invalid { GateEffect::Invalid } else { GateEffect::NotCompared },
        )
    })
}

/// A cgroup that used up its CPU quota stops server or client.
pub(super) fn cpu_throttled(evidence: &Evidence) -> Option<Gate> {
    let throttled: u64 = evidence.rounds.iter().map(|round| round.machine.throttled_ns).sum();
    let duration: u64 = evidence.rounds.iter().map(|round| round.duration_ns).sum();
    let share = throttled as f64 / duration.max(1) as f64;
    if share <= THROTTLED_THRESHOLD {
        return None;
    }
    Some(Gate {
        reason: format!("The cgroup was throttled for {} of the time.", percent(share, 1)),
        remedy: "Try a cgroup without a CPU quota (cpu.max), or a container with a higher CPU \
                 limit."
            .to_owned(),
        ..Gate::new(GateKind::CpuThrottled, GateEffect::Invalid)
    })
}

/// Other load on the server's CPUs widens the intervals, but affects paired rounds alike.
pub(super) fn other_load_on_server_cpus(evidence: &Evidence) -> Option<Gate> {
    let other =
        median(evidence.rounds.iter().map(|round: &Round| round.machine.server_cpus_other_share));
    let other = other.filter(|&other| other > OTHER_LOAD_THRESHOLD)?;
    Some(Gate {
        reason: format!(
            "Other programs and interrupts used {} of the server's CPUs, which widens the \
             intervals.",
            percent(other, 0)
        ),
        remedy: "Stop them, or choose other CPUs with --server-cpus.".to_owned(),
        ..Gate::new(GateKind::OtherLoadOnServerCpus, GateEffect::Warning)
    })
}

pub(super) fn not_optimised(evidence: &Evidence) -> Option<Gate> {
    if evidence.optimised {
        return None;
    }
    Some(Gate {
        reason: "ringpoll was built without optimisation, so the results are not \
                 representative."
            .to_owned(),
        remedy: "Build it with `cargo build --release`.".to_owned(),
        ..Gate::new(GateKind::NotOptimised, GateEffect::Warning)
    })
}

pub(super) fn wall_clock_metrics() -> Vec<Metric> {
    let is_throughput = |it: Metric| matches!(it, Metric::Throughput | Metric::BytesThroughput);
    let is_timed = |it: &Metric| is_throughput(*it) || it.quantile().is_some();
    Metric::value_variants().iter().copied().filter(is_timed).collect()
}
