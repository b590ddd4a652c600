//! From the rounds of an experiment to the effect of each step.
//!
//! A step is compared with the previous step as any arm is with the first: paired within blocks, on
//! the logarithmic scale. All of these claims share the error budget, so that they hold
//! simultaneously.

use super::{LadderAnalysis, sentence};
use crate::compare::experiment::ExperimentPlan;
use crate::compare::explanation::at_load_level;
use crate::compare::gates;
use crate::compare::metrics::{Contrast, arm_median, primary_metric};
use crate::compare::verdict::decide;
use crate::result::{
    Experiment, Gate, GateEffect, GateKind, LadderResult, LadderStepResult, Metric, MetricAt,
    MetricResult, Outcome, Verdict,
};

/// The alpha of a claim without an interval.
const ALPHA_WITHOUT_INTERVAL: f64 = 1e-9;

impl LadderAnalysis<'_> {
    /// Returns the contrasts tested with the primary metric: each step in force with the first
    /// step, and with the previous step unless that is the first.
    pub fn claims(&self) -> Vec<Contrast> {
        let in_force = (1..self.arms.len()).filter(|&step| self.unused_reasons[step].is_none());
        in_force
            .flat_map(|step| {
                let previous = self.previous(step).filter(|&previous| previous > 0);
                let previous = previous.map(|previous| Contrast::new(step, previous));
                [Some(Contrast::WithBaseline(step)), previous].into_iter().flatten()
            })
            .collect()
    }

    /// Adds the effects of the steps, the conclusion and the gates of the ladder to an experiment.
    pub fn add_to(&self, experiment: &mut Experiment, plan: &ExperimentPlan) {
        let gates = self.gates();
        for comparison in &mut experiment.comparisons {
            gates::apply(&gates, &mut comparison.metrics, comparison.candidate);
        }
        experiment.gates.extend(gates);
        experiment.notes.push(
            "A ladder is measured at the fixed rate only, where all steps do the same work."
                .to_owned(),
        );
        let metric = primary_metric(&plan.load_levels);
        let steps: Vec<LadderStepResult> =
            (0..self.arms.len()).map(|step| self.step(experiment, plan, metric, step)).collect();
        let invalid = experiment.outcome == Outcome::Invalid;
        let ladder = LadderResult { name: self.ladder.name().to_owned(), metric, steps };
        if !invalid {
            let load_level = at_load_level(metric.load_level, &experiment.load_levels);
            experiment.conclusion =
                sentence::conclusion(self.arms, &ladder, &load_level, plan.confidence);
            experiment.outcome = outcome(&ladder);
        }
        experiment.ladder = Some(ladder);
    }

    fn gates(&self) -> Vec<Gate> {
        let gate = |(step, reason): (usize, &String)| Gate {
            arms: vec![step],
            reason: format!("{} is not in force: {reason}.", self.arms[step].label),
            remedy: "Run `ringpoll doctor`, which lists what this kernel supports.".to_owned(),
            ..Gate::new(GateKind::TechniqueNotInForce, GateEffect::NotCompared)
        };
        let reasons = self.unused_reasons.iter().enumerate();
        reasons.filter_map(|(step, reason)| Some((step, reason.as_ref()?))).map(gate).collect()
    }

    fn step(
        &self,
        experiment: &Experiment,
        plan: &ExperimentPlan,
        at: MetricAt,
        step: usize,
    ) -> LadderStepResult {
        let value = arm_median(&experiment.rounds, step, at);
        let calls = MetricAt { metric: Metric::SystemCallsPerRequest, ..at };
        let mut described = LadderStepResult {
            arm: step,
            adds: self.ladder.steps()[step].adds.to_owned(),
            unused_reason: self.unused_reasons[step].clone(),
            value,
            system_calls_per_request: arm_median(&experiment.rounds, step, calls),
            to_first: None,
            previous: None,
            to_previous: None,
        };
        if described.unused_reason.is_some() {
            return described;
        }
        described.previous = self.previous(step);
        described.to_first = to_first(experiment, at, step).cloned();
        described.to_previous = described.previous.map(|previous| match previous {
            0 => described.to_first.clone().expect("each arm is compared with the first"),
            _ => compare_to_previous(experiment, plan, at, (step, previous)),
        });
        described
    }
}

/// Returns the result of a step compared with the first; for the first step, that of the control.
fn to_first(experiment: &Experiment, at: MetricAt, step: usize) -> Option<&MetricResult> {
    let metrics = match step {
        0 => &experiment.control.metrics,
        _ => &experiment.comparisons.iter().find(|it| it.candidate == step)?.metrics,
    };
    metrics.iter().find(|it| it.at() == at)
}

fn compare_to_previous(
    experiment: &Experiment,
    plan: &ExperimentPlan,
    at: MetricAt,
    (step, previous): (usize, usize),
) -> MetricResult {
    // All claims have the same share of the error budget.
    let confidence = to_first(experiment, at, step).and_then(|it| it.confidence);
    let alpha = confidence.map_or(ALPHA_WITHOUT_INTERVAL, |confidence| 1.0 - confidence);
    let contrast = Contrast::new(step, previous);
    let seed = plan.seed.wrapping_add(step as u64);
    let result = decide(&experiment.rounds, at, contrast, true, alpha, plan.margins, seed);
    let mut results = [result];
    gates::apply(&experiment.gates, &mut results, step);
    gates::apply(&experiment.gates, &mut results, previous);
    let [result] = results;
    result
}

/// Determines the outcome: the last step in force compared with the first.
fn outcome(ladder: &LadderResult) -> Outcome {
    let last = sentence::last_in_force(ladder);
    match last.to_first.as_ref().map(|it| it.verdict) {
        Some(Verdict::Better) => Outcome::Winner { arm: last.arm },
        Some(Verdict::Worse) => Outcome::Winner { arm: ladder.steps[0].arm },
        Some(Verdict::NoDifference) => Outcome::NoDifference,
        _ => Outcome::Inconclusive,
    }
}
