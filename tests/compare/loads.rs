//! The loads of a comparison, each with its own verdict.

use ringpoll::result::{GateEffect, GateKind, LoadLevel, Metric, Outcome, Verdict};

use crate::program::Comparison;
use crate::test_server;
use common::find_tool;

const SET: &str = "server.keep_alive";

#[test]
fn default_loads_have_a_verdict_each() {
    let finished = Comparison::under_default_loads(&["epoll:level", "epoll:edge"]).run();
    let result = finished.result();
    let names: Vec<_> = result.experiments.iter().map(|it| it.load.name.as_str()).collect();
    assert_eq!(names, ["churn", "keep-alive"]);
    assert_eq!(result.method.budget_seconds, 100.0, "the loads share 200 s");
    for experiment in &result.experiments {
        let load_levels: Vec<_> = experiment.load_levels.iter().map(|it| it.load_level).collect();
        assert_eq!(load_levels, [LoadLevel::FixedRate, LoadLevel::Saturation]);
        let [comparison] = &experiment.comparisons[..] else { panic!("two arms") };
        let primary = comparison.metrics.iter().find(|it| it.is_primary).expect("a primary metric");
        assert!(primary.ratio.is_some(), "{primary:?}");
        let line = format!("{}: {}", experiment.load.name, experiment.conclusion);
        assert!(result.conclusion.contains(&line), "{}", result.conclusion);
        assert!(finished.stdout().lines().any(|it| it == line), "{}", finished.stdout());
        for round in &experiment.rounds {
            assert!(round.requests > 0 && round.failures.total() == 0, "{round:?}");
            assert_eq!(round.client.connections_closed_by_server, 0);
        }
    }
    let [churn, keep_alive] = &result.experiments[..] else { panic!("two loads") };
    assert!(churn.load.server_settings.is_empty());
    let set = &keep_alive.load.server_settings[0];
    assert_eq!((set.key.as_str(), set.value.as_str()), (SET, "true"));
    assert!(result.differences.iter().all(|it| it.key == "backend"), "{:?}", result.differences);
    // All slices of a round share 64 connections; two more are opened for the first response.
    for round in &keep_alive.rounds {
        let counters = round.counters.as_ref().expect("a report of a ringpoll server");
        assert!(counters.counters["accepted"] <= 66, "{counters:?}");
    }
}

#[test]
fn pipelined_large_and_idle_loads_have_their_properties() {
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
            let counters = round.counters.as_ref().expect("a report of a ringpoll server");
            let accepted = counters.counters["accepted"];
            match experiment.load.name.as_str() {
                "large" | "idle" => assert!(accepted >= counters.responses, "{round:?}"),
                // The connections of all slices, two for the first response, and the idle ones.
                "pipelined" => assert!(accepted <= 8 + 2 + 20, "{round:?}"),
                load => unreachable!("load {load} was not given"),
            }
            let body = counters.counters["sent_bytes"] / counters.responses;
            assert_eq!(body > 70_000, of_load("large") == 1, "{round:?}");
            if of_load("idle") == 1 {
                assert!(accepted >= counters.responses + 20);
            }
        }
    }
}

/// A short slice must not shorten connections with many requests.
#[test]
fn mixed_load_has_a_connection_for_every_fourth_request() {
    let result = Comparison::under_loads(&["epoll:level", "epoll:edge"], "mixed")
        .with(["--connections", "16", "--rate", "2000", "--blocks", "2", "--round", "500ms"])
        .run()
        .result();
    let rounds = &result.experiments[0].rounds;
    for load_level in [LoadLevel::FixedRate, LoadLevel::Saturation] {
        let of = |name| -> u64 {
            let rounds = rounds.iter().filter(|round| round.load_level == load_level);
            rounds
                .map(|round| round.counters.as_ref().expect("a report of a ringpoll server"))
                .map(|it| if name == "responses" { it.responses } else { it.counters[name] })
                .sum()
        };
        // Four connections carry one request each, and the fifth carries sixteen.
        let connections_per_request = of("accepted") as f64 / of("responses") as f64;
        assert!((0.2..0.3).contains(&connections_per_request), "{connections_per_request}");
        assert!(of("responses") > 2_000, "too few requests");
    }
}

#[test]
fn server_without_keep_alive_is_not_compared() {
    let closing = test_server::arm("right");
    let result =
        Comparison::under_loads(&["epoll:level", &closing], "churn,keep-alive").run().result();
    let [churn, keep_alive] = &result.experiments[..] else { panic!("two loads") };
    let is_gate = |kind: GateKind| kind == GateKind::ConnectionsClosedByServer;
    assert!(churn.gates.iter().all(|gate| !is_gate(gate.kind)), "{:?}", churn.gates);
    let gate = keep_alive.gates.iter().find(|gate| is_gate(gate.kind)).expect("a gate");
    assert_eq!((gate.effect, &gate.arms[..]), (GateEffect::NotCompared, &[1][..]));
    let metrics = &keep_alive.comparisons[0].metrics;
    assert!(metrics.iter().all(|metric| metric.verdict == Verdict::NotCompared));
    assert!(keep_alive.conclusion.starts_with("Not compared"), "{}", keep_alive.conclusion);
    assert_ne!(keep_alive.outcome, Outcome::Winner { arm: 0 });
}

#[test]
fn command_with_keep_alive_passes_the_gate() {
    let program = env!("CARGO_BIN_EXE_ringpoll");
    let other = format!(
        "command:'{program}' serve --backend epoll:level --listen 127.0.0.1:{{port}} \
         --set {SET}=true"
    );
    let result = Comparison::under_loads(&["epoll:level", &other], "keep-alive").run().result();
    let gates = &result.experiments[0].gates;
    assert!(gates.iter().all(|it| it.kind != GateKind::ConnectionsClosedByServer), "{gates:?}");
}

#[test]
fn large_load_requires_the_body_length() {
    let small = test_server::arm("right");
    let finished = Comparison::under_loads(&["epoll:level", &small], "large").run();
    assert_eq!(finished.exit_code(), 1, "{}", finished.stderr());
    let expected = "expected a body of 1048576 bytes, but received 13";
    assert!(finished.stderr().contains(expected), "{}", finished.stderr());
}

#[test]
fn arguments_that_contradict_the_load_are_refused() {
    let arms = ["epoll:level", "epoll:edge"];
    for (arguments, expected) in [
        (
            &["--load", "churn,mixed", "--sweep", "connections=1,2"][..],
            "--sweep requires a single load",
        ),
        (&["--load", "keep-alive", "--burst", "8"], "--burst and --fragments cannot"),
        (&["--load", "keep-alive", "--set", "server.keep_alive=false"], "must be true"),
        (&["--load", "keep-alive", "--sweep", "keep_alive=true,false"], "requires a fixed value"),
        (&["--load", "churn", "--fail-if", "mixed: throughput < 1"], "add --load mixed"),
        (&["--load", "churn", "--sweep", "depth=1,2"], "only be used with --load pipelined"),
        (
            &["--load", "rr", "--direction", "send"],
            "--direction can only be used with --load stream",
        ),
        (&["--load", "stream", "--rate", "9"], "--rate cannot be used with --load stream"),
        (&["--load", "stream", "--path", "/"], "--path cannot be used with messages"),
        (&["--load", "stream", "--message-bytes", "0"], "a message must have 1 to"),
        (&["--load", "stream", "--burst", "2"], "--burst and --fragments cannot"),
        (&["--load", "stream", "--set", "server.protocol=echo"], "server.protocol must be discard"),
        (&["--load", "churn", "--message-bytes", "2"], "can only be used with --load rr, crr or"),
        (&["--load", "rr", "--path", "/"], "--path cannot be used with messages"),
        (&["--load", "crr", "--fragments", "2"], "a message cannot be sent in fragments"),
        (&["--load", "rr", "--set", "server.protocol=http"], "server.protocol must be echo"),
        (&["--load", "nonsense"], "nonsense"),
    ] {
        let finished = Comparison::under_default_loads(&arms).with(arguments).run();
        assert_eq!(finished.exit_code(), 2, "{arguments:?}: {}", finished.stderr());
        assert!(finished.stderr().contains(expected), "{arguments:?}: {}", finished.stderr());
    }
}

#[test]
fn condition_can_be_limited_to_a_load() {
    let run = |condition: &str| {
        Comparison::under_loads(&["epoll:level", "epoll:edge"], "churn,keep-alive")
            .with(["--server-cpus", "0", "--client-cpus", "0", "--rate", "1000"])
            .with(["--fail-if", condition])
            .run()
            .exit_code()
    };
    // With persistent connections the engines make almost equally many system calls per request;
    // with one connection per request, 14 and 13.
    assert_eq!(run("churn: system_calls_per_request > 0.5"), 4);
    assert_eq!(run("keep-alive: system_calls_per_request > 2"), 0);
}

#[test]
fn parameter_of_a_load_can_be_swept() {
    let result = Comparison::under_loads(&["epoll:level", "epoll:edge"], "large")
        .with(["--sweep", "bytes=1000,3000", "--blocks", "1"])
        .run()
        .result();
    for (experiment, body_bytes) in result.experiments.iter().zip([1000, 3000]) {
        for round in &experiment.rounds {
            let counters = round.counters.as_ref().expect("a report of a ringpoll server");
            let each = counters.counters["sent_bytes"] / counters.responses;
            assert!(
                (body_bytes..body_bytes + 200).contains(&each),
                "{each} bytes instead of {body_bytes}"
            );
        }
    }
    assert!(result.crossover.is_some());
}

#[test]
fn nginx_with_keepalive_requests_is_not_compared() {
    let test = "nginx_with_keepalive_requests_is_not_compared";
    let Some(nginx) = find_tool(test, "nginx") else { return };
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
    let result = Comparison::under_loads(&["epoll:level", &arm], "keep-alive,pipelined,mixed")
        .with(["--connections", "4"])
        .run()
        .result();
    for experiment in &result.experiments {
        // Connections of the mixed load carry at most 16 requests.
        let effect = (experiment.load.name != "mixed").then_some(GateEffect::NotCompared);
        let gates = &experiment.gates;
        let gate = gates.iter().find(|it| it.kind == GateKind::ConnectionsClosedByServer);
        assert_eq!(gate.map(|it| it.effect), effect, "{gates:?}");
        for round in experiment.rounds.iter().filter(|round| round.arm == 1) {
            assert_eq!(round.failures.total(), 0, "{round:?}");
        }
    }
}

#[test]
fn messages_of_any_length_return_from_the_echo_servers() {
    let result = Comparison::under_loads(&["epoll:level", "epoll:edge"], "rr,crr")
        .with(["--message-bytes", "3000", "--depth", "2", "--connections", "8", "--blocks", "1"])
        .run()
        .result();
    let [rr, crr] = &result.experiments[..] else { panic!("two loads") };
    for experiment in [rr, crr] {
        let set = &experiment.load.server_settings[0];
        assert_eq!((set.key.as_str(), set.value.as_str()), ("server.protocol", "echo"));
        for round in &experiment.rounds {
            assert!(round.requests > 0 && round.failures.total() == 0, "{round:?}");
            let counters =
                &round.counters.as_ref().expect("a report of a ringpoll server").counters;
            let echoed = counters["sent_bytes"];
            assert!(echoed >= 3000 * round.requests, "{echoed}");
            match experiment.load.name.as_str() {
                // All slices share the connections; one more is opened for the first message.
                "rr" => assert!(counters["accepted"] <= 8 + 1, "{counters:?}"),
                _ => assert_eq!(echoed, 3000 * counters["accepted"], "{counters:?}"),
            }
        }
    }
}

#[test]
fn message_bytes_can_be_swept() {
    let result = Comparison::under_loads(&["epoll:level", "epoll:edge"], "rr")
        .with(["--sweep", "message_bytes=1,100000", "--connections", "4", "--blocks", "1"])
        .run()
        .result();
    for (experiment, bytes) in result.experiments.iter().zip([1, 100_000]) {
        assert_eq!(experiment.sweep.as_ref().expect("a sweep").value, bytes.to_string());
        for round in &experiment.rounds {
            assert!(round.requests > 0 && round.failures.total() == 0, "{round:?}");
            let counters =
                &round.counters.as_ref().expect("a report of a ringpoll server").counters;
            assert_eq!(counters["sent_bytes"] % bytes, 0, "{counters:?}");
        }
    }
}

#[test]
fn server_that_does_not_echo_is_refused() {
    let http = test_server::arm("right");
    let finished = Comparison::under_loads(&["epoll:level", &http], "rr").run();
    assert_eq!(finished.exit_code(), 1, "{}", finished.stderr());
    assert!(
        finished.stderr().contains("no echo of it. Use an echo server"),
        "{}",
        finished.stderr()
    );
}

/// The bytes of a message of a stream.
const STREAM_MESSAGE_BYTES: u64 = 65_536;

#[test]
fn stream_has_a_verdict_in_each_direction() {
    for (direction, protocol) in [("send", "discard"), ("recv", "chargen"), ("both", "echo")] {
        let finished = Comparison::under_loads(&[], "stream")
            .with(["--direction", direction, "--connections", "4"])
            .run();
        let result = finished.result();
        let [experiment] = &result.experiments[..] else { panic!("one load") };
        assert_eq!(experiment.load.server_settings[0].value, protocol);
        let metrics = &experiment.comparisons[0].metrics;
        assert!(metrics.iter().all(|it| it.load_level == LoadLevel::Saturation), "{metrics:?}");
        assert!(metrics.iter().all(|it| it.ratio.is_some()), "{metrics:?}");
        let names: Vec<_> = metrics.iter().map(|it| it.metric.to_string()).collect();
        assert_eq!(names[..2], ["cpu_per_gib", "bytes_throughput"], "{direction}");
        assert!(metrics[0].is_primary && finished.stdout().contains("CPU per GiB"));
        let ways = if direction == "both" { 2 } else { 1 };
        for round in &experiment.rounds {
            assert!(round.requests > 0 && round.failures.total() == 0, "{round:?}");
            let bytes = round.requests * STREAM_MESSAGE_BYTES * ways;
            assert_eq!(round.bytes, Some(bytes), "{direction}");
            let counters = round.counters.as_ref().expect("a report of a ringpoll server");
            let count = |name: &str| counters.counters[name];
            let (received, sent) = (count("received_bytes"), count("sent_bytes"));
            // The counters include the warm-up and the load before each slice.
            match direction {
                "send" => assert!(received >= bytes && sent == 0, "{received} {sent}"),
                "recv" => assert!(sent >= bytes && received == 0, "{received} {sent}"),
                _ => assert!(received.min(sent) >= bytes / 2, "{received} {sent}"),
            }
            // The time includes that in which the server finishes. The clocks differ a little.
            assert!(round.server.cpu_utilization < 1.01, "{round:?}");
            assert!(round.slices_not_quiet.is_some_and(|it| it <= round.slices), "{round:?}");
        }
    }
}

#[test]
fn message_bytes_of_a_stream_can_be_swept() {
    let result = Comparison::under_loads(&["epoll:level", "epoll:edge"], "stream")
        .with(["--sweep", "message_bytes=100,100000", "--connections", "4", "--blocks", "1"])
        .run()
        .result();
    for (experiment, bytes) in result.experiments.iter().zip([100, 100_000]) {
        assert_eq!(experiment.sweep.as_ref().expect("a sweep").value, bytes.to_string());
        for round in &experiment.rounds {
            assert_eq!(round.bytes, Some(round.requests * bytes), "{round:?}");
        }
    }
    let primary = result.crossover.expect("the values of a sweep").metric;
    assert_eq!((primary.metric, primary.load_level), (Metric::CpuPerGib, LoadLevel::Saturation));
}

#[test]
fn stream_of_another_program_or_a_server_that_polls_is_compared() {
    let program = env!("CARGO_BIN_EXE_ringpoll");
    let command =
        format!("command:'{program}' serve --listen 127.0.0.1:{{port}} --protocol discard");
    let result = Comparison::under_loads(
        &["epoll:level", &command, "epoll:tuned,epoll.busy_poll_us=1000000"],
        "stream",
    )
    // The kernel may account CPU time in ticks, of which a short round has few.
    .with(["--connections", "4", "--blocks", "1", "--round", "500ms"])
    .run()
    .result();
    let [experiment] = &result.experiments[..] else { panic!("one load") };
    assert!(experiment.notes.iter().any(|it| it.contains("SIGSTOP")), "{:?}", experiment.notes);
    for round in &experiment.rounds {
        assert!(round.bytes > Some(0) && round.failures.total() == 0, "{round:?}");
        assert!(round.server.cpu_utilization < 1.01 || round.arm == 1, "{round:?}");
    }
}

#[test]
fn server_without_a_stream_is_refused() {
    let http = test_server::arm("right");
    let finished = Comparison::under_loads(&["epoll:level", &http], "stream")
        .with(["--direction", "recv"])
        .run();
    assert_eq!(finished.exit_code(), 1, "{}", finished.stderr());
    assert!(
        finished.stderr().contains("no message arrived. Use a chargen server"),
        "{}",
        finished.stderr()
    );
}

/// A stream and other loads have different metrics.
#[test]
fn condition_concerns_the_loads_that_have_its_metric() {
    let finished = Comparison::under_loads(&["epoll:level", "epoll:edge"], "churn,stream")
        .with(["--connections", "4", "--fail-if", "cpu_per_gib > 1000"])
        .with(["--server-cpus", "0", "--client-cpus", "0", "--fail-if", "cpu_per_request > 1000"])
        .run();
    let (code, error) = (finished.exit_code(), finished.stderr());
    // A machine that is busy with other programs can leave either condition undecided.
    assert!(code == 0 || code == 5 && error.contains("is inconclusive"), "{code}: {error}");
}
