//! The content of a result, and the outputs and exit codes of the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use ringpoll::compare::kernel_counters::probe_hardware_counters;
use ringpoll::compare::schedule::{Batch, Instance, Schedule};
use ringpoll::compare::summary::decode_histogram;
use ringpoll::result::{ArmKind, GateKind, LoadLevel, Metric, Outcome, SCHEMA_VERSION, Verdict};

use crate::program::Comparison;
use crate::test_server;

/// Returns an arm that runs ringpoll as another program.
fn other_program() -> String {
    let program = env!("CARGO_BIN_EXE_ringpoll");
    format!("command:'{program}' serve --backend epoll:level --listen 127.0.0.1:{{port}}")
}

#[test]
fn result_is_complete() {
    let finished = Comparison::churn(&["epoll:level", "epoll:edge,backlog=1024"])
        .with(["--seed", "77", "--rate", "500", "--connections", "8"])
        .run();
    let result = finished.result();
    assert!(finished.stdout().starts_with(&result.conclusion), "{}", finished.stdout());
    assert_eq!((result.schema_version, result.method.seed), (SCHEMA_VERSION, 77));
    assert!(!result.environment.kernel_release.is_empty());
    assert!(result.command_line.iter().any(|word| word == "epoll:level"));

    let differing: Vec<_> = result.differences.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(differing, ["backend", "server.backlog"]);
    for arm in &result.arms {
        let printing = arm.settings.iter().find(|it| it.key == "server.print_requests").unwrap();
        assert_eq!(printing.value, "false");
        assert!(arm.engine.as_ref().unwrap().starts_with("epoll, "), "{:?}", arm.engine);
    }

    let [experiment] = &result.experiments[..] else { panic!("one experiment") };
    let offered = &experiment.load_levels[0];
    assert_eq!(
        (offered.load_level, offered.requests_per_second),
        (LoadLevel::FixedRate, Some(500.0))
    );
    // Instructions and cycles at each load level, where the CPU counts them.
    let metrics = if probe_hardware_counters().is_ok() { 13 } else { 9 };
    assert_eq!(experiment.comparisons[0].metrics.len(), metrics);
    assert_eq!(experiment.control.metrics.len(), metrics);
    assert_eq!(experiment.summaries.len(), 4);
    assert_eq!(experiment.interim_analyses.last().unwrap().information_fraction, 1.0);
    assert_eq!(experiment.rounds.len() % 6, 0);
    for round in &experiment.rounds {
        assert!(round.requests > 0 && round.server.cpu_ns > 0, "{round:?}");
        let counters = round.counters.as_ref().expect("a report of a ringpoll server");
        assert!(counters.responses >= round.requests, "{round:?}");
        assert!(counters.system_calls["accept4"] >= round.requests);
        assert_eq!(decode_histogram(&round.latency.corrected).unwrap().len(), round.requests);
    }
}

#[test]
fn instructions_decide_or_the_reason_is_named() {
    let arms = ["epoll:level", "epoll:edge"];
    let finished =
        Comparison::churn(&arms).with(["--rate", "300", "--decide", "instructions"]).run();
    let missing = "instructions_per_request is not available: ";
    if let Err(reason) = probe_hardware_counters() {
        assert_eq!(finished.exit_code(), 2, "{}", finished.stderr());
        assert!(finished.stderr().contains(&format!("{missing}{reason}")), "{}", finished.stderr());
        let result = Comparison::churn(&arms).with(["--rate", "300"]).run().result();
        let expected = format!("Instructions and cycles per request are not available: {reason}.");
        assert!(result.experiments[0].notes.contains(&expected));
        return;
    }
    let result = finished.result();
    let primary = result.experiments[0].comparisons[0].metrics.iter().find(|it| it.is_primary);
    let primary = primary.expect("a primary metric");
    assert_eq!(primary.metric, Metric::InstructionsPerRequest);
    assert!(primary.baseline > Some(1000.0), "{primary:?}");
}

/// A round has as many requests as its duration at this rate, however few a slice has.
#[test]
fn low_rate_is_reached_exactly() {
    for (load, parameters, rate, requests) in [
        ("churn", [].as_slice(), "50", 20),
        ("churn", &[], "130", 51),
        ("pipelined", &["--depth", "16"], "300", 128),
        ("churn", &["--burst", "50", "--burst-pause-ms", "5"], "2000", 800),
    ] {
        let comparison = Comparison::under_loads(&["epoll:level", "epoll:edge"], load);
        let comparison = comparison.with(parameters);
        let comparison = comparison.with(["--blocks", "1", "--rate", rate, "--round", "400ms"]);
        for round in &comparison.run().result().experiments[0].rounds {
            if round.load_level == LoadLevel::FixedRate {
                assert_eq!(round.requests, requests, "{rate}: {round:?}");
            }
        }
    }
}

#[test]
fn arm_without_success_is_named_in_a_note() {
    let missing = test_server::arm("missing");
    let finished = Comparison::churn(&["epoll:level", &missing]).with(["--rate", "300"]).run();
    let result = finished.result();
    let notes = &result.experiments[0].notes;
    let expected = "env: The response is `HTTP/1.0 404 Not Found`, which is not a success";
    assert_eq!(notes.iter().filter(|it| it.starts_with(expected)).count(), 1, "{notes:?}");
}

#[test]
fn hdr_log_has_the_latencies_of_every_round() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("compare.hlog");
    let finished = Comparison::under_loads(&["epoll:level", "epoll:edge"], "churn,keep-alive")
        .with(["--rate", "500", "--connections", "8", "--hdr-log", file.to_str().unwrap()])
        .run();
    let result = finished.result();
    let log = fs::read_to_string(&file).unwrap();
    let tags: Vec<&str> = log
        .lines()
        .filter_map(|line| line.strip_prefix("Tag=")?.split_once(',').map(|it| it.0))
        .collect();
    let rounds = result.experiments.iter().map(|it| it.rounds.len()).sum::<usize>();
    assert_eq!(tags.len(), rounds, "{log}");
    let blocks = rounds / 12;
    for (tag, count) in [
        ("churn%20epoll:level@fixed_rate", blocks),
        ("churn%20epoll:level%20control@saturation", blocks),
        ("keep-alive%20epoll:edge@saturation", blocks),
        ("keep-alive%20epoll:edge%20control@saturation", 0),
    ] {
        assert_eq!(tags.iter().filter(|&&it| it == tag).count(), count, "{tag}: {log}");
    }
    let report = |path: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringpoll"));
        command.arg("report").arg(path).args(["--hdr-log", "-"]);
        command.output().expect("the program starts")
    };
    assert_eq!(String::from_utf8(report(finished.json()).stdout).unwrap(), log);
    let mut compact = result;
    compact.remove_rounds();
    let path = directory.path().join("compact.json");
    fs::write(&path, serde_json::to_vec(&compact).unwrap()).unwrap();
    let refused = report(&path);
    assert_eq!(refused.status.code(), Some(2));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("has no rounds"), "{message}");
}

#[test]
fn seed_determines_the_order() {
    // A round of 60 ms has two slices at the fixed rate.
    let finished = Comparison::churn(&["epoll:level", "epoll:edge"])
        .with(["--seed", "5", "--round", "60ms", "--warm-up", "20ms"])
        .run();
    let result = finished.result();
    let rounds = &result.experiments[0].rounds;
    let measured: Vec<_> = rounds
        .iter()
        .map(|it| (it.load_level, it.slices, Instance { arm: it.arm, control: it.control }))
        .collect();
    let mut schedule =
        Schedule::new(2, &[(LoadLevel::FixedRate, 2), (LoadLevel::Saturation, 1)], 5);
    let rounds_of = |batch: Batch| {
        let (load_level, slices) = (batch.load_level, batch.slice_orders.len());
        batch.instances.into_iter().map(move |instance| (load_level, slices, instance))
    };
    let planned: Vec<_> =
        (0..measured.len() / 6).flat_map(|_| schedule.next_block()).flat_map(rounds_of).collect();
    assert_eq!(measured, planned);
}

#[test]
fn command_can_be_an_arm() {
    let result = Comparison::churn(&["epoll:level", &other_program()]).run().result();
    assert_eq!(result.arms[1].kind, ArmKind::Command);
    assert_eq!(result.differences[0].key, "program");
    let metrics = &result.experiments[0].comparisons[0].metrics;
    for metric in metrics {
        let is_of_calls = metric.metric == Metric::SystemCallsPerRequest;
        assert!(metric.baseline.is_some(), "{metric:?}");
        let Some(candidate) = metric.candidate else {
            assert!(is_of_calls && !rustix::process::geteuid().is_root(), "{metric:?}");
            assert_eq!(metric.verdict, Verdict::NotCompared);
            let reason = metric.reason.as_ref().expect("a reason");
            assert!(reason.starts_with("Not available: "), "{reason}");
            continue;
        };
        if is_of_calls {
            // It is one engine: the kernel counts what the server reports.
            let ratio = candidate / metric.baseline.expect("a number");
            assert!((0.9..1.1).contains(&ratio), "{metric:?}");
        }
    }
    for round in &result.experiments[0].rounds {
        assert_eq!(round.system_calls.is_some(), round.arm == 1, "{round:?}");
        assert_eq!(round.counters.is_some(), round.arm == 0, "{round:?}");
        assert!(round.server.peak_resident_bytes > 1 << 20, "{round:?}");
    }
}

#[test]
fn sweep_has_a_crossover_map() {
    let result = Comparison::churn(&["epoll:level", "epoll:edge"])
        .with(["--sweep", "server.response_body_bytes=13,2000"])
        .run()
        .result();
    let values: Vec<_> =
        result.experiments.iter().map(|it| it.sweep.as_ref().unwrap().value.as_str()).collect();
    assert_eq!(values, ["13", "2000"]);
    for (experiment, body_bytes) in result.experiments.iter().zip([13, 2000]) {
        for round in &experiment.rounds {
            let counters = round.counters.as_ref().unwrap();
            let each = counters.counters["sent_bytes"] / counters.responses;
            assert!(
                (body_bytes..body_bytes + 200).contains(&each),
                "{each} bytes instead of {body_bytes}"
            );
        }
    }
    let map = result.crossover.unwrap();
    assert_eq!((map.cells.len(), map.cells[1].results.len()), (2, 1));
    assert!(result.conclusion.starts_with("Winner by server.response_body_bytes: "));
    assert_eq!(result.conclusion, map.conclusion);
}

#[test]
fn json_output_moves_the_table_to_standard_error() {
    let finished = Comparison::churn(&["epoll:level", "epoll:edge"]).with(["--json", "-"]).run();
    let value: serde_json::Value = serde_json::from_str(&finished.stdout()).unwrap();
    assert_eq!(value["schema_version"], SCHEMA_VERSION);
    assert!(finished.stderr().contains("Method"), "the table is on standard error");
}

#[test]
fn exit_code_reports_conditions() {
    // The engines differ in system calls per request by much less than a factor of two. Server and
    // client share a core, so throughput is not compared.
    let run = |conditions: &[&str]| {
        Comparison::churn(&["epoll:level", "epoll:edge"])
            .with(["--server-cpus", "0", "--client-cpus", "0", "--rate", "1000"])
            .with(conditions.iter().flat_map(|&it| ["--fail-if", it]))
    };
    let holds = run(&["system_calls_per_request > 0.5"]).run();
    assert_eq!(holds.exit_code(), 4, "{}", holds.stderr());
    assert!(
        holds.stderr().contains("`system_calls_per_request > 0.5` holds"),
        "{}",
        holds.stderr()
    );
    let does_not_hold = run(&["system_calls_per_request > 2"]).run();
    assert_eq!(does_not_hold.exit_code(), 0, "{}", does_not_hold.stderr());
    let inconclusive = run(&["throughput < 0.9", "system_calls_per_request > 2"]).run();
    assert_eq!(inconclusive.exit_code(), 5, "{}", inconclusive.stderr());
    let allowed = run(&["throughput < 0.9"]).with(["--allow-inconclusive"]).run();
    assert_eq!(allowed.exit_code(), 0, "{}", allowed.stderr());
}

#[test]
fn too_few_blocks_are_inconclusive_and_name_the_flag_to_try() {
    let result =
        Comparison::churn(&["epoll:level", "epoll:edge"]).with(["--blocks", "2"]).run().result();
    let experiment = &result.experiments[0];
    let gate = experiment.gates.iter().find(|it| it.kind == GateKind::TooFewRounds).unwrap();
    assert_eq!(gate.remedy, "Try --blocks 10.");
    assert_eq!(result.outcome, Outcome::Inconclusive);
    let verdicts: BTreeSet<String> =
        experiment.comparisons[0].metrics.iter().map(|it| format!("{:?}", it.verdict)).collect();
    assert_eq!(verdicts, ["NotCompared".to_owned()].into());
}
