//! Several loads: each with its own verdict, and none of them other than it was asked for.

use ringpoll::report::result::{GateEffect, GateKind, Outcome, Point, Verdict};

use crate::common::tool;
use crate::peer;
use crate::program::Comparison;

const SET: &str = "server.keep_alive";

#[test]
fn without_a_load_there_are_two_each_with_a_verdict() {
    let compared = Comparison::under_default_loads(&["epoll:level", "epoll:edge"]).run();
    let result = compared.result();
    let names: Vec<_> = result.experiments.iter().map(|it| it.load.name.as_str()).collect();
    assert_eq!(names, ["churn", "keep-alive"]);
    assert_eq!(result.method.budget_seconds, 100.0, "they share 200 s");
    for experiment in &result.experiments {
        let points: Vec<_> = experiment.working_points.iter().map(|it| it.point).collect();
        assert_eq!(points, [Point::FixedRate, Point::Saturated]);
        let [comparison] = &experiment.comparisons[..] else { panic!("two arms") };
        let deciding = comparison.metrics.iter().find(|it| it.decides).expect("one decides");
        assert!(deciding.ratio.is_some(), "{deciding:?}");
        let said = format!("{}: {}", experiment.load.name, experiment.sentence);
        assert!(result.sentence.contains(&said), "{}", result.sentence);
        assert!(compared.shown().lines().any(|line| line == said), "{}", compared.shown());
        for round in &experiment.rounds {
            assert!(round.requests > 0 && round.failures.total() == 0, "{round:?}");
            assert_eq!(round.client.connections_ended, 0);
        }
    }
    let [churn, keep_alive] = &result.experiments[..] else { panic!("two loads") };
    assert!(churn.load.server_settings.is_empty());
    let set = &keep_alive.load.server_settings[0];
    assert_eq!((set.key.as_str(), set.value.as_str()), (SET, "true"));
    assert!(result.differences.iter().all(|it| it.key == "backend"), "{:?}", result.differences);
    // Connections are opened for all slices of a round together: 64, and two to ask first.
    for round in &keep_alive.rounds {
        let counters = round.counters.as_ref().expect("our own servers report");
        assert!(counters.counters["accepted"] <= 66, "{counters:?}");
    }
}

#[test]
fn the_other_loads_are_what_they_are_called() {
    let result = Comparison::under_default_loads(&["epoll:level", "epoll:edge"])
        .with(["--load", "pipelined,large", "--load", "idle", "--idle", "20"])
        .with(["--depth", "4", "--bytes", "70000", "--connections", "8", "--blocks", "1"])
        .run()
        .result();
    let names: Vec<_> = result.experiments.iter().map(|it| it.load.name.as_str()).collect();
    assert_eq!(names, ["pipelined", "large", "idle"]);
    for experiment in &result.experiments {
        let of_load = |name| if experiment.load.name == name { 1 } else { 0 };
        for round in &experiment.rounds {
            assert!(round.requests > 0 && round.failures.total() == 0, "{round:?}");
            let counters = round.counters.as_ref().expect("our own servers report");
            let accepted = counters.counters["accepted"];
            match experiment.load.name.as_str() {
                "large" | "idle" => assert!(accepted >= counters.answered, "{round:?}"),
                // Those of all slices together, two to ask first, and the idle ones.
                "pipelined" => assert!(accepted <= 8 + 2 + 20, "{round:?}"),
                load => unreachable!("{load} was not asked for"),
            }
            let body = counters.counters["sent_bytes"] / counters.answered;
            assert_eq!(body > 70_000, of_load("large") == 1, "{round:?}");
            if of_load("idle") == 1 {
                assert!(accepted >= counters.answered + 20);
            }
        }
    }
}

/// Slices in which a connection is asked a few times leave long lives as long as they are.
#[test]
fn a_fifth_of_the_mixed_requests_has_a_connection_of_its_own() {
    let result = Comparison::of_loads(&["epoll:level", "epoll:edge"], "mixed")
        .with(["--connections", "16", "--rate", "2000", "--blocks", "2", "--round", "500ms"])
        .run()
        .result();
    let rounds = &result.experiments[0].rounds;
    for point in [Point::FixedRate, Point::Saturated] {
        let of = |name| -> u64 {
            let rounds = rounds.iter().filter(|round| round.point == point);
            rounds
                .map(|round| round.counters.as_ref().expect("our own servers report"))
                .map(|it| if name == "answered" { it.answered } else { it.counters[name] })
                .sum()
        };
        // Four connections carry one each, and the fifth sixteen.
        let connections_per_request = of("accepted") as f64 / of("answered") as f64;
        assert!((0.2..0.3).contains(&connections_per_request), "{connections_per_request}");
        assert!(of("answered") > 2_000, "too few to tell");
    }
}

#[test]
fn a_server_that_does_not_keep_connections_alive_is_found_out() {
    let closes = peer::arm("right");
    let result = Comparison::of_loads(&["epoll:level", &closes], "churn,keep-alive").run().result();
    let [churn, keep_alive] = &result.experiments[..] else { panic!("two loads") };
    let is_gate = |kind: GateKind| kind == GateKind::ConnectionsNotKept;
    assert!(churn.gates.iter().all(|gate| !is_gate(gate.kind)), "{:?}", churn.gates);
    let gate = keep_alive.gates.iter().find(|gate| is_gate(gate.kind)).expect("it is closed");
    assert_eq!((gate.effect, &gate.arms[..]), (GateEffect::NotJudgeable, &[1][..]));
    let metrics = &keep_alive.comparisons[0].metrics;
    assert!(metrics.iter().all(|metric| metric.verdict == Verdict::NotJudgeable));
    assert!(keep_alive.sentence.starts_with("Not judged"), "{}", keep_alive.sentence);
    assert_ne!(keep_alive.outcome, Outcome::Winner { arm: 0 });
}

#[test]
fn another_program_that_keeps_connections_alive_is_judged() {
    let program = env!("CARGO_BIN_EXE_ringpoll");
    let other = format!(
        "command:'{program}' serve --backend epoll:level --listen 127.0.0.1:{{port}} \
         --set {SET}=true"
    );
    let result = Comparison::of_loads(&["epoll:level", &other], "keep-alive").run().result();
    let gates = &result.experiments[0].gates;
    assert!(gates.iter().all(|it| it.kind != GateKind::ConnectionsNotKept), "{gates:?}");
}

#[test]
fn a_body_of_another_length_than_asked_for_is_no_large_load() {
    let small = peer::arm("right");
    let compared = Comparison::of_loads(&["epoll:level", &small], "large").run();
    assert_eq!(compared.exit_code(), 1, "{}", compared.said());
    let says = "a body of 1048576 bytes was expected, but 13 came";
    assert!(compared.said().contains(says), "{}", compared.said());
}

#[test]
fn what_does_not_go_with_a_load_is_refused() {
    let arms = ["epoll:level", "epoll:edge"];
    for (arguments, says) in [
        (&["--load", "churn,mixed", "--sweep", "connections=1,2"][..], "one load"),
        (&["--load", "keep-alive", "--burst", "8"], "bursts"),
        (&["--load", "keep-alive", "--set", "server.keep_alive=false"], "must be true"),
        (&["--load", "keep-alive", "--sweep", "keep_alive=true,false"], "the load sets it"),
        (&["--load", "churn", "--fail-if", "mixed: throughput < 1"], "add --load mixed"),
        (&["--load", "churn", "--sweep", "depth=1,2"], "--load pipelined"),
        (&["--load", "nonsense"], "nonsense"),
    ] {
        let compared = Comparison::under_default_loads(&arms).with(arguments).run();
        assert_eq!(compared.exit_code(), 2, "{arguments:?}: {}", compared.said());
        assert!(compared.said().contains(says), "{arguments:?}: {}", compared.said());
    }
}

#[test]
fn a_condition_can_be_of_one_load_alone() {
    let run = |condition: &str| {
        Comparison::of_loads(&["epoll:level", "epoll:edge"], "churn,keep-alive")
            .with(["--server-cpus", "0", "--client-cpus", "0", "--rate", "1000"])
            .with(["--fail-if", condition])
            .run()
            .exit_code()
    };
    // The same system calls for each request, or nearly so, where connections persist; and 14 to
    // 13 where each request has one.
    assert_eq!(run("churn: system_calls_per_request > 0.5"), 4);
    assert_eq!(run("keep-alive: system_calls_per_request > 2"), 0);
}

#[test]
fn a_load_can_be_swept_by_its_own_parameters() {
    let result = Comparison::of_loads(&["epoll:level", "epoll:edge"], "large")
        .with(["--sweep", "bytes=1000,3000", "--blocks", "1"])
        .run()
        .result();
    for (experiment, least) in result.experiments.iter().zip([1000, 3000]) {
        for round in &experiment.rounds {
            let counters = round.counters.as_ref().expect("our own servers report");
            let each = counters.counters["sent_bytes"] / counters.answered;
            assert!((least..least + 200).contains(&each), "{each} bytes instead of {least}");
        }
    }
    assert!(result.crossover.is_some());
}

#[test]
fn nginx_that_ends_one_connection_in_a_hundred_requests_is_not_judged() {
    let test = "nginx_that_ends_one_connection_in_a_hundred_requests_is_not_judged";
    let Some(nginx) = tool(test, "nginx") else { return };
    let directory = tempfile::TempDir::new().expect("a directory");
    let at = directory.path().display();
    let configuration = format!(
        "worker_processes 1; daemon off; master_process off; pid {at}/pid; error_log {at}/errors; \
         events {{ worker_connections 1024; }} http {{ access_log off; keepalive_requests 100; \
         client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; \
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; \
         server {{ listen 127.0.0.1:PORT; location / {{ return 200 'Hello, world!'; }} }} }}"
    );
    std::fs::write(directory.path().join("template"), configuration).expect("a file");
    let script = format!(
        "sed s/PORT/$1/ {at}/template > {at}/conf && exec {} -c {at}/conf",
        nginx.display()
    );
    let arm = format!("command:sh -c '{script}' nginx {{port}}");
    let result = Comparison::of_loads(&["epoll:level", &arm], "keep-alive,pipelined,mixed")
        .with(["--connections", "4"])
        .run()
        .result();
    for experiment in &result.experiments {
        // Those of the mixed load carry 16 at most.
        let effect = (experiment.load.name != "mixed").then_some(GateEffect::NotJudgeable);
        let gates = &experiment.gates;
        let gate = gates.iter().find(|it| it.kind == GateKind::ConnectionsNotKept);
        assert_eq!(gate.map(|it| it.effect), effect, "{gates:?}");
        for round in experiment.rounds.iter().filter(|round| round.arm == 1) {
            assert_eq!(round.failures.total(), 0, "{round:?}");
        }
    }
}
