//! Results that nobody measured, judged by the program's own judges.

use std::sync::LazyLock;

use hdrhistogram::Histogram;
use ringpoll::compare::gates::{self, Evidence};
use ringpoll::compare::judgement::{Margins, judge};
use ringpoll::compare::metrics::{Against, all_metrics, deciding_metric};
use ringpoll::compare::summary::{latency_of, summaries};
use ringpoll::compare::sweep::{crossover, outcome};
use ringpoll::compare::words;
use ringpoll::report::result::{
    Arm, ArmKind, BatchSize, ClientUse, Comparison, ComparisonResult, Control, Difference, Ended,
    Experiment, Gate, LatencyPair, LoadDescription, Look, MachineUse, MetricResult, Point, Round,
    SCHEMA_VERSION, ServerCounters, ServerUse, Setting, SweepValue, WorkingPoint,
};

use crate::surroundings::{environment, method, placement};

const POINTS: [Point; 2] = [Point::FixedRate, Point::Saturated];
pub(crate) const MARGINS: Margins = Margins { negligible: 0.01, equivalence: 0.03 };
const RATE: f64 = 15_000.0;
const BLOCKS: usize = 8;

/// What an arm costs beside the first, and what it does for it.
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

/// Evenly distributed over 0 to 1, the same each time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Near 1.
    fn factor(&mut self, width: f64) -> f64 {
        1.0 + width * (self.next() + self.next() - 1.0)
    }

    /// Latencies with a tail.
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

fn round(noise: &mut Noise, cost: Cost, at: (usize, bool, Point, usize), began: f64) -> Round {
    let (arm, control, point, block) = at;
    let saturated = point == Point::Saturated;
    let cpu_us = 24.0 * cost.cpu * noise.factor(0.03) * if saturated { 0.93 } else { 1.0 };
    let requests = if saturated { 0.6e6 / cpu_us } else { RATE * 0.6 } as u64;
    let cpu_ns = (requests as f64 * cpu_us * 1000.0) as u64;
    let median = if saturated { 1.6e6 } else { 9.0e4 } * cost.latency * noise.factor(0.05);
    let sent = noise.latencies(median);
    let due = if saturated { sent.clone() } else { noise.latencies(median * 1.15) };
    let wait = if cost.system_calls > 2 { "epoll_wait" } else { "io_uring_enter" };
    Round {
        arm,
        control,
        point,
        block,
        backend: Some(cost.label.to_owned()),
        started_at_seconds: began,
        duration_ns: 600_000_000,
        slices: 12,
        requests,
        failures: Default::default(),
        latency: LatencyPair { corrected: latency_of(&due), uncorrected: latency_of(&sent) },
        server: ServerUse {
            cpu_ns,
            user_ns: cpu_ns / 8,
            system_ns: cpu_ns - cpu_ns / 8,
            voluntary_switches: requests / if saturated { 400 } else { 3 },
            involuntary_switches: 12,
            tasks: 1,
            io_uring_tasks: 0,
            busy: if saturated { 0.991 } else { cpu_ns as f64 / 6e8 },
        },
        counters: Some(ServerCounters {
            answered: requests,
            system_calls: [
                (wait.to_owned(), requests),
                ("close".to_owned(), requests * (cost.system_calls - 1)),
            ]
            .into(),
            counters: [("accepted".to_owned(), requests)].into(),
            events_per_wait: Some(2.4),
            batch_sizes: vec![BatchSize { at_least: 1, waits: requests }],
        }),
        client: ClientUse {
            cpu_ns: 300_000_000,
            busy: 0.5,
            connections: 64,
            connections_ended: 0,
            most_late_ns: 90_000,
        },
        machine: MachineUse::default(),
    }
}

fn rounds(noise: &mut Noise, costs: &[Cost]) -> Vec<Round> {
    let mut rounds: Vec<Round> = Vec::new();
    for block in 0..BLOCKS {
        for point in POINTS {
            let mut turns: Vec<(usize, bool)> = (0..costs.len()).map(|arm| (arm, false)).collect();
            turns.push((0, true));
            turns.rotate_left(block % costs.len());
            for (arm, control) in turns {
                let began = rounds.len() as f64 * 0.84;
                rounds.push(round(noise, costs[arm], (arm, control, point, block), began));
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
        engine: Some(format!("{} as it says itself", cost.label)),
        settings: vec![
            setting("backend", cost.label, "flag --set"),
            setting("server.backlog", "4096", "default"),
            setting("io_uring.submission_queue_entries", "256", "default"),
        ],
        kernel_features: Vec::new(),
    };
    costs.iter().map(arm).collect()
}

/// Judges rounds as an experiment does.
pub(crate) fn judged(arms: &[Arm], rounds: Vec<Round>) -> Experiment {
    let deciding = deciding_metric(&POINTS);
    let results = |against: Against| -> Vec<MetricResult> {
        let judge_it = |at| {
            let decides = at == deciding && against != Against::Itself;
            judge(&rounds, at, against, decides, 0.01, MARGINS, 7)
        };
        all_metrics(&POINTS).into_iter().map(judge_it).collect()
    };
    let working_points: Vec<WorkingPoint> = POINTS
        .map(|point| WorkingPoint {
            point,
            requests_per_second: (point == Point::FixedRate).then_some(RATE),
            rate_origin: (point == Point::FixedRate)
                .then(|| "60 % of what the slowest arm reached".to_owned()),
        })
        .into();
    let control = results(Against::Itself);
    let gates: Vec<Gate> = gates::gates(&Evidence {
        arms,
        placement: &placement(),
        optimised: true,
        points: &working_points,
        rounds: &rounds,
        control: &control,
    });
    let summaries = summaries(&rounds, arms.len(), &POINTS);
    let comparison = |contender: usize| {
        let mut metrics = results(Against::First(contender));
        gates::apply(&gates, &mut metrics, contender);
        let why = words::why(arms, &summaries, (0, contender), deciding.point);
        let sentence = String::new();
        let mut comparison = Comparison { baseline: 0, contender, metrics, sentence, why };
        comparison.sentence = words::sentence_of_two(arms, &comparison, &working_points, 0.95);
        comparison
    };
    let comparisons: Vec<Comparison> = (1..arms.len()).map(comparison).collect();
    let outcome = words::outcome(&comparisons, &gates);
    Experiment {
        load: LoadDescription {
            name: "churn".to_owned(),
            text: "one connection a request, 64 at once at saturation".to_owned(),
            parameters: vec![Setting {
                key: "connections".to_owned(),
                value: "64".to_owned(),
                origin: "flag".to_owned(),
            }],
            server_settings: Vec::new(),
        },
        sweep: None,
        ladder: None,
        working_points,
        sentence: words::sentence(arms, &comparisons, &gates, outcome),
        outcome,
        comparisons,
        control: Control { metrics: control },
        gates,
        summaries,
        rounds,
        looks: vec![Look {
            blocks: BLOCKS,
            information: 1.0,
            nominal_confidence: 0.95,
            ended: true,
        }],
        ended: Ended::Decided,
        notes: Vec::new(),
    }
}

fn around(arms: Vec<Arm>, experiments: Vec<Experiment>) -> ComparisonResult {
    let values = arms.iter().map(|arm| Some(arm.label.clone())).collect();
    ComparisonResult {
        schema_version: SCHEMA_VERSION,
        started_at: "2026-01-31T12:00:00Z".to_owned(),
        duration_seconds: 58.25,
        command_line: vec!["ringpoll".to_owned(), "compare".to_owned()],
        sentence: experiments[0].sentence.clone(),
        outcome: outcome(&experiments),
        environment: environment(),
        method: method(),
        differences: vec![Difference { key: "backend".to_owned(), values }],
        arms,
        experiments,
        crossover: None,
    }
}

/// A comparison of these, the first being the baseline.
pub(crate) fn result(costs: &[Cost], seed: u64) -> ComparisonResult {
    let arms = arms(costs);
    let experiment = judged(&arms, rounds(&mut Noise(seed), costs));
    around(arms, vec![experiment])
}

/// A comparison of one engine with another, of three, under several numbers of connections, and a
/// ladder: judging takes time, so each is judged once.
pub(crate) fn all() -> [&'static ComparisonResult; 4] {
    [two(), three(), swept(), crate::ladder::result()]
}

/// Two arms.
pub(crate) fn two() -> &'static ComparisonResult {
    static TWO: LazyLock<ComparisonResult> = LazyLock::new(|| result(&[LEVEL, SINGLE_SHOT], 3));
    &TWO
}

fn three() -> &'static ComparisonResult {
    static THREE: LazyLock<ComparisonResult> =
        LazyLock::new(|| result(&[LEVEL, EDGE, SINGLE_SHOT], 2));
    &THREE
}

/// Two loads, under which the second arm is better and worse than the first.
pub(crate) fn two_loads() -> &'static ComparisonResult {
    static LOADS: LazyLock<ComparisonResult> = LazyLock::new(|| {
        let arms = arms(&[LEVEL, SINGLE_SHOT]);
        let loads = [("churn", 0.87), ("keep-alive", 1.09)].into_iter().zip(3..);
        let experiments = loads.map(|((name, cpu), seed)| {
            let costs = [LEVEL, Cost { cpu, ..SINGLE_SHOT }];
            let mut experiment = judged(&arms, rounds(&mut Noise(seed), &costs));
            experiment.load.name = name.to_owned();
            experiment.load.text = format!("what {name} is");
            experiment
        });
        let mut experiments: Vec<Experiment> = experiments.collect();
        experiments[1].load.server_settings.push(Setting {
            key: "server.keep_alive".to_owned(),
            value: "true".to_owned(),
            origin: "load".to_owned(),
        });
        let sentence = words::sentence_of_loads(&experiments);
        ComparisonResult { sentence, ..around(arms.clone(), experiments) }
    });
    &LOADS
}

/// Several values of a sweep.
pub(crate) fn swept() -> &'static ComparisonResult {
    static SWEPT: LazyLock<ComparisonResult> = LazyLock::new(sweep);
    &SWEPT
}

/// A comparison of two under several numbers of connections; the second gets the better of the
/// first with many of them.
fn sweep() -> ComparisonResult {
    let values = [("1", 1.09), ("16", 1.03), ("64", 0.998), ("256", 0.93), ("1024", 0.87)];
    let arms = arms(&[LEVEL, SINGLE_SHOT]);
    let experiments: Vec<Experiment> = values
        .into_iter()
        .zip(1..)
        .map(|((value, cpu), seed)| {
            let costs = [LEVEL, Cost { cpu, ..SINGLE_SHOT }];
            let mut experiment = judged(&arms, rounds(&mut Noise(seed), &costs));
            let swept = SweepValue { key: "connections".to_owned(), value: value.to_owned() };
            experiment.load.parameters[0].value = value.to_owned();
            experiment.sweep = Some(swept);
            experiment
        })
        .collect();
    let map = crossover("connections", &arms, &experiments, &POINTS);
    let mut result = around(arms, experiments);
    result.sentence = map.sentence.clone();
    result.crossover = Some(map);
    result
}

/// The same question on another kernel, where the second arm costs something else.
pub(crate) fn on_kernel(release: &str, cpu: f64, seed: u64) -> ComparisonResult {
    let mut result = result(&[LEVEL, Cost { cpu, ..SINGLE_SHOT }], seed);
    result.environment.kernel_release = release.to_owned();
    result
}

/// The same on an emulated processor.
pub(crate) fn emulated(release: &str, cpu: f64, seed: u64) -> ComparisonResult {
    let mut result = on_kernel(release, cpu, seed);
    result.environment.cpu.model = "QEMU TCG CPU version 7.2.19".to_owned();
    result.environment.virtualisation = "a hypervisor".to_owned();
    result
}

/// As JSON, as `ringpoll compare --json` writes it.
pub(crate) fn json(result: &ComparisonResult) -> String {
    serde_json::to_string_pretty(result).unwrap()
}
