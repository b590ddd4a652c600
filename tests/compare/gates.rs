//! Gates that a real server or a real machine can trigger.

use ringpoll::result::{ComparisonResult, Gate, GateEffect, GateKind, Metric, Outcome, Verdict};

use crate::program::Comparison;
use crate::test_server;

fn gate(result: &ComparisonResult, kind: GateKind) -> &Gate {
    let gates = &result.experiments[0].gates;
    gates.iter().find(|gate| gate.kind == kind).unwrap_or_else(|| panic!("{kind:?}: {gates:?}"))
}

#[test]
fn wrong_bytes_invalidate_the_experiment() {
    let wrong = test_server::arm("wrong");
    let result = Comparison::churn(&["epoll:level", &wrong]).run().result();
    let gate = gate(&result, GateKind::WrongBytes);
    assert_eq!((gate.effect, &gate.arms[..]), (GateEffect::Invalid, &[1][..]));
    assert_eq!(result.outcome, Outcome::Invalid);
    assert!(result.conclusion.starts_with("Invalid: "), "{}", result.conclusion);
}

#[test]
fn accept_queue_overflow_invalidates_the_experiment() {
    let slow = test_server::arm("slow_to_accept");
    let result = Comparison::churn(&["epoll:level", &slow])
        .with(["--blocks", "1", "--rate", "300"])
        .run()
        .result();
    let gate = gate(&result, GateKind::ConnectionsRefused);
    assert_eq!((gate.effect, &gate.arms[..]), (GateEffect::Invalid, &[1][..]));
}

#[test]
fn server_at_its_connection_limit_is_not_compared() {
    let result = Comparison::churn(&["epoll:level", "epoll:edge,limits.connections=2"])
        .with(["--connections", "64"])
        .run()
        .result();
    let gate = gate(&result, GateKind::OutOfBuffers);
    assert_eq!((gate.effect, &gate.arms[..]), (GateEffect::NotCompared, &[1][..]));
    let metrics = &result.experiments[0].comparisons[0].metrics;
    assert!(metrics.iter().all(|metric| metric.verdict == Verdict::NotCompared));
}

#[test]
fn only_cpu_is_compared_on_a_shared_core() {
    let result = Comparison::churn(&["epoll:level", "epoll:edge"])
        .with(["--server-cpus", "0", "--client-cpus", "0", "--rate", "300"])
        .run()
        .result();
    let gate = gate(&result, GateKind::SharedCore);
    assert_eq!(gate.effect, GateEffect::NotCompared);
    let metrics = &result.experiments[0].comparisons[0].metrics;
    for metric in metrics {
        let depends_on_time =
            matches!(metric.metric, Metric::Throughput | Metric::LatencyP50 | Metric::LatencyP99);
        if depends_on_time {
            assert_eq!(metric.verdict, Verdict::NotCompared, "{metric:?}");
        }
    }
    assert!(result.method.cpu_placement.shares_core);
}

#[test]
fn unreachable_rate_is_not_compared() {
    let result = Comparison::churn(&["epoll:level", "epoll:edge"])
        .with(["--blocks", "1", "--rate", "1000000"])
        .run()
        .result();
    let gate = gate(&result, GateKind::RateNotReached);
    assert_eq!(gate.remedy, "Try --rate 700000.");
    assert!(matches!(result.outcome, Outcome::Inconclusive | Outcome::Invalid));
}
