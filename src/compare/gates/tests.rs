//! Each gate is triggered alone, in rounds that are otherwise healthy.

use super::*;
use crate::compare::metrics::{Contrast, all_metrics};
use crate::compare::synthetic;
use crate::compare::verdict::{Margins, decide};
use crate::result::{ArmKind, BatchSize, Setting};

const MARGINS: Margins = Margins { negligible: 0.01, equivalence: 0.03 };

struct Case {
    arms: Vec<Arm>,
    placement: CpuPlacement,
    optimised: bool,
    load_levels: Vec<LoadLevelResult>,
    rounds: Vec<Round>,
}

impl Case {
    fn healthy() -> Self {
        let load_level = |load_level, requests_per_second| LoadLevelResult {
            load_level,
            requests_per_second,
            rate_origin: None,
        };
        Self {
            arms: synthetic::arms(2),
            placement: synthetic::placement(),
            optimised: true,
            load_levels: vec![
                load_level(LoadLevel::FixedRate, Some(10_000.0)),
                load_level(LoadLevel::Saturation, None),
            ],
            rounds: synthetic::rounds(2, 7),
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut case = Self::healthy();
        change(&mut case);
        case
    }

    /// Changes each round of the second arm, at one load level or at all.
    fn with_rounds(load_level: Option<LoadLevel>, change: impl Fn(&mut Round)) -> Self {
        Self::with(|case| {
            let concerned =
                |it: &&mut Round| it.arm == 1 && load_level.is_none_or(|at| at == it.load_level);
            case.rounds.iter_mut().filter(concerned).for_each(change);
        })
    }

    fn make_second_arm_a_command(&mut self) {
        self.arms[1].kind = ArmKind::Command;
        self.arms[1].settings.clear();
        let rounds = self.rounds.iter_mut().filter(|round| round.arm == 1);
        rounds.for_each(|round| round.engine = None);
    }

    fn gates(&self) -> Vec<Gate> {
        let load_levels: Vec<LoadLevel> = self.load_levels.iter().map(|it| it.load_level).collect();
        let control: Vec<MetricResult> = all_metrics(&load_levels, &[])
            .into_iter()
            .map(|at| decide(&self.rounds, at, Contrast::Control, false, 0.001, MARGINS, 1))
            .collect();
        gates(&Evidence {
            arms: &self.arms,
            placement: &self.placement,
            optimised: self.optimised,
            load_levels: &self.load_levels,
            rounds: &self.rounds,
            control: &control,
        })
    }

    /// Returns the only gate of the case.
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

fn at(metric: Metric, load_level: LoadLevel) -> MetricAt {
    MetricAt { metric, load_level }
}

#[test]
fn healthy_experiment_has_no_gates() {
    assert_eq!(Case::healthy().gates(), []);
}

#[test]
fn wrong_engine() {
    let case = Case::with_rounds(None, |round| round.engine = Some("epoll:edge".to_owned()));
    let gate = case.assert(GateKind::WrongEngine, GateEffect::Invalid);
    assert_eq!(gate.arms, [1]);
    assert!(gate.reason.contains("epoll:edge instead of epoll:level"), "{}", gate.reason);
    // Another program has no engine.
    assert_eq!(Case::with(Case::make_second_arm_a_command).gates(), []);
}

#[test]
fn wrong_bytes() {
    let case = Case::with_rounds(None, |round| {
        round.failures.wrong_bytes = 1;
        round.failures.example = Some("114 bytes expected, 113 received".to_owned());
    });
    let gate = case.assert(GateKind::WrongBytes, GateEffect::Invalid);
    assert!(gate.reason.contains("113 received"), "{}", gate.reason);
}

#[test]
fn connections_refused() {
    let case = Case::with_rounds(None, |round| round.failures.refused = 1);
    case.assert(GateKind::ConnectionsRefused, GateEffect::Invalid);
    let case = Case::with_rounds(None, |round| round.machine.listener.overflows = 1);
    case.assert(GateKind::ConnectionsRefused, GateEffect::Invalid);
}

#[test]
fn advice_names_only_settings_of_the_affected_arms() {
    let mut case = Case::with(|case| {
        case.rounds.iter_mut().for_each(|round| round.failures.refused = 1);
    });
    let remedy = case.only().remedy;
    assert!(remedy.contains("--set server.backlog"), "{remedy}");
    assert!(!remedy.contains("in the configuration of"), "{remedy}");
    case.make_second_arm_a_command();
    let remedy = case.only().remedy;
    assert!(remedy.contains("--set server.backlog"), "{remedy}");
    assert!(remedy.contains("listen backlog in the configuration of B."), "{remedy}");
    for change in [
        |round: &mut Round| round.failures.refused = 1,
        |round: &mut Round| round.failures.timed_out = 100,
        |round: &mut Round| round.client.connections_closed_by_server = 51,
    ] {
        let mut case = Case::with_rounds(None, change);
        case.make_second_arm_a_command();
        let remedy = case.only().remedy;
        assert!(!remedy.contains("--set") && remedy.contains(" of B"), "{remedy}");
    }
}

#[test]
fn requests_failed() {
    let case = Case::with_rounds(None, |round| round.failures.reset = 1);
    case.assert(GateKind::RequestsFailed, GateEffect::Warning);
    let case = Case::with_rounds(None, |round| round.failures.timed_out = 100);
    case.assert(GateKind::RequestsFailed, GateEffect::Invalid);
}

#[test]
fn connections_closed_by_server() {
    let ended = |closed| {
        Case::with_rounds(None, move |round| round.client.connections_closed_by_server = closed)
    };
    // There are 10,000 requests.
    assert_eq!(ended(1).gates(), []);
    ended(2).assert(GateKind::ConnectionsClosedByServer, GateEffect::Warning);
    ended(50).assert(GateKind::ConnectionsClosedByServer, GateEffect::Warning);
    let gate = ended(51).assert(GateKind::ConnectionsClosedByServer, GateEffect::NotCompared);
    assert_eq!((gate.arms, gate.metrics), (vec![1], Vec::new()));
}

fn count(round: &mut Round, name: &str) {
    let counters = round.counters.as_mut().expect("synthetic rounds have counters");
    counters.counters.insert(name.to_owned(), 1);
}

#[test]
fn completion_queue_overflow() {
    let case = Case::with_rounds(None, |round| count(round, "completion_queue_overflows"));
    let gate = case.assert(GateKind::CompletionQueueOverflow, GateEffect::NotCompared);
    assert!(gate.remedy.contains("completion_queue_entries"));
}

#[test]
fn out_of_buffers() {
    for name in server::OUT_OF_BUFFERS_COUNTERS {
        let case = Case::with_rounds(None, |round| count(round, name));
        case.assert(GateKind::OutOfBuffers, GateEffect::NotCompared);
    }
}

#[test]
fn io_wq_workers() {
    let used = |percent: u64| {
        Case::with_rounds(None, |round| {
            round.server.io_wq_workers = 3;
            round.server.io_wq_cpu_ns = round.server.cpu_ns * percent / 100;
        })
    };
    assert_eq!(used(1).gates(), []);
    let warning = used(5).assert(GateKind::IoWqWorkers, GateEffect::Warning);
    assert_eq!(warning.arms, [1]);
    assert!(warning.reason.contains("5% of the CPU time, up to 3 threads"), "{}", warning.reason);
    let mut case = used(40);
    let gate = case.assert(GateKind::IoWqWorkers, GateEffect::NotCompared);
    assert!(gate.metrics.contains(&at(Metric::Throughput, LoadLevel::Saturation)));
    assert!(gate.metrics.contains(&at(Metric::LatencyP99, LoadLevel::FixedRate)));
    assert!(gate.metrics.iter().all(|it| it.metric != Metric::CpuPerRequest));
    assert!(gate.remedy.contains("IORING_OP_SHUTDOWN"), "{}", gate.remedy);
    case.make_second_arm_a_command();
    let remedy = case.only().remedy;
    assert!(remedy.contains("queue_async_work") && !remedy.contains("SHUTDOWN"), "{remedy}");
}

#[test]
fn batch_limits_differ() {
    let setting = |key: &str, value: &str| Setting {
        key: key.to_owned(),
        value: value.to_owned(),
        origin: "a test".to_owned(),
    };
    let case = |second: &[Setting], waits_of| {
        Case::with(|case| {
            case.arms[0].settings.push(setting("epoll.events_per_wait", "1023"));
            case.arms[1].settings = second.to_vec();
            let batch = BatchSize { min_events: waits_of, waits: 1 };
            let rounds = case.rounds.iter_mut().filter(|round| round.arm == 1);
            for round in rounds {
                round.engine = Some(second[0].value.clone());
                round.counters.as_mut().unwrap().batch_sizes.push(batch);
            }
        })
    };
    let epoll =
        |limit| [setting("backend", "epoll:level"), setting("epoll.events_per_wait", limit)];
    assert_eq!(case(&epoll("16"), 8).gates(), []);
    let gate = case(&epoll("16"), 16).assert(GateKind::BatchLimitsDiffer, GateEffect::Warning);
    assert_eq!(gate.arms, [0, 1]);
    assert!(gate.reason.contains("(A 1023, B 16)"), "{}", gate.reason);
    assert_eq!(case(&epoll("1023"), 512).gates(), []);
    let io_uring = |completions| {
        [
            setting("backend", "io_uring:tuned"),
            setting("io_uring.submission_queue_entries", "256"),
            setting("io_uring.completion_queue_entries", completions),
        ]
    };
    let gate = case(&io_uring("0"), 512).assert(GateKind::BatchLimitsDiffer, GateEffect::Warning);
    assert!(gate.reason.contains("(A 1023, B 2048)"), "{}", gate.reason);
    assert_eq!(case(&io_uring("0"), 256).gates(), []);
}

/// A gate on a counter that no server reports would never trigger.
#[test]
fn counters_of_gates_exist() {
    let counters = ringpoll_backends::Counters::default();
    let names: Vec<_> = counters.iter().map(|(name, _)| name).collect();
    for name in server::OUT_OF_BUFFERS_COUNTERS.iter().chain(&["completion_queue_overflows"]) {
        assert!(names.contains(name), "{name}: {names:?}");
    }
}

#[test]
fn client_is_saturated() {
    let case = Case::with_rounds(Some(LoadLevel::Saturation), |round| {
        round.server.cpu_utilization = 0.6;
        round.client.cpu_utilization = 0.99;
    });
    let gate = case.assert(GateKind::ClientSaturated, GateEffect::NotCompared);
    assert_eq!(gate.metrics, [at(Metric::Throughput, LoadLevel::Saturation)]);
    assert!(gate.remedy.contains("CPU per request is still valid"));
}

#[test]
fn neither_server_nor_client_is_saturated() {
    let case =
        Case::with_rounds(Some(LoadLevel::Saturation), |round| round.server.cpu_utilization = 0.96);
    let gate = case.assert(GateKind::ServerNotSaturated, GateEffect::NotCompared);
    assert!(gate.remedy.contains("--connections"));
}

#[test]
fn rate_not_reached() {
    let load_level = Some(LoadLevel::FixedRate);
    for case in [
        Case::with_rounds(load_level, |round| round.requests = 9_000),
        Case::with_rounds(load_level, |round| round.server.cpu_utilization = 0.98),
        Case::with_rounds(load_level, |round| round.client.cpu_utilization = 0.98),
    ] {
        let gate = case.assert(GateKind::RateNotReached, GateEffect::NotCompared);
        assert!(gate.metrics.contains(&at(Metric::LatencyP99, LoadLevel::FixedRate)));
        assert!(gate.metrics.contains(&at(Metric::CpuPerRequest, LoadLevel::FixedRate)));
        assert!(gate.metrics.iter().all(|it| it.load_level == LoadLevel::FixedRate));
        assert_eq!(gate.remedy, "Try --rate 7000.");
    }
}

#[test]
fn server_and_client_share_a_core() {
    let case = Case::with(|case| case.placement.shares_core = true);
    let gate = case.assert(GateKind::SharedCore, GateEffect::NotCompared);
    let valid = at(Metric::CpuPerRequest, LoadLevel::FixedRate);
    assert!(!gate.metrics.contains(&valid));
    assert!(gate.metrics.contains(&at(Metric::Throughput, LoadLevel::Saturation)));
    assert!(gate.remedy.contains("--server-cpus"));
}

#[test]
fn cpu_steal() {
    let stolen = |share| {
        Case::with(|case| {
            case.rounds.iter_mut().for_each(|round| round.machine.steal_share = share);
        })
    };
    assert_eq!(stolen(0.01).gates(), []);
    stolen(0.05).assert(GateKind::CpuSteal, GateEffect::NotCompared);
    stolen(0.2).assert(GateKind::CpuSteal, GateEffect::Invalid);
}

#[test]
fn cpu_throttled() {
    let case = Case::with_rounds(None, |round| round.machine.throttled_ns = 100_000_000);
    case.assert(GateKind::CpuThrottled, GateEffect::Invalid);
}

#[test]
fn other_load_on_server_cpus() {
    let case = Case::with(|case| {
        case.rounds.iter_mut().for_each(|round| round.machine.server_cpus_other_share = 0.3);
    });
    case.assert(GateKind::OtherLoadOnServerCpus, GateEffect::Warning);
}

#[test]
fn not_optimised() {
    let case = Case::with(|case| case.optimised = false);
    case.assert(GateKind::NotOptimised, GateEffect::Warning);
}

#[test]
fn server_not_quiet() {
    let few = Case::with_rounds(None, |round| round.slices_not_quiet = Some(1));
    let gate = few.assert(GateKind::ServerNotQuiet, GateEffect::Warning);
    assert_eq!(gate.arms, [1]);
    assert!(gate.reason.contains("14 of 280 slices"), "{}", gate.reason);
    let many = Case::with_rounds(None, |round| round.slices_not_quiet = Some(2));
    let gate = many.assert(GateKind::ServerNotQuiet, GateEffect::NotCompared);
    assert!(gate.metrics.is_empty(), "all metrics");
}

#[test]
fn control_differs() {
    let case = Case::with(|case| {
        let copies =
            case.rounds.iter_mut().filter(|it| it.control && it.load_level == LoadLevel::FixedRate);
        copies.for_each(|round| round.server.cpu_ns = round.server.cpu_ns * 103 / 100);
    });
    let gate = case.assert(GateKind::ControlDiffers, GateEffect::NotCompared);
    assert_eq!(gate.metrics, [at(Metric::CpuPerRequest, LoadLevel::FixedRate)]);
}

#[test]
fn gate_excludes_only_its_metrics() {
    let case =
        Case::with_rounds(Some(LoadLevel::Saturation), |round| round.server.cpu_utilization = 0.5);
    let mut results: Vec<MetricResult> =
        all_metrics(&[LoadLevel::FixedRate, LoadLevel::Saturation], &[])
            .into_iter()
            .map(|at| decide(&case.rounds, at, Contrast::WithBaseline(1), false, 0.01, MARGINS, 1))
            .collect();
    assert!(!apply(&case.gates(), &mut results, 1), "not invalid");
    for result in results {
        let excluded = result.metric == Metric::Throughput;
        assert_eq!(result.verdict == Verdict::NotCompared, excluded, "{result:?}");
        assert_eq!(result.reason.is_some(), excluded, "{result:?}");
    }
}

#[test]
fn gate_excludes_only_its_arms() {
    let gate = Case::with_rounds(None, |round| count(round, "accept_pauses")).only();
    let result = |case: &Case| {
        let at = at(Metric::CpuPerRequest, LoadLevel::FixedRate);
        vec![decide(&case.rounds, at, Contrast::WithBaseline(1), true, 0.01, MARGINS, 1)]
    };
    let mut results = result(&Case::healthy());
    apply(std::slice::from_ref(&gate), &mut results, 2);
    assert_eq!(results[0].verdict, Verdict::NoDifference);
    apply(std::slice::from_ref(&gate), &mut results, 1);
    assert_eq!(results[0].verdict, Verdict::NotCompared);
}
