//! `--ladder`: from the mirror of the documents to the tuned engine.

use std::process::Command;

use ringpoll::compare::ladder::Ladder;
use ringpoll::report::result::{ComparisonResult, GateKind, Point, Rung, Verdict};
use ringpoll_backends::Variant;
use serde_json::Value;

use crate::common::engine;
use crate::program::{Compared, Comparison};

fn ladder(name: &str) -> Comparison {
    Comparison::of(&[]).with(["--ladder", name, "--rate", "400", "--connections", "8"])
}

fn rungs(result: &ComparisonResult) -> &[Rung] {
    &result.experiments[0].ladder.as_ref().expect("a ladder").rungs
}

/// What `ringpoll report` makes of it, and that it obeys the schema.
fn check_told_again(compared: &Compared, result: &ComparisonResult) {
    let schema = Command::new(env!("CARGO_BIN_EXE_ringpoll")).args(["report", "--schema"]).output();
    let schema: Value = serde_json::from_slice(&schema.unwrap().stdout).unwrap();
    let value = serde_json::to_value(result).unwrap();
    let complaints: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(complaints, [""; 0]);
    assert!(compared.shown().starts_with(&result.sentence), "{}", compared.shown());

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), value.to_string()).unwrap();
    let mut report = Command::new(env!("CARGO_BIN_EXE_ringpoll"));
    let page = report.arg("report").arg(file.path()).args(["--html", "-"]).output().unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.contains("class=\"plot ladder\""), "a picture");
    for arm in &result.arms {
        assert!(page.contains(&format!(">{}</text>", arm.label)), "{}", arm.label);
    }
}

#[test]
fn the_ladder_of_epoll_has_an_interval_for_each_rung() {
    let compared = ladder("epoll").run();
    let result = compared.result();
    let rungs = rungs(&result);
    let labels: Vec<&str> = result.arms.iter().map(|it| it.label.as_str()).collect();
    let steps: Vec<&str> = Ladder::Epoll.steps().iter().map(|it| it.label).collect();
    assert_eq!(labels, steps);
    for (index, rung) in rungs.iter().enumerate() {
        assert_eq!((rung.arm, &rung.not_in_force), (index, &None));
        assert_eq!(rung.below, index.checked_sub(1));
        for result in [&rung.to_first, &rung.to_below].into_iter().flatten() {
            assert!(result.low.unwrap() <= result.ratio.unwrap(), "{rung:?}");
            assert!(result.ratio.unwrap() <= result.high.unwrap(), "{rung:?}");
        }
        assert!(rung.to_first.is_some() && rung.to_below.is_some() == (index > 0));
    }
    let experiment = &result.experiments[0];
    assert!(experiment.rounds.iter().all(|it| it.point == Point::FixedRate));
    // Each rung does what it is called, up to the last.
    let by_close = labels.iter().position(|it| *it == "+ shutdown by close").unwrap();
    for round in &experiment.rounds {
        let counters = round.counters.as_ref().unwrap();
        let shut = counters.system_calls.get("shutdown").copied().unwrap_or(0);
        assert_eq!(shut * 2 < counters.answered, round.arm >= by_close, "{round:?}");
    }
    check_told_again(&compared, &result);
}

#[test]
fn the_ladder_of_io_uring_says_which_rungs_are_not_in_force() {
    // With a lingering close somebody has to tell the peer, whatever the kernel has.
    let test = "the_ladder_of_io_uring_says_which_rungs_are_not_in_force";
    if !engine(test, Variant::IoUringTuned) {
        return;
    }
    let compared = ladder("io_uring").with(["--set", "server.lingering_close=true"]).run();
    let result = compared.result();
    assert_eq!(result.arms.len(), Ladder::IoUring.steps().len());
    let experiment = &result.experiments[0];
    let by_close = result.arms.iter().position(|it| it.label == "+ shutdown by close").unwrap();
    for (index, rung) in rungs(&result).iter().enumerate() {
        let told = &result.arms[index].kernel_features;
        let technique = result.arms[index].label.trim_start_matches("+ ").to_owned();
        let is_technique = result
            .arms
            .last()
            .unwrap()
            .settings
            .iter()
            .any(|it| it.key == format!("io_uring.{technique}"));
        let expected = index != by_close && (!is_technique || told.contains(&technique));
        let called = result.arms[1].engine.as_ref().unwrap().contains("in place of");
        let expected = expected && !(called && technique == "shutdown by call");
        assert_eq!(rung.not_in_force.is_none(), expected, "{technique}: {rung:?}");
        assert_eq!(rung.to_first.is_some(), expected, "{technique}: {rung:?}");
        assert_ne!(rung.below, Some(by_close));
    }
    let absent = &experiment.gates.iter().find(|it| it.arms == [by_close]).unwrap();
    assert_eq!(absent.kind, GateKind::TechniqueNotInForce);
    let metrics = &experiment.comparisons[by_close - 1].metrics;
    assert!(metrics.iter().all(|it| it.verdict == Verdict::NotJudgeable));
    assert!(compared.shown().contains("not in force here"), "{}", compared.shown());
    check_told_again(&compared, &result);
}

#[test]
fn arms_and_a_ladder_exclude_each_other() {
    let compared = Comparison::of(&["epoll:level"]).with(["--ladder", "epoll"]).run();
    assert_eq!(compared.exit_code(), 2, "{}", compared.said());
    let compared = ladder("kqueue").run();
    assert_eq!(compared.exit_code(), 2, "{}", compared.said());
    let compared = ladder("epoll").with(["--set", "server.defer_accept_s=1"]).run();
    assert_eq!(compared.exit_code(), 2, "{}", compared.said());
    assert!(compared.said().contains("+ defer_accept is not different"), "{}", compared.said());
}
