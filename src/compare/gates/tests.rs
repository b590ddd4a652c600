//! Each rule is provoked once, alone, in rounds in which all else is well.

use super::*;
use crate::compare::judgement::{Margins, judge};
use crate::compare::metrics::{Against, all_metrics};
use crate::compare::synthetic;
use crate::report::result::Setting;

const MARGINS: Margins = Margins { negligible: 0.01, equivalence: 0.03 };

struct Case {
    arms: Vec<Arm>,
    placement: Placement,
    optimised: bool,
    points: Vec<WorkingPoint>,
    rounds: Vec<Round>,
}

impl Case {
    fn healthy() -> Self {
        let point = |point, requests_per_second| WorkingPoint {
            point,
            requests_per_second,
            rate_origin: None,
        };
        Self {
            arms: synthetic::arms(2),
            placement: synthetic::placement(),
            optimised: true,
            points: vec![point(Point::FixedRate, Some(10_000.0)), point(Point::Saturated, None)],
            rounds: synthetic::rounds(2, 7),
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut case = Self::healthy();
        change(&mut case);
        case
    }

    /// A case in which each round of the second arm at this point, or at any, is changed.
    fn with_rounds(point: Option<Point>, change: impl Fn(&mut Round)) -> Self {
        Self::with(|case| {
            let concerned = |it: &&mut Round| it.arm == 1 && point.is_none_or(|at| at == it.point);
            case.rounds.iter_mut().filter(concerned).for_each(change);
        })
    }

    fn gates(&self) -> Vec<Gate> {
        let points: Vec<Point> = self.points.iter().map(|it| it.point).collect();
        let control: Vec<MetricResult> = all_metrics(&points)
            .into_iter()
            .map(|at| judge(&self.rounds, at, Against::Itself, false, 0.001, MARGINS, 1))
            .collect();
        gates(&Evidence {
            arms: &self.arms,
            placement: &self.placement,
            optimised: self.optimised,
            points: &self.points,
            rounds: &self.rounds,
            control: &control,
        })
    }

    /// The only gate of the case.
    fn only(&self) -> Gate {
        let mut gates = self.gates();
        assert_eq!(gates.len(), 1, "{gates:?}");
        let gate = gates.remove(0);
        assert!(!gate.reason.is_empty() && !gate.remedy.is_empty(), "{gate:?}");
        gate
    }

    fn assert(&self, kind: GateKind, effect: GateEffect) -> Gate {
        let gate = self.only();
        assert_eq!((gate.kind, gate.effect), (kind, effect), "{gate:?}");
        gate
    }
}

fn at(metric: Metric, point: Point) -> MetricAt {
    MetricAt { metric, point }
}

#[test]
fn nothing_speaks_against_a_healthy_experiment() {
    assert_eq!(Case::healthy().gates(), []);
}

#[test]
fn wrong_engine() {
    let case = Case::with_rounds(None, |round| round.backend = Some("epoll:edge".to_owned()));
    let gate = case.assert(GateKind::WrongEngine, GateEffect::Invalid);
    assert_eq!(gate.arms, [1]);
    assert!(gate.reason.contains("epoll:edge, not on epoll:level"), "{}", gate.reason);
    // Another program has no engine to be asked for.
    let case = Case::with(|case| {
        case.arms[1].kind = crate::report::result::ArmKind::Command;
        case.arms[1].settings = Vec::<Setting>::new();
        let rounds = case.rounds.iter_mut().filter(|round| round.arm == 1);
        rounds.for_each(|round| round.backend = None);
    });
    assert_eq!(case.gates(), []);
}

#[test]
fn wrong_bytes() {
    let case = Case::with_rounds(None, |round| {
        round.failures.wrong_bytes = 1;
        round.failures.example = Some("114 bytes expected, 113 came".to_owned());
    });
    let gate = case.assert(GateKind::WrongBytes, GateEffect::Invalid);
    assert!(gate.reason.contains("113 came"), "{}", gate.reason);
}

#[test]
fn connections_refused() {
    let case = Case::with_rounds(None, |round| round.failures.refused = 1);
    case.assert(GateKind::ConnectionsRefused, GateEffect::Invalid);
    let case = Case::with_rounds(None, |round| round.machine.listener.overflows = 1);
    case.assert(GateKind::ConnectionsRefused, GateEffect::Invalid);
}

#[test]
fn requests_failed() {
    let case = Case::with_rounds(None, |round| round.failures.reset = 1);
    case.assert(GateKind::RequestsFailed, GateEffect::Warning);
    let case = Case::with_rounds(None, |round| round.failures.timed_out = 100);
    case.assert(GateKind::RequestsFailed, GateEffect::Invalid);
}

#[test]
fn connections_are_not_kept() {
    let ended = |connections_ended| {
        Case::with_rounds(None, move |round| round.client.connections_ended = connections_ended)
    };
    // There are 10,000 requests.
    assert_eq!(ended(1).gates(), []);
    ended(2).assert(GateKind::ConnectionsNotKept, GateEffect::Warning);
    ended(50).assert(GateKind::ConnectionsNotKept, GateEffect::Warning);
    let gate = ended(51).assert(GateKind::ConnectionsNotKept, GateEffect::NotJudgeable);
    assert_eq!((gate.arms, gate.metrics), (vec![1], Vec::new()));
}

fn count(round: &mut Round, name: &str) {
    let counters = round.counters.as_mut().expect("synthetic rounds have counters");
    counters.counters.insert(name.to_owned(), 1);
}

#[test]
fn completions_overflowed() {
    let case = Case::with_rounds(None, |round| count(round, "completion_queue_overflows"));
    let gate = case.assert(GateKind::CompletionsOverflowed, GateEffect::NotJudgeable);
    assert!(gate.remedy.contains("completion_queue_entries"));
}

#[test]
fn buffers_ran_out() {
    for name in ["accept_pauses", "receive_buffers_exhausted"] {
        let case = Case::with_rounds(None, |round| count(round, name));
        case.assert(GateKind::BuffersRanOut, GateEffect::NotJudgeable);
    }
}

#[test]
fn the_client_is_saturated_and_the_server_is_not() {
    let case = Case::with_rounds(Some(Point::Saturated), |round| {
        round.server.busy = 0.6;
        round.client.busy = 0.99;
    });
    let gate = case.assert(GateKind::ClientSaturated, GateEffect::NotJudgeable);
    assert_eq!(gate.metrics, [at(Metric::Throughput, Point::Saturated)]);
    assert!(gate.remedy.contains("CPU per request can be judged"));
}

#[test]
fn nobody_is_saturated() {
    let case = Case::with_rounds(Some(Point::Saturated), |round| round.server.busy = 0.96);
    let gate = case.assert(GateKind::ServerNotSaturated, GateEffect::NotJudgeable);
    assert!(gate.remedy.contains("--connections"));
}

#[test]
fn the_rate_is_not_kept() {
    let point = Some(Point::FixedRate);
    for case in [
        Case::with_rounds(point, |round| round.requests = 9_000),
        Case::with_rounds(point, |round| round.server.busy = 0.98),
        Case::with_rounds(point, |round| round.client.busy = 0.98),
    ] {
        let gate = case.assert(GateKind::RateNotKept, GateEffect::NotJudgeable);
        assert!(gate.metrics.contains(&at(Metric::LatencyP99, Point::FixedRate)));
        assert!(gate.metrics.contains(&at(Metric::CpuPerRequest, Point::FixedRate)));
        assert!(gate.metrics.iter().all(|it| it.point == Point::FixedRate));
        assert_eq!(gate.remedy, "--rate 7000");
    }
}

#[test]
fn server_and_client_share_a_core() {
    let case = Case::with(|case| case.placement.shared = true);
    let gate = case.assert(GateKind::SharedCore, GateEffect::NotJudgeable);
    let judgeable = at(Metric::CpuPerRequest, Point::FixedRate);
    assert!(!gate.metrics.contains(&judgeable));
    assert!(gate.metrics.contains(&at(Metric::Throughput, Point::Saturated)));
    assert!(gate.remedy.contains("--server-cpus"));
}

#[test]
fn the_processor_is_stolen() {
    let stolen = |share| {
        Case::with(|case| case.rounds.iter_mut().for_each(|round| round.machine.stolen = share))
    };
    assert_eq!(stolen(0.01).gates(), []);
    stolen(0.05).assert(GateKind::CpuStolen, GateEffect::NotJudgeable);
    stolen(0.2).assert(GateKind::CpuStolen, GateEffect::Invalid);
}

#[test]
fn the_control_group_is_throttled() {
    let case = Case::with_rounds(None, |round| round.machine.throttled_ns = 100_000_000);
    case.assert(GateKind::CpuThrottled, GateEffect::Invalid);
}

#[test]
fn others_are_on_the_cores() {
    let case = Case::with(|case| {
        case.rounds.iter_mut().for_each(|round| round.machine.server_cpus_others = 0.3);
    });
    case.assert(GateKind::OthersOnTheCores, GateEffect::Warning);
}

#[test]
fn without_optimisation() {
    let case = Case::with(|case| case.optimised = false);
    case.assert(GateKind::NotOptimised, GateEffect::Warning);
}

#[test]
fn the_control_differs() {
    let case = Case::with(|case| {
        let copies = case.rounds.iter_mut().filter(|it| it.control && it.point == Point::FixedRate);
        copies.for_each(|round| round.server.cpu_ns = round.server.cpu_ns * 103 / 100);
    });
    let gate = case.assert(GateKind::ControlDiffers, GateEffect::NotJudgeable);
    assert_eq!(gate.metrics, [at(Metric::CpuPerRequest, Point::FixedRate)]);
}

#[test]
fn a_gate_closes_what_it_names_and_nothing_else() {
    let case = Case::with_rounds(Some(Point::Saturated), |round| round.server.busy = 0.5);
    let mut results: Vec<MetricResult> = all_metrics(&[Point::FixedRate, Point::Saturated])
        .into_iter()
        .map(|at| judge(&case.rounds, at, Against::First(1), false, 0.01, MARGINS, 1))
        .collect();
    assert!(!apply(&case.gates(), &mut results, 1), "not invalid");
    for result in results {
        let closed = result.metric == Metric::Throughput;
        assert_eq!(result.verdict == Verdict::NotJudgeable, closed, "{result:?}");
        assert_eq!(result.reason.is_some(), closed, "{result:?}");
    }
}

#[test]
fn a_gate_of_one_arm_leaves_the_others() {
    let gate = Case::with_rounds(None, |round| count(round, "accept_pauses")).only();
    let result = |case: &Case| {
        let at = at(Metric::CpuPerRequest, Point::FixedRate);
        vec![judge(&case.rounds, at, Against::First(1), true, 0.01, MARGINS, 1)]
    };
    let mut results = result(&Case::healthy());
    apply(std::slice::from_ref(&gate), &mut results, 2);
    assert_eq!(results[0].verdict, Verdict::NoDifference);
    apply(std::slice::from_ref(&gate), &mut results, 1);
    assert_eq!(results[0].verdict, Verdict::NotJudgeable);
}
