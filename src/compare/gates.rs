//! Gates: conditions under which an experiment, or a metric of it, is not valid.
//!
//! Each gate is a function of the evidence. It reports the symptom and advises what to try. A gate
//! must not depend on which arm is better.

mod client;
mod environment;
mod server;

pub(super) use self::client::reaches_rate;
use super::metrics::rounds_of;
use super::statistics::paired::median;
use crate::result::{
    Arm, CpuPlacement, Gate, GateEffect, GateKind, LoadLevel, LoadLevelResult, Metric, MetricAt,
    MetricResult, Round, Verdict,
};

/// The input of all gates.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'run> {
    /// The compared servers.
    pub arms: &'run [Arm],
    /// The CPUs of server and client.
    pub placement: &'run CpuPlacement,
    /// Set if this program was built with optimisation.
    pub optimised: bool,
    /// The measured load levels.
    pub load_levels: &'run [LoadLevelResult],
    /// All rounds.
    pub rounds: &'run [Round],
    /// The first arm compared with its control.
    pub control: &'run [MetricResult],
}

impl Evidence<'_> {
    /// Returns the median of a value over the rounds of an arm at a load level.
    fn median(
        &self,
        arm: usize,
        load_level: LoadLevel,
        value: impl Fn(&Round) -> f64,
    ) -> Option<f64> {
        median(rounds_of(self.rounds, arm, load_level).map(value))
    }

    /// Returns the sum of a value over all rounds of an arm.
    fn sum(&self, arm: usize, value: impl Fn(&Round) -> u64) -> u64 {
        self.rounds.iter().filter(|round| round.arm == arm).map(value).sum()
    }

    /// Returns the arms that meet a condition; `None` if none does.
    fn arms_where(&self, condition: impl Fn(usize) -> bool) -> Option<Vec<usize>> {
        let arms: Vec<usize> = (0..self.arms.len()).filter(|&arm| condition(arm)).collect();
        (!arms.is_empty()).then_some(arms)
    }

    /// Formats labels: `epoll:level and io_uring:single_shot`.
    fn names(&self, arms: &[usize]) -> String {
        arms.iter().map(|&arm| self.arms[arm].label.as_str()).collect::<Vec<_>>().join(" and ")
    }

    /// Returns these metrics at each load level that measures them.
    fn where_measured(&self, metrics: &[Metric]) -> Vec<MetricAt> {
        let measured = self.control.iter().filter(|it| metrics.contains(&it.metric));
        measured.map(MetricResult::at).collect()
    }

    /// Returns all metrics of a load level.
    fn at_load_level(&self, load_level: LoadLevel) -> Vec<MetricAt> {
        let measured = self.control.iter().map(MetricResult::at);
        measured.filter(|at| at.load_level == load_level).collect()
    }

    /// Returns the label of the CPU cost, the first metric of every load.
    fn cost(&self) -> &'static str {
        self.control.first().map_or(Metric::CpuPerRequest, |it| it.metric).label()
    }
}

impl Gate {
    /// Returns a gate for all arms and metrics, without its reason and remedy.
    pub(super) fn new(kind: GateKind, effect: GateEffect) -> Self {
        let (metrics, arms) = (Vec::new(), Vec::new());
        Self { kind, effect, metrics, arms, reason: String::new(), remedy: String::new() }
    }
}

/// Applies all gates to the evidence.
pub fn gates(evidence: &Evidence) -> Vec<Gate> {
    let gates: &[fn(&Evidence) -> Option<Gate>] = &[
        server::wrong_bytes,
        server::connections_refused,
        server::requests_failed,
        server::connections_closed_by_server,
        server::completion_queue_overflow,
        server::out_of_buffers,
        server::io_wq_workers,
        server::batch_limits_differ,
        server::not_quiet,
        client::server_not_saturated,
        client::rate_not_reached,
        environment::shared_core,
        environment::cpu_steal,
        environment::cpu_throttled,
        environment::other_load_on_server_cpus,
        environment::not_optimised,
    ];
    let mut failed = server::wrong_engine(evidence);
    failed.extend(gates.iter().filter_map(|gate| gate(evidence)));
    failed.extend(control_differs(evidence));
    failed
}

/// Two copies of one server must not differ.
fn control_differs(evidence: &Evidence) -> Vec<Gate> {
    let differs = |it: &&MetricResult| matches!(it.verdict, Verdict::Better | Verdict::Worse);
    let gate = |result: &MetricResult| {
        let (ratio, low, high) = (result.ratio?, result.low?, result.high?);
        Some(Gate {
            metrics: vec![result.at()],
            reason: format!(
                "Two copies of {} differ in {} (ratio {ratio:.3}, {low:.3} to {high:.3}): the \
                 machine is too noisy for this metric.",
                evidence.arms[0].label,
                result.metric.label(),
            ),
            remedy: "Try a larger --budget, or stop other programs.".to_owned(),
            ..Gate::new(GateKind::ControlDiffers, GateEffect::NotCompared)
        })
    };
    evidence.control.iter().filter(differs).filter_map(gate).collect()
}

/// Marks the results that the gates exclude. Returns whether the whole experiment is invalid.
pub fn apply(gates: &[Gate], results: &mut [MetricResult], candidate: usize) -> bool {
    for gate in gates.iter().filter(|gate| gate.effect != GateEffect::Warning) {
        let concerns_arm =
            gate.arms.is_empty() || gate.arms.contains(&0) || gate.arms.contains(&candidate);
        let concerned = results
            .iter_mut()
            .filter(|result| gate.metrics.is_empty() || gate.metrics.contains(&result.at()));
        for result in concerned.filter(|_| concerns_arm) {
            result.verdict = Verdict::NotCompared;
            result.no_difference_larger_than = None;
            result.reason.get_or_insert_with(|| gate.reason.clone());
        }
    }
    gates.iter().any(|gate| gate.effect == GateEffect::Invalid)
}

fn percent(share: f64, digits: usize) -> String {
    format!("{:.digits$}%", share * 100.0)
}

#[cfg(test)]
mod tests;
