//! What makes an experiment, or a metric of it, not to be judged.
//!
//! Each rule is a function of the evidence; it says what was seen and which flag to try. None of
//! them looks at which arm would win by it.

mod client;
mod server;
mod surroundings;

use super::metrics::{metrics_at, rounds_of};
use super::statistics::paired::median;
use crate::report::result::{
    Arm, Gate, GateEffect, GateKind, Metric, MetricAt, MetricResult, Placement, Point, Round,
    Verdict, WorkingPoint,
};

/// All that the rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'run> {
    /// Those that are compared.
    pub arms: &'run [Arm],
    /// Where server and client ran.
    pub placement: &'run Placement,
    /// Whether this program was built with optimisation.
    pub optimised: bool,
    /// The working points.
    pub points: &'run [WorkingPoint],
    /// Every round.
    pub rounds: &'run [Round],
    /// The first arm against itself.
    pub control: &'run [MetricResult],
}

impl Evidence<'_> {
    /// The median of something over the rounds of an arm at a point.
    fn median(&self, arm: usize, point: Point, of: impl Fn(&Round) -> f64) -> Option<f64> {
        median(rounds_of(self.rounds, arm, point).map(of))
    }

    /// The sum of something over all rounds of an arm.
    fn sum(&self, arm: usize, of: impl Fn(&Round) -> u64) -> u64 {
        self.rounds.iter().filter(|round| round.arm == arm).map(of).sum()
    }

    /// The arms for which something holds.
    fn arms_where(&self, holds: impl Fn(usize) -> bool) -> Vec<usize> {
        (0..self.arms.len()).filter(|&arm| holds(arm)).collect()
    }

    /// `epoll:level and io_uring:single_shot`.
    fn names(&self, arms: &[usize]) -> String {
        arms.iter().map(|&arm| self.arms[arm].label.as_str()).collect::<Vec<_>>().join(" and ")
    }

    fn has(&self, point: Point) -> bool {
        self.points.iter().any(|it| it.point == point)
    }

    /// These metrics, wherever they are measured.
    fn wherever(&self, metrics: &[Metric]) -> Vec<MetricAt> {
        let measured = |point: Point, metric: &Metric| metrics_at(point).contains(metric);
        let points = self.points.iter().map(|it| it.point);
        points
            .flat_map(|point| {
                let here = metrics.iter().filter(move |metric| measured(point, metric));
                here.map(move |&metric| MetricAt { metric, point })
            })
            .collect()
    }
}

/// Everything that speaks against judging.
pub fn gates(evidence: &Evidence) -> Vec<Gate> {
    let rules: &[fn(&Evidence) -> Vec<Gate>] = &[
        server::wrong_engine,
        server::wrong_bytes,
        server::connections_refused,
        server::requests_failed,
        server::connections_not_kept,
        server::completions_overflowed,
        server::buffers_ran_out,
        client::server_not_saturated,
        client::rate_not_kept,
        surroundings::shared_core,
        surroundings::cpu_stolen,
        surroundings::cpu_throttled,
        surroundings::others_on_the_cores,
        surroundings::not_optimised,
        control_differs,
    ];
    rules.iter().flat_map(|rule| rule(evidence)).collect()
}

/// The same server twice should be the same server.
fn control_differs(evidence: &Evidence) -> Vec<Gate> {
    let differs = |it: &&MetricResult| matches!(it.verdict, Verdict::Better | Verdict::Worse);
    let gate = |result: &MetricResult| {
        let (ratio, low, high) = (result.ratio?, result.low?, result.high?);
        Some(Gate {
            kind: GateKind::ControlDiffers,
            effect: GateEffect::NotJudgeable,
            metrics: vec![MetricAt { metric: result.metric, point: result.point }],
            arms: Vec::new(),
            reason: format!(
                "{} of {} differs from itself: ratio {ratio:.3}, between {low:.3} and {high:.3}",
                result.metric.words(),
                evidence.arms[0].label,
            ),
            remedy: "the machine is too restless for this metric: run it again with a larger \
                     --budget, or with fewer other programs running"
                .to_owned(),
        })
    };
    evidence.control.iter().filter(differs).filter_map(gate).collect()
}

/// Marks what the gates forbid. Returns whether the whole experiment is invalid.
pub fn apply(gates: &[Gate], results: &mut [MetricResult], contender: usize) -> bool {
    for gate in gates.iter().filter(|gate| gate.effect != GateEffect::Warning) {
        let concerns_arm =
            gate.arms.is_empty() || gate.arms.contains(&0) || gate.arms.contains(&contender);
        let concerned = results.iter_mut().filter(|result| {
            let at = MetricAt { metric: result.metric, point: result.point };
            gate.metrics.is_empty() || gate.metrics.contains(&at)
        });
        for result in concerned.filter(|_| concerns_arm) {
            result.verdict = Verdict::NotJudgeable;
            result.no_difference_larger_than = None;
            result.reason.get_or_insert_with(|| gate.reason.clone());
        }
    }
    gates.iter().any(|gate| gate.effect == GateEffect::Invalid)
}

#[cfg(test)]
mod tests;
