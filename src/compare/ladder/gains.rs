//! From the rounds of an experiment to what each rung gains.
//!
//! A rung's gain over the one below is paired and judged as any arm is against the first: within
//! blocks, on a logarithmic scale. What may go wrong is shared out over all of these claims,
//! against the first and against the rung below alike, so that all hold together.

use super::{Climb, words};
use crate::compare::experiment::Rules;
use crate::compare::gates;
use crate::compare::judgement::judge;
use crate::compare::metrics::{Against, deciding_metric, median_of};
use crate::compare::words::at_point;
use crate::report::result::{
    Experiment, Gate, GateEffect, GateKind, Ladder, Metric, MetricAt, MetricResult, Outcome, Rung,
    Verdict,
};

/// What an interval may miss where there is none.
const NO_MISS: f64 = 1e-9;

impl Climb<'_> {
    /// All that is claimed of the metric that decides: each rung against the first, and against
    /// the one below where that is another.
    pub fn claims(&self) -> Vec<Against> {
        let in_force = (1..self.arms.len()).filter(|&rung| self.presence[rung].missing.is_none());
        in_force
            .flat_map(|rung| {
                let below = self.below(rung).filter(|&below| below > 0);
                let below = below.map(|below| Against::other(rung, below));
                [Some(Against::First(rung)), below].into_iter().flatten()
            })
            .collect()
    }

    /// Adds to an experiment of these arms what each rung gains, and says it.
    pub fn judge(&self, experiment: &mut Experiment, rules: &Rules) {
        let gates = self.gates();
        for comparison in &mut experiment.comparisons {
            gates::apply(&gates, &mut comparison.metrics, comparison.contender);
        }
        experiment.gates.extend(gates);
        experiment.notes.push(
            "a ladder is measured at a fixed rate alone, where all rungs do the same work"
                .to_owned(),
        );
        let metric = deciding_metric(&rules.points);
        let rungs: Vec<Rung> =
            (0..self.arms.len()).map(|rung| self.rung(experiment, rules, metric, rung)).collect();
        let invalid = experiment.outcome == Outcome::Invalid;
        let ladder = Ladder { name: self.ladder.name().to_owned(), metric, rungs };
        if !invalid {
            let place = at_point(metric.point, &experiment.working_points);
            experiment.sentence = words::sentence(self.arms, &ladder, &place, rules.confidence);
            experiment.outcome = outcome(&ladder);
        }
        experiment.ladder = Some(ladder);
    }

    fn gates(&self) -> Vec<Gate> {
        let gate = |(rung, reason): (usize, &String)| Gate {
            kind: GateKind::TechniqueNotInForce,
            effect: GateEffect::NotJudgeable,
            metrics: Vec::new(),
            arms: vec![rung],
            reason: format!("{} is not in force here: {reason}", self.arms[rung].label),
            remedy: "`ringpoll doctor`, which says what this kernel has".to_owned(),
        };
        let missing = self.presence.iter().enumerate();
        missing
            .filter_map(|(rung, it)| it.missing.as_ref().map(|why| (rung, why)))
            .map(gate)
            .collect()
    }

    fn rung(&self, experiment: &Experiment, rules: &Rules, at: MetricAt, rung: usize) -> Rung {
        let presence = &self.presence[rung];
        let value = median_of(&experiment.rounds, rung, at);
        let calls = MetricAt { metric: Metric::SystemCallsPerRequest, ..at };
        let mut described = Rung {
            arm: rung,
            adds: self.ladder.steps()[rung].adds.to_owned(),
            not_in_force: presence.missing.clone(),
            remark: presence.remark.clone(),
            value,
            system_calls_per_request: median_of(&experiment.rounds, rung, calls),
            to_first: None,
            below: None,
            to_below: None,
        };
        if presence.missing.is_some() {
            return described;
        }
        described.below = self.below(rung);
        described.to_first = to_first(experiment, at, rung).cloned();
        described.to_below = described.below.map(|below| match below {
            0 => described.to_first.clone().expect("each arm is held against the first"),
            _ => to_below(experiment, rules, at, (rung, below)),
        });
        described
    }
}

/// A rung against the first, as the experiment has judged it; the first against itself.
fn to_first(experiment: &Experiment, at: MetricAt, rung: usize) -> Option<&MetricResult> {
    let metrics = match rung {
        0 => &experiment.control.metrics,
        _ => &experiment.comparisons.iter().find(|it| it.contender == rung)?.metrics,
    };
    metrics.iter().find(|it| (it.metric, it.point) == (at.metric, at.point))
}

fn to_below(
    experiment: &Experiment,
    rules: &Rules,
    at: MetricAt,
    (rung, below): (usize, usize),
) -> MetricResult {
    // Every claim has the same share of what may go wrong.
    let confidence = to_first(experiment, at, rung).and_then(|it| it.confidence);
    let miss = confidence.map_or(NO_MISS, |confidence| 1.0 - confidence);
    let against = Against::other(rung, below);
    let seed = rules.seed.wrapping_add(rung as u64);
    let result = judge(&experiment.rounds, at, against, true, miss, rules.margins, seed);
    let mut results = [result];
    gates::apply(&experiment.gates, &mut results, rung);
    gates::apply(&experiment.gates, &mut results, below);
    let [result] = results;
    result
}

/// The last rung against the first.
fn outcome(ladder: &Ladder) -> Outcome {
    let last = words::last(ladder);
    match last.to_first.as_ref().map(|it| it.verdict) {
        Some(Verdict::Better) => Outcome::Winner { arm: last.arm },
        Some(Verdict::Worse) => Outcome::Winner { arm: ladder.rungs[0].arm },
        Some(Verdict::NoDifference) => Outcome::NoDifference,
        _ => Outcome::Inconclusive,
    }
}
