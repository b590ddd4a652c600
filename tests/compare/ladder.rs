//! `--ladder`: from the engine of the reference program to the tuned engine.

use std::process::Command;

use ringpoll::compare::ladder::Ladder;
use ringpoll::result::{ComparisonResult, GateKind, LadderStepResult, LoadLevel, Verdict};
use ringpoll_backends::Variant;
use serde_json::Value;

use crate::program::{Comparison, Finished};
use common::engine_is_available;

fn ladder(name: &str) -> Comparison {
    Comparison::churn(&[]).with(["--ladder", name, "--rate", "400", "--connections", "8"])
}

fn steps(result: &ComparisonResult) -> &[LadderStepResult] {
    &result.experiments[0].ladder.as_ref().expect("a ladder").steps
}

/// Checks the result against the schema, and that `ringpoll report` draws the ladder.
fn check_report_and_schema(finished: &Finished, result: &ComparisonResult) {
    let schema = Command::new(env!("CARGO_BIN_EXE_ringpoll")).args(["report", "--schema"]).output();
    let schema: Value = serde_json::from_slice(&schema.unwrap().stdout).unwrap();
    let value = serde_json::to_value(result).unwrap();
    let errors: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0]);
    assert!(finished.stdout().starts_with(&result.conclusion), "{}", finished.stdout());

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), value.to_string()).unwrap();
    let mut report = Command::new(env!("CARGO_BIN_EXE_ringpoll"));
    let page = report.arg("report").arg(file.path()).args(["--html", "-"]).output().unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.contains("class=\"plot ladder\""), "a plot of the ladder");
    for arm in &result.arms {
        assert!(page.contains(&format!(">{}</text>", arm.label)), "{}", arm.label);
    }
}

#[test]
fn epoll_ladder_has_an_interval_for_each_step() {
    let finished = ladder("epoll").run();
    let result = finished.result();
    let step_results = steps(&result);
    let labels: Vec<&str> = result.arms.iter().map(|it| it.label.as_str()).collect();
    let steps: Vec<&str> = Ladder::Epoll.steps().iter().map(|it| it.label.as_str()).collect();
    assert_eq!(labels, steps);
    for (index, step) in step_results.iter().enumerate() {
        assert_eq!((step.arm, &step.unused_reason), (index, &None));
        assert_eq!(step.previous, index.checked_sub(1));
        for result in [&step.to_first, &step.to_previous].into_iter().flatten() {
            assert!(result.low.unwrap() <= result.ratio.unwrap(), "{step:?}");
            assert!(result.ratio.unwrap() <= result.high.unwrap(), "{step:?}");
        }
        assert!(step.to_first.is_some() && step.to_previous.is_some() == (index > 0));
    }
    let experiment = &result.experiments[0];
    assert!(experiment.rounds.iter().all(|it| it.load_level == LoadLevel::FixedRate));
    // From this step on, servers call shutdown(2) for few connections.
    let by_close = labels.iter().position(|it| *it == "+ shutdown by close").unwrap();
    for round in &experiment.rounds {
        let counters = round.counters.as_ref().unwrap();
        let shut = counters.system_calls.get("shutdown").copied().unwrap_or(0);
        assert_eq!(shut * 2 < counters.responses, round.arm >= by_close, "{round:?}");
    }
    check_report_and_schema(&finished, &result);
}

#[test]
fn io_uring_ladder_reports_techniques_that_are_not_in_force() {
    // A lingering close needs shutdown(2) on any kernel.
    let test = "io_uring_ladder_reports_techniques_that_are_not_in_force";
    if !engine_is_available(test, Variant::IoUringTuned) {
        return;
    }
    let finished = ladder("io_uring").with(["--set", "server.lingering_close=true"]).run();
    let result = finished.result();
    assert_eq!(result.arms.len(), Ladder::IoUring.steps().len());
    let experiment = &result.experiments[0];
    let by_close = result.arms.iter().position(|it| it.label == "+ shutdown by close").unwrap();
    for (index, step) in steps(&result).iter().enumerate() {
        let features = &result.arms[index].kernel_features;
        let technique = result.arms[index].label.trim_start_matches("+ ").to_owned();
        let is_technique = result
            .arms
            .last()
            .unwrap()
            .settings
            .iter()
            .any(|it| it.key == format!("io_uring.{technique}"));
        let expected = index != by_close && (!is_technique || features.contains(&technique));
        let calls_shutdown = result.arms[1].engine.as_ref().unwrap().contains("instead of");
        let expected = expected && !(calls_shutdown && technique == "shutdown by call");
        assert_eq!(step.unused_reason.is_none(), expected, "{technique}: {step:?}");
        assert_eq!(step.to_first.is_some(), expected, "{technique}: {step:?}");
        assert_ne!(step.previous, Some(by_close));
    }
    let gate = &experiment.gates.iter().find(|it| it.arms == [by_close]).unwrap();
    assert_eq!(gate.kind, GateKind::TechniqueNotInForce);
    let metrics = &experiment.comparisons[by_close - 1].metrics;
    assert!(metrics.iter().all(|it| it.verdict == Verdict::NotCompared));
    assert!(finished.stdout().contains("not in force"), "{}", finished.stdout());
    check_report_and_schema(&finished, &result);
}

#[test]
fn invalid_ladder_arguments_are_refused() {
    let finished = Comparison::churn(&["epoll:level"]).with(["--ladder", "epoll"]).run();
    assert_eq!(finished.exit_code(), 2, "{}", finished.stderr());
    let finished = ladder("kqueue").run();
    assert_eq!(finished.exit_code(), 2, "{}", finished.stderr());
    let finished = ladder("epoll").with(["--set", "server.defer_accept_s=1"]).run();
    assert_eq!(finished.exit_code(), 2, "{}", finished.stderr());
    assert!(finished.stderr().contains("+ defer_accept does not differ"), "{}", finished.stderr());
}
