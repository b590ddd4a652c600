//! Results with synthetic rounds, analysed by ringpoll's own code.

use std::sync::LazyLock;

use hdrhistogram::Histogram;
use ringpoll::compare::explanation;
use ringpoll::compare::gates::{self, Evidence};
use ringpoll::compare::metrics::{Contrast, all_metrics, primary_metric};
use ringpoll::compare::summary::{encode_latency, summaries};
use ringpoll::compare::sweep::{crossover, outcome};
use ringpoll::compare::verdict::{Margins, decide};
use ringpoll::result::{
    Arm, ArmKind, BatchSize, ClientUsage, Comparison, ComparisonResult, Control, Difference,
    Experiment, Gate, InterimAnalysis, LatencyPair, LoadDescription, LoadLevel, LoadLevelResult,
    MachineUsage, MetricResult, Round, SCHEMA_VERSION, ServerCounters, ServerUsage, Setting,
    StopReason, SweepValue,
};

use crate::environment::{environment, method, placement};

const LOAD_LEVELS: [LoadLevel; 2] = [LoadLevel::FixedRate, LoadLevel::Saturation];
pub(crate) const MARGINS: Margins = Margins { negligible: 0.01, equivalence: 0.03 };
const RATE: f64 = 15_000.0;
const BLOCKS: usize = 8;

/// Costs of an arm. `cpu` and `latency` are factors relative to the first arm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) label: &'static str,
    pub(crate) cpu: f64,
    pub(crate) latency: f64,
    pub(crate) system_calls: u64,
}

pub(crate) const LEVEL: Cost =
    Cost { label: "epoll:level", cpu: 1.0, latency: 1.0, system_calls: 9 };
pub(crate) const EDGE: Cost =
    Cost { label: "epoll:edge", cpu: 0.995, latency: 1.0, system_calls: 8 };
pub(crate) const SINGLE_SHOT: Cost =
    Cost { label: "io_uring:single_shot", cpu: 0.87, latency: 1.08, system_calls: 1 };

/// Reproducible uniform random numbers from 0 to 1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a factor near 1.
    fn factor(&mut self, width: f64) -> f64 {
        1.0 + width * (self.next() + self.next() - 1.0)
    }

    /// Returns latencies with a tail.
    fn latencies(&mut self, median_ns: f64) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).unwrap();
        for _ in 0..1_500 {
            let tail = -self.next().max(1e-9).ln() - 0.7;
            let value = median_ns * (0.35 * tail).exp() * (1.0 + 0.01 * tail.max(0.0).powi(3));
            histogram.record(value as u64).unwrap();
        }
        histogram
    }
}

fn round(noise: &mut Noise, cost: Cost, at: (usize, bool, LoadLevel, usize), began: f64) -> Round {
    let (arm, control, load_level, block) = at;
    let saturated = load_level == LoadLevel::Saturation;
    let cpu_us = 24.0 * cost.cpu * noise.factor(0.03) * if saturated { 0.93 } else { 1.0 };
    let requests = if saturated { 0.6e6 / cpu_us } else { RATE * 0.6 } as u64;
    let cpu_ns = (requests as f64 * cpu_us * 1000.0) as u64;
    let median = if saturated { 1.6e6 } else { 9.0e4 } * cost.latency * noise.factor(0.05);
    let sent = noise.latencies(median);
    let corrected = if saturated { sent.clone() } else { noise.latencies(median * 1.15) };
    let wait = if cost.system_calls > 2 { "epoll_wait" } else { "io_uring_enter" };
    Round {
        arm,
        control,
        load_level,
        block,
        engine: Some(cost.label.to_owned()),
        started_at_seconds: began,
        duration_ns: 600_000_000,
        slices: 12,
        requests,
        bytes: None,
        slices_not_quiet: None,
        failures: Default::default(),
        periods: Vec::new(),
        latency: LatencyPair {
            corrected: encode_latency(&corrected),
            uncorrected: encode_latency(&sent),
        },
        server: ServerUsage {
            cpu_ns,
            user_ns: cpu_ns / 8,
            system_ns: cpu_ns - cpu_ns / 8,
            voluntary_switches: requests / if saturated { 400 } else { 3 },
            involuntary_switches: 12,
            tasks: 1,
            io_uring_tasks: 0,
            io_wq_workers: 0,
            io_wq_cpu_ns: 0,
            peak_resident_bytes: 6 << 20,
            cpu_utilization: if saturated { 0.991 } else { cpu_ns as f64 / 6e8 },
        },
        counters: Some(ServerCounters {
            responses: requests,
            system_calls: [
                (wait.to_owned(), requests),
                ("close".to_owned(), requests * (cost.system_calls - 1)),
            ]
            .into(),
            counters: [("accepted".to_owned(), requests)].into(),
            events_per_wait: Some(2.4),
            batch_sizes: vec![BatchSize { min_events: 1, waits: requests }],
        }),
        system_calls: None,
        hardware: None,
        client: ClientUsage {
            cpu_ns: 300_000_000,
            cpu_utilization: 0.5,
            max_open_connections: 64,
            connections_closed_by_server: 0,
            max_scheduling_delay_ns: 90_000,
        },
        machine: MachineUsage::default(),
    }
}

fn rounds(noise: &mut Noise, costs: &[Cost]) -> Vec<Round> {
    let mut rounds: Vec<Round> = Vec::new();
    for block in 0..BLOCKS {
        for load_level in LOAD_LEVELS {
            let mut order: Vec<(usize, bool)> = (0..costs.len()).map(|arm| (arm, false)).collect();
            order.push((0, true));
            order.rotate_left(block % costs.len());
            for (arm, control) in order {
                let began = rounds.len() as f64 * 0.84;
                rounds.push(round(noise, costs[arm], (arm, control, load_level, block), began));
            }
        }
    }
    rounds
}

fn arms(costs: &[Cost]) -> Vec<Arm> {
    let setting = |key: &str, value: &str, origin: &str| Setting {
        key: key.to_owned(),
        value: value.to_owned(),
        origin: origin.to_owned(),
    };
    let arm = |cost: &Cost| Arm {
        spec: cost.label.to_owned(),
        label: cost.label.to_owned(),
        kind: ArmKind::Engine,
        command_line: ["ringpoll", "serve", "--backend", cost.label].map(str::to_owned).into(),
        engine: Some(format!("engine {}", cost.label)),
        settings: vec![
            setting("backend", cost.label, "flag --set"),
            setting("server.backlog", "4096", "default"),
            setting("io_uring.submission_queue_entries", "256", "default"),
        ],
        kernel_features: Vec::new(),
    };
    costs.iter().map(arm).collect()
}

fn churn() -> LoadDescription {
    LoadDescription {
        name: "churn".to_owned(),
        description: "one connection per request, 64 connections at saturation".to_owned(),
        parameters: vec![Setting {
            key: "connections".to_owned(),
            value: "64".to_owned(),
            origin: "flag".to_owned(),
        }],
        server_settings: Vec::new(),
    }
}

/// Analyses rounds like an experiment.
pub(crate) fn analysed(arms: &[Arm], rounds: Vec<Round>) -> Experiment {
    let primary = primary_metric(&LOAD_LEVELS);
    let results = |contrast: Contrast| -> Vec<MetricResult> {
        let decide_metric = |at| {
            let decides = at == primary && contrast != Contrast::Control;
            decide(&rounds, at, contrast, decides, 0.01, MARGINS, 7)
        };
        all_metrics(&LOAD_LEVELS, &[]).into_iter().map(decide_metric).collect()
    };
    let load_levels: Vec<LoadLevelResult> = LOAD_LEVELS
        .map(|load_level| LoadLevelResult {
            load_level,
            requests_per_second: (load_level == LoadLevel::FixedRate).then_some(RATE),
            rate_origin: (load_level == LoadLevel::FixedRate)
                .then(|| "60% of the throughput of the slowest arm".to_owned()),
        })
        .into();
    let control = results(Contrast::Control);
    let gates: Vec<Gate> = gates::gates(&Evidence {
        arms,
        placement: &placement(),
        optimised: true,
        load_levels: &load_levels,
        rounds: &rounds,
        control: &control,
    });
    let summaries = summaries(&rounds, arms.len(), &LOAD_LEVELS);
    let comparison = |candidate: usize| {
        let mut metrics = results(Contrast::WithBaseline(candidate));
        gates::apply(&gates, &mut metrics, candidate);
        let causes = explanation::causes(arms, &summaries, (0, candidate), primary.load_level);
        let conclusion = String::new();
        let mut comparison = Comparison { baseline: 0, candidate, metrics, conclusion, causes };
        comparison.conclusion =
            explanation::comparison_conclusion(arms, &comparison, &load_levels, 0.95);
        comparison
    };
    let comparisons: Vec<Comparison> = (1..arms.len()).map(comparison).collect();
    let outcome = explanation::outcome(&comparisons, &gates);
    Experiment {
        load: churn(),
        sweep: None,
        verified: Vec::new(),
        ladder: None,
        load_levels,
        conclusion: explanation::experiment_conclusion(arms, &comparisons, &gates, outcome),
        outcome,
        comparisons,
        control: Control { metrics: control },
        gates,
        summaries,
        rounds,
        interim_analyses: vec![InterimAnalysis {
            blocks: BLOCKS,
            information_fraction: 1.0,
            nominal_confidence: 0.95,
            stopped: true,
        }],
        stop_reason: StopReason::Decided,
        notes: Vec::new(),
    }
}

fn comparison_result(arms: Vec<Arm>, experiments: Vec<Experiment>) -> ComparisonResult {
    let values = arms.iter().map(|arm| Some(arm.label.clone())).collect();
    ComparisonResult {
        schema_version: SCHEMA_VERSION,
        started_at: "2026-01-31T12:00:00Z".to_owned(),
        duration_seconds: 58.25,
        command_line: vec!["ringpoll".to_owned(), "compare".to_owned()],
        conclusion: experiments[0].conclusion.clone(),
        outcome: outcome(&experiments),
        environment: environment(),
        method: method(),
        differences: vec![Difference { key: "backend".to_owned(), values }],
        arms,
        experiments,
        crossover: None,
    }
}

/// Returns a comparison of these arms.
pub(crate) fn result(costs: &[Cost], seed: u64) -> ComparisonResult {
    let arms = arms(costs);
    let experiment = analysed(&arms, rounds(&mut Noise(seed), costs));
    comparison_result(arms, vec![experiment])
}

/// Returns results of two arms, of three arms, of a sweep and of a ladder. Each is computed once,
/// because the analysis takes time.
pub(crate) fn all() -> [&'static ComparisonResult; 4] {
    [two(), three(), swept(), crate::ladder::result()]
}

/// Returns a result of two arms.
pub(crate) fn two() -> &'static ComparisonResult {
    static TWO: LazyLock<ComparisonResult> = LazyLock::new(|| result(&[LEVEL, SINGLE_SHOT], 3));
    &TWO
}

fn three() -> &'static ComparisonResult {
    static THREE: LazyLock<ComparisonResult> =
        LazyLock::new(|| result(&[LEVEL, EDGE, SINGLE_SHOT], 2));
    &THREE
}

/// Returns a result of two loads. The second arm is better with one and worse with the other.
pub(crate) fn two_loads() -> &'static ComparisonResult {
    static LOADS: LazyLock<ComparisonResult> = LazyLock::new(|| {
        let arms = arms(&[LEVEL, SINGLE_SHOT]);
        let loads = [("churn", 0.87), ("keep-alive", 1.09)].into_iter().zip(3..);
        let experiments = loads.map(|((name, cpu), seed)| {
            let costs = [LEVEL, Cost { cpu, ..SINGLE_SHOT }];
            let mut experiment = analysed(&arms, rounds(&mut Noise(seed), &costs));
            experiment.load.name = name.to_owned();
            experiment.load.description = format!("description of {name}");
            experiment
        });
        let mut experiments: Vec<Experiment> = experiments.collect();
        experiments[1].load.server_settings.push(Setting {
            key: "server.keep_alive".to_owned(),
            value: "true".to_owned(),
            origin: "load".to_owned(),
        });
        let conclusion = explanation::overall_conclusion(&experiments);
        ComparisonResult { conclusion, ..comparison_result(arms.clone(), experiments) }
    });
    &LOADS
}

/// Returns the result of a sweep.
pub(crate) fn swept() -> &'static ComparisonResult {
    static SWEPT: LazyLock<ComparisonResult> = LazyLock::new(sweep);
    &SWEPT
}

/// Compares two arms with several numbers of connections. The second is better with many.
fn sweep() -> ComparisonResult {
    let values = [("1", 1.09), ("16", 1.03), ("64", 0.998), ("256", 0.93), ("1024", 0.87)];
    let arms = arms(&[LEVEL, SINGLE_SHOT]);
    let experiments: Vec<Experiment> = values
        .into_iter()
        .zip(1..)
        .map(|((value, cpu), seed)| {
            let costs = [LEVEL, Cost { cpu, ..SINGLE_SHOT }];
            let mut experiment = analysed(&arms, rounds(&mut Noise(seed), &costs));
            let swept = SweepValue { key: "connections".to_owned(), value: value.to_owned() };
            experiment.load.parameters[0].value = value.to_owned();
            experiment.sweep = Some(swept);
            experiment
        })
        .collect();
    let map = crossover("connections", &arms, &experiments, &LOAD_LEVELS);
    let mut result = comparison_result(arms, experiments);
    result.conclusion = map.conclusion.clone();
    result.crossover = Some(map);
    result
}

/// Returns a result of the same comparison on another kernel, with another cost of the second arm.
pub(crate) fn result_on_kernel(release: &str, cpu: f64, seed: u64) -> ComparisonResult {
    let mut result = result(&[LEVEL, Cost { cpu, ..SINGLE_SHOT }], seed);
    result.environment.kernel_release = release.to_owned();
    result
}

/// Returns a result of the same comparison on an emulated CPU.
pub(crate) fn result_on_emulated_cpu(release: &str, cpu: f64, seed: u64) -> ComparisonResult {
    let mut result = result_on_kernel(release, cpu, seed);
    result.environment.cpu.model = "QEMU TCG CPU version 7.2.19".to_owned();
    result.environment.virtualisation = "a hypervisor".to_owned();
    result
}

/// Returns the JSON that `ringpoll compare --json` writes.
pub(crate) fn json(result: &ComparisonResult) -> String {
    serde_json::to_string_pretty(result).unwrap()
}
