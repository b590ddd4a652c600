//! What a result says, and what the program makes of it.

use std::collections::BTreeSet;

use ringpoll::compare::schedule::{Entrant, Heat, Schedule};
use ringpoll::compare::summary::histogram_of;
use ringpoll::report::result::{
    ArmKind, GateKind, Metric, Outcome, Point, SCHEMA_VERSION, Verdict,
};

use crate::program::Comparison;

/// Another program, which happens to be ours.
fn other_program() -> String {
    let program = env!("CARGO_BIN_EXE_ringpoll");
    format!("command:'{program}' serve --backend epoll:level --listen 127.0.0.1:{{port}}")
}

#[test]
fn everything_is_in_a_result() {
    let compared = Comparison::of(&["epoll:level", "epoll:edge,backlog=1024"])
        .with(["--seed", "77", "--rate", "500", "--connections", "8"])
        .run();
    let result = compared.result();
    assert!(compared.shown().starts_with(&result.sentence), "{}", compared.shown());
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
    let offered = &experiment.working_points[0];
    assert_eq!((offered.point, offered.requests_per_second), (Point::FixedRate, Some(500.0)));
    assert_eq!(experiment.comparisons[0].metrics.len(), 9);
    assert_eq!(experiment.control.metrics.len(), 9);
    assert_eq!(experiment.summaries.len(), 4);
    assert_eq!(experiment.looks.last().unwrap().information, 1.0);
    assert_eq!(experiment.rounds.len() % 6, 0);
    for round in &experiment.rounds {
        assert!(round.requests > 0 && round.server.cpu_ns > 0, "{round:?}");
        let counters = round.counters.as_ref().expect("our own servers report");
        assert!(counters.answered >= round.requests, "{round:?}");
        assert!(counters.system_calls["accept4"] >= round.requests);
        assert_eq!(histogram_of(&round.latency.corrected).unwrap().len(), round.requests);
    }
}

#[test]
fn the_seed_decides_the_order() {
    let compared = Comparison::of(&["epoll:level", "epoll:edge"]).with(["--seed", "5"]).run();
    let result = compared.result();
    let rounds = &result.experiments[0].rounds;
    let ran: Vec<_> = rounds
        .iter()
        .map(|it| (it.point, it.slices, Entrant { arm: it.arm, control: it.control }))
        .collect();
    // Rounds as short as these have few slices.
    let mut schedule = Schedule::new(2, &[(Point::FixedRate, 2), (Point::Saturated, 1)], 5);
    let of_heat = |heat: Heat| {
        let (point, slices) = (heat.point, heat.orders.len());
        heat.entrants.into_iter().map(move |entrant| (point, slices, entrant))
    };
    let planned: Vec<_> =
        (0..ran.len() / 6).flat_map(|_| schedule.next_block()).flat_map(of_heat).collect();
    assert_eq!(ran, planned);
}

#[test]
fn another_program_can_be_an_arm() {
    let result = Comparison::of(&["epoll:level", &other_program()]).run().result();
    assert_eq!(result.arms[1].kind, ArmKind::Command);
    assert_eq!(result.differences[0].key, "program");
    let metrics = &result.experiments[0].comparisons[0].metrics;
    for metric in metrics {
        let unknown = metric.metric == Metric::SystemCallsPerRequest;
        assert_eq!(metric.contender.is_none(), unknown, "{metric:?}");
        if unknown {
            assert_eq!(metric.verdict, Verdict::NotJudgeable);
            assert!(metric.reason.as_ref().unwrap().contains("another program"), "{metric:?}");
        }
    }
}

#[test]
fn a_sweep_draws_a_map() {
    let result = Comparison::of(&["epoll:level", "epoll:edge"])
        .with(["--sweep", "server.response_body_bytes=13,2000"])
        .run()
        .result();
    let values: Vec<_> =
        result.experiments.iter().map(|it| it.sweep.as_ref().unwrap().value.as_str()).collect();
    assert_eq!(values, ["13", "2000"]);
    for (experiment, least) in result.experiments.iter().zip([13, 2000]) {
        for round in &experiment.rounds {
            let counters = round.counters.as_ref().unwrap();
            let each = counters.counters["sent_bytes"] / counters.answered;
            assert!((least..least + 200).contains(&each), "{each} bytes instead of {least}");
        }
    }
    let map = result.crossover.unwrap();
    assert_eq!((map.cells.len(), map.cells[1].results.len()), (2, 1));
    assert!(result.sentence.starts_with("Better by server.response_body_bytes: "));
    assert_eq!(result.sentence, map.sentence);
}

#[test]
fn json_on_standard_output_stands_alone() {
    let compared = Comparison::of(&["epoll:level", "epoll:edge"]).with(["--json", "-"]).run();
    let value: serde_json::Value = serde_json::from_str(&compared.shown()).unwrap();
    assert_eq!(value["schema_version"], SCHEMA_VERSION);
    assert!(compared.said().contains("Method"), "the table goes to standard error");
}

#[test]
fn continuous_integration_is_told_by_the_exit_code() {
    // epoll:level makes more system calls for a request than a server that is asked to answer
    // nothing else could differ by; both on one core, so that no throughput can be judged.
    let run = |conditions: &[&str]| {
        Comparison::of(&["epoll:level", "epoll:edge"])
            .with(["--server-cpus", "0", "--client-cpus", "0", "--rate", "1000"])
            .with(conditions.iter().flat_map(|&it| ["--fail-if", it]))
    };
    let holds = run(&["system_calls_per_request > 0.5"]).run();
    assert_eq!(holds.exit_code(), 4, "{}", holds.said());
    assert!(holds.said().contains("it is so"), "{}", holds.said());
    let holds_not = run(&["system_calls_per_request > 2"]).run();
    assert_eq!(holds_not.exit_code(), 0, "{}", holds_not.said());
    let unknown = run(&["throughput < 0.9", "system_calls_per_request > 2"]).run();
    assert_eq!(unknown.exit_code(), 5, "{}", unknown.said());
    let allowed = run(&["throughput < 0.9"]).with(["--allow-inconclusive"]).run();
    assert_eq!(allowed.exit_code(), 0, "{}", allowed.said());
}

#[test]
fn too_few_rounds_decide_nothing_and_the_flag_to_try_is_named() {
    let result =
        Comparison::of(&["epoll:level", "epoll:edge"]).with(["--blocks", "2"]).run().result();
    let experiment = &result.experiments[0];
    let gate = experiment.gates.iter().find(|it| it.kind == GateKind::TooFewRounds).unwrap();
    assert_eq!(gate.remedy, "--blocks 10");
    assert_eq!(result.outcome, Outcome::Inconclusive);
    let verdicts: BTreeSet<String> =
        experiment.comparisons[0].metrics.iter().map(|it| format!("{:?}", it.verdict)).collect();
    assert_eq!(verdicts, ["NotJudgeable".to_owned()].into());
}
