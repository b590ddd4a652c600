use std::time::Duration;

use super::presence::Presence;
use super::*;
use crate::compare::experiment::Rules;
use crate::compare::judgement::{Allowances, Margins, judge};
use crate::compare::metrics::{Against, all_metrics, deciding_metric};
use crate::compare::synthetic;
use crate::report::result::{
    Comparison, Control, Ended, Experiment, GateKind, LoadDescription, MetricResult, Outcome,
    Round, Rung, Verdict,
};

const LADDERS: [Ladder; 2] = [Ladder::Epoll, Ladder::IoUring];

fn with(set: &[&str]) -> CommonSettings {
    let set = set.iter().map(|&it| it.to_owned()).collect();
    CommonSettings { set, ..CommonSettings::default() }
}

/// The arms, as their servers would describe them on a kernel that has everything.
fn arms(ladder: Ladder) -> Vec<Arm> {
    let contestants = contestants(ladder, &with(&[])).unwrap();
    let mut arms: Vec<Arm> = contestants.into_iter().map(|it| it.description).collect();
    let mut features = Vec::new();
    for (arm, step) in arms.iter_mut().zip(ladder.steps()) {
        arm.engine = Some("as asked for".to_owned());
        if let Change::Key(key, _) = step.change {
            features.extend(key.strip_prefix("io_uring.").filter(|it| *it != "shutdown"));
        }
        if features.contains(&"deferred_task_run") {
            features.retain(|it| *it != "cooperative_task_run");
        }
        arm.kernel_features = features.iter().map(|&it| it.to_owned()).collect();
    }
    arms
}

fn rung(ladder: Ladder, label: &str) -> usize {
    ladder.steps().iter().position(|step| step.label == label).unwrap()
}

fn without(arms: &mut [Arm], technique: &str) {
    arms.iter_mut().for_each(|arm| arm.kernel_features.retain(|it| it != technique));
}

#[test]
fn each_rung_differs_from_the_one_below_by_what_it_adds_and_nothing_else() {
    for ladder in LADDERS {
        let arms = arms(ladder);
        for (pair, step) in arms.windows(2).zip(&ladder.steps()[1..]) {
            let differences = arm::differences(pair);
            let [difference] = &differences[..] else { panic!("{}: {differences:?}", step.label) };
            let value = difference.values[1].as_deref().unwrap();
            match step.change {
                Change::Engine(name) => {
                    assert_eq!((difference.key.as_str(), value), ("backend", name))
                }
                Change::Key(key, set) => assert_eq!((difference.key.as_str(), value), (key, set)),
            }
        }
    }
}

#[test]
fn a_ladder_begins_at_a_mirror_and_the_socket_techniques_end_it() {
    for ladder in LADDERS {
        let arms = arms(ladder);
        let value = |arm: &Arm, key: &str| {
            arm.settings.iter().find(|it| it.key == key).unwrap().value.clone()
        };
        let last = arms.last().unwrap();
        for (key, first_has, last_has) in [
            ("server.send_more", "false", "true"),
            ("server.defer_accept_s", "0", "1"),
            ("server.lingering_close", "false", "false"),
        ] {
            assert_eq!(
                (value(&arms[0], key), value(last, key)),
                (first_has.into(), last_has.into())
            );
        }
        assert_eq!(value(last, "backend"), format!("{}:tuned", ladder.name()));
        assert_eq!(value(last, &format!("{}.shutdown", ladder.name())), "close");
    }
}

#[test]
fn what_leaves_a_rung_nothing_to_add_is_refused() {
    let refused = contestants(Ladder::IoUring, &with(&["server.send_more=true"])).unwrap_err();
    assert_eq!(refused.exit_code(), 2);
    assert!(refused.to_string().contains("+ send_more"), "{refused}");
    assert!(contestants(Ladder::IoUring, &with(&["server.backlog=64"])).is_ok());
}

#[test]
fn on_a_kernel_that_has_everything_every_rung_is_in_force() {
    for ladder in LADDERS {
        let presence = presence::of(ladder, &arms(ladder));
        assert!(presence.iter().all(|it| *it == Presence::default()), "{presence:?}");
    }
}

#[test]
fn a_rung_whose_technique_is_not_there_is_missing_and_no_other() {
    let ladder = Ladder::IoUring;
    for (label, technique) in [
        ("+ multishot_accept", "multishot_accept"),
        ("+ deferred_task_run", "deferred_task_run"),
        ("+ provided_buffers", "provided_buffers"),
        ("+ direct_descriptors", "direct_descriptors"),
    ] {
        let mut arms = arms(ladder);
        without(&mut arms, technique);
        let presence = presence::of(ladder, &arms);
        let missing: Vec<usize> =
            (0..arms.len()).filter(|&rung| presence[rung].missing.is_some()).collect();
        assert_eq!(missing, [rung(ladder, label)], "{presence:?}");
        assert!(presence[missing[0]].missing.as_ref().unwrap().contains(technique));
    }
}

#[test]
fn who_shuts_down_is_found_out_too() {
    let ladder = Ladder::IoUring;
    let call = rung(ladder, "+ shutdown by call");
    let mut arms = arms(ladder);
    let words = "io_uring, tuned, shutdown(2) in place of IORING_OP_SHUTDOWN";
    arms[call - 1].engine = Some(words.to_owned());
    let missing = presence::of(ladder, &arms)[call].missing.clone().unwrap();
    assert!(missing.contains("cannot shut down"), "{missing}");

    for ladder in LADDERS {
        let contestants = contestants(ladder, &with(&["server.lingering_close=true"])).unwrap();
        let lingering: Vec<Arm> = contestants.into_iter().map(|it| it.description).collect();
        let presence = presence::of(ladder, &lingering);
        let close = rung(ladder, "+ shutdown by close");
        assert!(presence[close].missing.as_ref().unwrap().contains("lingering_close"));
    }
}

#[test]
fn what_a_rung_takes_away_is_said() {
    let ladder = Ladder::IoUring;
    let mut arms = arms(ladder);
    let direct = rung(ladder, "+ direct_descriptors");
    without(&mut arms[direct..], "multishot_accept");
    let presence = presence::of(ladder, &arms);
    let remark = presence[direct].remark.as_ref().unwrap();
    assert!(remark.contains("multishot_accept is not in force"), "{remark}");
    assert_eq!(presence.iter().filter(|it| it.remark.is_some()).count(), 1);
}

fn rules(claims: Vec<Against>) -> Rules {
    Rules {
        seed: 3,
        budget: Duration::ZERO,
        most_blocks: 8,
        confidence: 0.95,
        margins: Margins { negligible: 0.01, equivalence: 0.03 },
        points: POINTS.to_vec(),
        rate: None,
        claims,
    }
}

/// Rounds of arms with these costs, in microseconds a request, nearly the same in every block.
fn rounds(costs: &[u64]) -> Vec<Round> {
    let mut rounds = synthetic::rounds(costs.len(), 8);
    for round in &mut rounds {
        // What slows a block slows all of it, and something is each round's own.
        let own = (round.block * 7 + round.arm * 3 + usize::from(round.control)) % 5;
        let factor = (100 + round.block as u64) * (1000 + own as u64);
        round.server.cpu_ns = round.requests * costs[round.arm] * factor / 100;
    }
    rounds
}

fn judged(arms: &[Arm], rounds: Vec<Round>, rules: &Rules) -> Experiment {
    let metrics = all_metrics(&rules.points);
    let allowance = Allowances::new(0.95, rules.claims.len(), metrics.len()).look(1.0).unwrap();
    let results = |against: Against| -> Vec<MetricResult> {
        let of = |&at| {
            let decides = at == deciding_metric(&rules.points);
            let miss = if decides { allowance.deciding } else { allowance.other };
            judge(&rounds, at, against, decides, miss, rules.margins, 1)
        };
        metrics.iter().map(of).collect()
    };
    let comparison = |contender| Comparison {
        baseline: 0,
        contender,
        metrics: results(Against::First(contender)),
        sentence: String::new(),
        why: Vec::new(),
    };
    Experiment {
        load: LoadDescription {
            name: "churn".to_owned(),
            text: String::new(),
            parameters: Vec::new(),
            server_settings: Vec::new(),
        },
        sweep: None,
        ladder: None,
        working_points: Vec::new(),
        sentence: String::new(),
        outcome: Outcome::Inconclusive,
        comparisons: (1..arms.len()).map(comparison).collect(),
        control: Control { metrics: results(Against::Itself) },
        gates: Vec::new(),
        summaries: Vec::new(),
        rounds,
        looks: Vec::new(),
        ended: Ended::BudgetSpent,
        notes: Vec::new(),
    }
}

/// The ladder of epoll with these costs, and these rungs not in force.
fn climbed(costs: &[u64; 7], missing: &[usize]) -> Experiment {
    let arms = arms(Ladder::Epoll);
    let mut climb = Climb::new(Ladder::Epoll, &arms);
    for &rung in missing {
        climb.presence[rung].missing = Some("a test".to_owned());
    }
    let rules = rules(climb.claims());
    let mut experiment = judged(&arms, rounds(costs), &rules);
    climb.judge(&mut experiment, &rules);
    experiment
}

fn ratios(of: impl Fn(&Rung) -> Option<&MetricResult>, experiment: &Experiment) -> Vec<f64> {
    let rungs = &experiment.ladder.as_ref().unwrap().rungs;
    let ratio = |rung| of(rung).map_or(f64::NAN, |it| it.ratio.unwrap());
    rungs.iter().map(|rung| (ratio(rung) * 100.0).round() / 100.0).collect()
}

#[test]
fn each_gain_is_given_to_the_rung_that_makes_it() {
    let experiment = climbed(&[40, 40, 20, 20, 10, 11, 11], &[]);
    let to_below = ratios(|it| it.to_below.as_ref(), &experiment);
    assert_eq!(to_below[1..], [1.0, 0.5, 1.0, 0.5, 1.1, 1.0]);
    assert!(to_below[0].is_nan(), "nothing stands below the first");
    let to_first = ratios(|it| it.to_first.as_ref(), &experiment);
    assert_eq!(to_first[1..], [1.0, 0.5, 0.5, 0.25, 0.28, 0.28]);
    let rungs = &experiment.ladder.as_ref().unwrap().rungs;
    let verdicts = rungs[1..].iter().map(|it| it.to_below.as_ref().unwrap().verdict);
    use Verdict::{Better, NoDifference, Worse};
    assert_eq!(
        verdicts.collect::<Vec<_>>(),
        [NoDifference, Better, NoDifference, Better, Worse, NoDifference]
    );
    assert!(rungs.iter().all(|it| it.to_first.as_ref().unwrap().low.is_some()), "an interval each");
    assert_eq!(experiment.outcome, Outcome::Winner { arm: 6 });
    let sentence = &experiment.sentence;
    assert!(
        sentence.contains("shown to gain: epoll:tuned (50 % less), send_more (50 %"),
        "{sentence}"
    );
    assert!(sentence.contains("shown to cost: defer_accept (10 % more)"), "{sentence}");
}

#[test]
fn a_rung_that_is_not_in_force_is_not_judged_and_nothing_is_held_against_it() {
    let experiment = climbed(&[40, 40, 20, 20, 10, 10, 10], &[3]);
    let rungs = &experiment.ladder.as_ref().unwrap().rungs;
    assert_eq!(rungs[3].not_in_force.as_deref(), Some("a test"));
    assert_eq!((&rungs[3].to_first, &rungs[3].to_below), (&None, &None));
    assert_eq!(rungs[4].below, Some(2));
    assert_eq!(ratios(|it| it.to_below.as_ref(), &experiment)[4], 0.5);
    let gate = &experiment.gates[0];
    assert_eq!((gate.kind, &gate.arms[..]), (GateKind::TechniqueNotInForce, &[3][..]));
    let metrics = &experiment.comparisons[2].metrics;
    assert!(metrics.iter().all(|it| it.verdict == Verdict::NotJudgeable));
    assert!(experiment.comparisons[3].metrics[0].verdict == Verdict::Better);
    assert!(experiment.sentence.contains("Not in force here: shutdown by close."));
}

#[test]
fn the_last_rung_that_is_in_force_is_where_one_has_come() {
    let experiment = climbed(&[40, 40, 20, 20, 10, 10, 10], &[4, 5, 6]);
    assert_eq!(experiment.outcome, Outcome::Winner { arm: 3 });
    assert!(experiment.sentence.contains("up to + shutdown by close: 50 % less"));
}

#[test]
fn all_that_is_claimed_shares_what_may_go_wrong() {
    let arms = arms(Ladder::Epoll);
    let mut climb = Climb::new(Ladder::Epoll, &arms);
    // Six against the first; five more against the rung below, since the first of those is both.
    assert_eq!(climb.claims().len(), 11);
    let share = |experiment: &Experiment| {
        let rungs = &experiment.ladder.as_ref().unwrap().rungs;
        let claim = |it: &Option<MetricResult>| 1.0 - it.as_ref().unwrap().confidence.unwrap();
        (claim(&rungs[2].to_first), claim(&rungs[2].to_below))
    };
    let (to_first, to_below) = share(&climbed(&[40, 40, 20, 20, 10, 10, 10], &[]));
    assert!((to_first - 0.04 / 11.0).abs() < 1e-9, "{to_first}");
    assert!((to_below - to_first).abs() < 1e-12);
    climb.presence[2].missing = Some("a test".to_owned());
    let claims = climb.claims();
    assert_eq!(claims.len(), 9);
    assert!(claims.contains(&Against::other(3, 1)) && !claims.contains(&Against::First(2)));
}
