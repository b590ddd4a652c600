//! Each gate that a real server, or a real machine, can be made to close.

use ringpoll::report::result::{
    ComparisonResult, Gate, GateEffect, GateKind, Metric, Outcome, Verdict,
};

use crate::peer;
use crate::program::Comparison;

fn gate(result: &ComparisonResult, kind: GateKind) -> &Gate {
    let gates = &result.experiments[0].gates;
    gates.iter().find(|gate| gate.kind == kind).unwrap_or_else(|| panic!("{kind:?}: {gates:?}"))
}

#[test]
fn wrong_bytes_make_a_run_invalid() {
    let wrong = peer::arm("wrong");
    let result = Comparison::of(&["epoll:level", &wrong]).run().result();
    let gate = gate(&result, GateKind::WrongBytes);
    assert_eq!((gate.effect, &gate.arms[..]), (GateEffect::Invalid, &[1][..]));
    assert_eq!(result.outcome, Outcome::Invalid);
    assert!(result.sentence.starts_with("Invalid: "), "{}", result.sentence);
}

#[test]
fn a_queue_that_overflows_makes_a_run_invalid() {
    let slow = peer::arm("slow_to_accept");
    let result = Comparison::of(&["epoll:level", &slow])
        .with(["--blocks", "1", "--rate", "300"])
        .run()
        .result();
    let gate = gate(&result, GateKind::ConnectionsRefused);
    assert_eq!((gate.effect, &gate.arms[..]), (GateEffect::Invalid, &[1][..]));
}

#[test]
fn a_server_without_room_is_not_judged() {
    let result = Comparison::of(&["epoll:level", "epoll:edge,limits.connections=2"])
        .with(["--connections", "64"])
        .run()
        .result();
    let gate = gate(&result, GateKind::BuffersRanOut);
    assert_eq!((gate.effect, &gate.arms[..]), (GateEffect::NotJudgeable, &[1][..]));
    let metrics = &result.experiments[0].comparisons[0].metrics;
    assert!(metrics.iter().all(|metric| metric.verdict == Verdict::NotJudgeable));
}

#[test]
fn on_one_core_only_cpu_is_judged() {
    let result = Comparison::of(&["epoll:level", "epoll:edge"])
        .with(["--server-cpus", "0", "--client-cpus", "0", "--rate", "300"])
        .run()
        .result();
    let gate = gate(&result, GateKind::SharedCore);
    assert_eq!(gate.effect, GateEffect::NotJudgeable);
    let metrics = &result.experiments[0].comparisons[0].metrics;
    for metric in metrics {
        let clocked =
            matches!(metric.metric, Metric::Throughput | Metric::LatencyP50 | Metric::LatencyP99);
        if clocked {
            assert_eq!(metric.verdict, Verdict::NotJudgeable, "{metric:?}");
        }
    }
    assert!(result.method.placement.shared);
}

#[test]
fn a_rate_that_nobody_can_follow_is_not_judged() {
    let result = Comparison::of(&["epoll:level", "epoll:edge"])
        .with(["--blocks", "1", "--rate", "1000000"])
        .run()
        .result();
    let gate = gate(&result, GateKind::RateNotKept);
    assert_eq!(gate.remedy, "--rate 700000");
    assert!(matches!(result.outcome, Outcome::Inconclusive | Outcome::Invalid));
}
