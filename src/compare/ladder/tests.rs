use std::time::Duration;

use super::*;
use crate::compare::experiment::ExperimentPlan;
use crate::compare::metrics::{Contrast, all_metrics, primary_metric};
use crate::compare::synthetic;
use crate::compare::verdict::{AlphaBudget, Margins, decide};
use crate::result::{
    Comparison, Control, Experiment, GateKind, LadderStepResult, LoadDescription, MetricResult,
    Outcome, Round, StopReason, Verdict,
};

const LADDERS: [Ladder; 2] = [Ladder::Epoll, Ladder::IoUring];

fn with(set: &[&str]) -> CommonSettings {
    let set = set.iter().map(|&it| it.to_owned()).collect();
    CommonSettings { set, ..CommonSettings::default() }
}

/// Returns the arms as their servers report them on a kernel with all features.
fn arms(ladder: Ladder) -> Vec<Arm> {
    let prepared = prepare_arms(ladder, &with(&[])).unwrap();
    let mut arms: Vec<Arm> = prepared.into_iter().map(|it| it.description).collect();
    let mut features = Vec::new();
    for (arm, step) in arms.iter_mut().zip(ladder.steps()) {
        arm.engine = Some("as configured".to_owned());
        if let StepChange::Key(key, _) = &step.change {
            features.extend(key.strip_prefix("io_uring.").filter(|it| *it != "shutdown"));
        }
        if features.contains(&"defer_taskrun") {
            features.retain(|it| *it != "coop_taskrun");
        }
        arm.kernel_features = features.iter().map(|&it| it.to_owned()).collect();
    }
    arms
}

fn index_of(ladder: Ladder, label: &str) -> usize {
    ladder.steps().iter().position(|step| step.label == label).unwrap()
}

fn without(arms: &mut [Arm], technique: &str) {
    arms.iter_mut().for_each(|arm| arm.kernel_features.retain(|it| it != technique));
}

#[test]
fn each_step_changes_one_setting_of_the_previous_step() {
    for ladder in LADDERS {
        let arms = arms(ladder);
        for (pair, step) in arms.windows(2).zip(&ladder.steps()[1..]) {
            let differences = arm::differences(pair);
            let [difference] = &differences[..] else { panic!("{}: {differences:?}", step.label) };
            let value = difference.values[1].as_deref().unwrap();
            match &step.change {
                StepChange::Engine(name) => {
                    assert_eq!((difference.key.as_str(), value), ("backend", *name));
                }
                StepChange::Key(key, set) => {
                    assert_eq!((difference.key.as_str(), value), (*key, set.as_str()));
                }
            }
        }
    }
}

#[test]
fn ladder_ends_with_the_socket_techniques_on_the_tuned_engine() {
    for ladder in LADDERS {
        let arms = arms(ladder);
        let value = |arm: &Arm, key: &str| {
            arm.settings.iter().find(|it| it.key == key).unwrap().value.clone()
        };
        let last = arms.last().unwrap();
        for (key, first_value, last_value) in [
            ("server.send_more", "false", "true"),
            ("server.defer_accept_s", "0", "1"),
            ("server.lingering_close", "false", "false"),
        ] {
            assert_eq!(
                (value(&arms[0], key), value(last, key)),
                (first_value.into(), last_value.into())
            );
        }
        assert_eq!(value(last, "backend"), format!("{}:tuned", ladder.name()));
        assert_eq!(value(last, &format!("{}.shutdown", ladder.name())), "close");
    }
}

#[test]
fn setting_that_makes_two_steps_equal_is_refused() {
    let refused = prepare_arms(Ladder::IoUring, &with(&["server.send_more=true"])).unwrap_err();
    assert_eq!(refused.exit_code(), 2);
    assert!(refused.to_string().contains("+ send_more"), "{refused}");
    assert!(prepare_arms(Ladder::IoUring, &with(&["server.backlog=64"])).is_ok());
}

#[test]
fn all_techniques_are_in_force_on_a_kernel_with_all_features() {
    for ladder in LADDERS {
        let uses = technique_use::unused_reasons(ladder, &arms(ladder));
        assert!(uses.iter().all(Option::is_none), "{uses:?}");
    }
}

#[test]
fn only_the_step_of_a_missing_feature_is_unused() {
    let ladder = Ladder::IoUring;
    for (label, technique) in [
        ("+ multishot_accept", "multishot_accept"),
        ("+ defer_taskrun", "defer_taskrun"),
        ("+ provided_buffers", "provided_buffers"),
    ] {
        let mut arms = arms(ladder);
        without(&mut arms, technique);
        let uses = technique_use::unused_reasons(ladder, &arms);
        let unused: Vec<usize> = (0..arms.len()).filter(|&step| uses[step].is_some()).collect();
        assert_eq!(unused, [index_of(ladder, label)], "{uses:?}");
        assert!(uses[unused[0]].as_ref().unwrap().contains(technique));
    }
}

#[test]
fn shutdown_steps_without_effect_are_unused() {
    let ladder = Ladder::IoUring;
    let call = index_of(ladder, "+ shutdown by call");
    let mut arms = arms(ladder);
    let engine = "io_uring, tuned, shutdown(2) instead of IORING_OP_SHUTDOWN";
    arms[call - 1].engine = Some(engine.to_owned());
    let unused = technique_use::unused_reasons(ladder, &arms)[call].clone().unwrap();
    assert!(unused.contains("has no IORING_OP_SHUTDOWN"), "{unused}");

    for ladder in LADDERS {
        let prepared = prepare_arms(ladder, &with(&["server.lingering_close=true"])).unwrap();
        let lingering: Vec<Arm> = prepared.into_iter().map(|it| it.description).collect();
        let uses = technique_use::unused_reasons(ladder, &lingering);
        let close = index_of(ladder, "+ shutdown by close");
        assert!(uses[close].as_ref().unwrap().contains("lingering_close"));
    }
}

fn plan(claims: Vec<Contrast>) -> ExperimentPlan {
    ExperimentPlan {
        seed: 3,
        budget: Duration::ZERO,
        sharing_budget: 1,
        max_blocks: 8,
        confidence: 0.95,
        margins: Margins { negligible: 0.01, equivalence: 0.03 },
        load_levels: LOAD_LEVELS.to_vec(),
        rate: None,
        decide: None,
        requested: Vec::new(),
        claims,
    }
}

/// Returns rounds of arms with these costs in microseconds per request, almost equal in all blocks.
fn rounds(costs: &[u64]) -> Vec<Round> {
    let mut rounds = synthetic::rounds(costs.len(), 8);
    for round in &mut rounds {
        // A common factor of each block, and a small deviation of each round.
        let deviation = (round.block * 7 + round.arm * 3 + usize::from(round.control)) % 5;
        let factor = (100 + round.block as u64) * (1000 + deviation as u64);
        round.server.cpu_ns = round.requests * costs[round.arm] * factor / 100;
    }
    rounds
}

fn experiment_of(arms: &[Arm], rounds: Vec<Round>, plan: &ExperimentPlan) -> Experiment {
    let metrics = all_metrics(&plan.load_levels, &[]);
    let alpha = AlphaBudget::new(0.95, plan.claims.len(), metrics.len()).spend_until(1.0).unwrap();
    let results = |contrast: Contrast| -> Vec<MetricResult> {
        let of = |&at| {
            let is_primary = at == primary_metric(&plan.load_levels);
            let level = if is_primary { alpha.primary } else { alpha.other };
            decide(&rounds, at, contrast, is_primary, level, plan.margins, 1)
        };
        metrics.iter().map(of).collect()
    };
    let comparison = |candidate| Comparison {
        baseline: 0,
        candidate,
        metrics: results(Contrast::WithBaseline(candidate)),
        conclusion: String::new(),
        causes: Vec::new(),
    };
    Experiment {
        load: LoadDescription {
            name: "churn".to_owned(),
            description: String::new(),
            parameters: Vec::new(),
            server_settings: Vec::new(),
        },
        sweep: None,
        verified: Vec::new(),
        ladder: None,
        load_levels: Vec::new(),
        conclusion: String::new(),
        outcome: Outcome::Inconclusive,
        comparisons: (1..arms.len()).map(comparison).collect(),
        control: Control { metrics: results(Contrast::Control) },
        gates: Vec::new(),
        summaries: Vec::new(),
        rounds,
        interim_analyses: Vec::new(),
        stop_reason: StopReason::BudgetSpent,
        notes: Vec::new(),
    }
}

/// Returns the experiment of the epoll ladder with these costs, and these steps not in force.
fn analysed(costs: &[u64; 7], unused: &[usize]) -> Experiment {
    let arms = arms(Ladder::Epoll);
    let mut analysis = LadderAnalysis::new(Ladder::Epoll, &arms);
    for &step in unused {
        analysis.unused_reasons[step] = Some("a test".to_owned());
    }
    let plan = plan(analysis.claims());
    let mut experiment = experiment_of(&arms, rounds(costs), &plan);
    analysis.add_to(&mut experiment, &plan);
    experiment
}

fn ratios(
    of: impl Fn(&LadderStepResult) -> Option<&MetricResult>,
    experiment: &Experiment,
) -> Vec<f64> {
    let steps = &experiment.ladder.as_ref().unwrap().steps;
    let ratio = |step| of(step).map_or(f64::NAN, |it| it.ratio.unwrap());
    steps.iter().map(|step| (ratio(step) * 100.0).round() / 100.0).collect()
}

#[test]
fn effects_are_attributed_to_their_steps() {
    let experiment = analysed(&[40, 40, 20, 20, 10, 11, 11], &[]);
    let to_previous = ratios(|it| it.to_previous.as_ref(), &experiment);
    assert_eq!(to_previous[1..], [1.0, 0.5, 1.0, 0.5, 1.1, 1.0]);
    assert!(to_previous[0].is_nan(), "the first step has no previous step");
    let to_first = ratios(|it| it.to_first.as_ref(), &experiment);
    assert_eq!(to_first[1..], [1.0, 0.5, 0.5, 0.25, 0.28, 0.28]);
    let steps = &experiment.ladder.as_ref().unwrap().steps;
    let verdicts = steps[1..].iter().map(|it| it.to_previous.as_ref().unwrap().verdict);
    use Verdict::{Better, NoDifference, Worse};
    assert_eq!(
        verdicts.collect::<Vec<_>>(),
        [NoDifference, Better, NoDifference, Better, Worse, NoDifference]
    );
    assert!(
        steps.iter().all(|it| it.to_first.as_ref().unwrap().low.is_some()),
        "each has an interval"
    );
    assert_eq!(experiment.outcome, Outcome::Winner { arm: 6 });
    let conclusion = &experiment.conclusion;
    assert!(
        conclusion.contains("Improvements: epoll:tuned (50% less), send_more (50%"),
        "{conclusion}"
    );
    assert!(conclusion.contains("Regressions: defer_accept (10% more)"), "{conclusion}");
}

#[test]
fn unused_step_is_neither_compared_nor_a_previous_step() {
    let experiment = analysed(&[40, 40, 20, 20, 10, 10, 10], &[3]);
    let steps = &experiment.ladder.as_ref().unwrap().steps;
    assert_eq!(steps[3].unused_reason.as_deref(), Some("a test"));
    assert_eq!((&steps[3].to_first, &steps[3].to_previous), (&None, &None));
    assert_eq!(steps[4].previous, Some(2));
    assert_eq!(ratios(|it| it.to_previous.as_ref(), &experiment)[4], 0.5);
    let gate = &experiment.gates[0];
    assert_eq!((gate.kind, &gate.arms[..]), (GateKind::TechniqueNotInForce, &[3][..]));
    let metrics = &experiment.comparisons[2].metrics;
    assert!(metrics.iter().all(|it| it.verdict == Verdict::NotCompared));
    assert!(experiment.comparisons[3].metrics[0].verdict == Verdict::Better);
    assert!(experiment.conclusion.contains("Not in force: shutdown by close."));
}

#[test]
fn outcome_is_that_of_the_last_step_in_force() {
    let experiment = analysed(&[40, 40, 20, 20, 10, 10, 10], &[4, 5, 6]);
    assert_eq!(experiment.outcome, Outcome::Winner { arm: 3 });
    assert!(experiment.conclusion.contains(" to + shutdown by close: 50% less"));
}

#[test]
fn all_claims_share_the_error_budget() {
    let arms = arms(Ladder::Epoll);
    let mut analysis = LadderAnalysis::new(Ladder::Epoll, &arms);
    // Six with the first step, and five with the previous step, since one of these is the same.
    assert_eq!(analysis.claims().len(), 11);
    let share = |experiment: &Experiment| {
        let steps = &experiment.ladder.as_ref().unwrap().steps;
        let claim = |it: &Option<MetricResult>| 1.0 - it.as_ref().unwrap().confidence.unwrap();
        (claim(&steps[2].to_first), claim(&steps[2].to_previous))
    };
    let (to_first, to_previous) = share(&analysed(&[40, 40, 20, 20, 10, 10, 10], &[]));
    assert!((to_first - 0.04 / 11.0).abs() < 1e-9, "{to_first}");
    assert!((to_previous - to_first).abs() < 1e-12);
    analysis.unused_reasons[2] = Some("a test".to_owned());
    let claims = analysis.claims();
    assert_eq!(claims.len(), 9);
    assert!(claims.contains(&Contrast::new(3, 1)) && !claims.contains(&Contrast::WithBaseline(2)));
}

#[test]
fn first_step_has_no_technique() {
    for ladder in LADDERS {
        let first = &arms(ladder)[0];
        for technique in Techniques::ALL {
            let setting = first.settings.iter().find(|it| it.key == technique.qualified_key);
            let setting = setting.map(|it| format!("{}={}", it.key, it.value));
            assert_eq!(setting, Some(technique.setting(0)));
        }
    }
}
