//! Metric values of rounds, and the logarithms of their paired ratios.

use std::collections::BTreeMap;

use super::statistics::paired::{mean, median};
use super::statistics::robust::hodges_lehmann;
use crate::result::{LoadLevel, Metric, MetricAt, Round, SystemCallCount};

/// Metrics that count events are not compared if both sides have fewer events per request.
pub const MIN_EVENTS_PER_REQUEST: f64 = 0.001;

/// Metrics that are compared only if `--decide` or `--fail-if` names them, or if the CPU counts
/// them. Short runs have too few requests above the 99.9th percentile for a useful interval, and
/// each metric that is compared widens the intervals of the others.
const ON_REQUEST: [Metric; 3] = [Metric::LatencyP999, HARDWARE[0], HARDWARE[1]];

/// Metrics that the CPU counts.
pub const HARDWARE: [Metric; 2] = [Metric::InstructionsPerRequest, Metric::CyclesPerRequest];

/// Returns the metrics of a load level, in table order. Saturation is a closed loop, in which
/// latency follows from the number of connections; a fixed rate is an open loop, in which
/// throughput follows from the offered rate.
fn metrics_at(load_level: LoadLevel) -> &'static [Metric] {
    match load_level {
        LoadLevel::FixedRate => &[
            Metric::CpuPerRequest,
            Metric::LatencyP50,
            Metric::LatencyP99,
            Metric::LatencyP999,
            Metric::SystemCallsPerRequest,
            Metric::ContextSwitchesPerRequest,
            Metric::InstructionsPerRequest,
            Metric::CyclesPerRequest,
        ],
        LoadLevel::Saturation => &[
            Metric::CpuPerRequest,
            Metric::Throughput,
            Metric::SystemCallsPerRequest,
            Metric::ContextSwitchesPerRequest,
            Metric::InstructionsPerRequest,
            Metric::CyclesPerRequest,
        ],
    }
}

/// Returns the metrics of a load at these load levels, in table order. Some are only among them if
/// they are `requested`.
pub fn metrics_of(
    is_stream: bool,
    load_levels: &[LoadLevel],
    requested: &[Metric],
) -> Vec<MetricAt> {
    if is_stream { stream_metrics() } else { all_metrics(load_levels, requested) }
}

/// Returns the metrics of a stream, in table order. The first decides the outcome: it is valid even
/// if the client is the bottleneck. A request is a message.
fn stream_metrics() -> Vec<MetricAt> {
    let metrics = [
        Metric::CpuPerGib,
        Metric::BytesThroughput,
        Metric::SystemCallsPerRequest,
        Metric::ContextSwitchesPerRequest,
    ];
    metrics.map(|metric| MetricAt { metric, load_level: LoadLevel::Saturation }).into()
}

/// Returns the metrics of all these load levels. Some are only among them if they are `requested`.
pub fn all_metrics(load_levels: &[LoadLevel], requested: &[Metric]) -> Vec<MetricAt> {
    let is_compared =
        |at: &MetricAt| !ON_REQUEST.contains(&at.metric) || requested.contains(&at.metric);
    let at = |&load_level: &LoadLevel| {
        metrics_at(load_level).iter().map(move |&metric| MetricAt { metric, load_level })
    };
    load_levels.iter().flat_map(at).filter(is_compared).collect()
}

/// Returns the metric that decides the outcome: CPU per request, because it is valid even if
/// server and client share a CPU, and at a fixed rate, because then all arms do the same work.
pub fn primary_metric(load_levels: &[LoadLevel]) -> MetricAt {
    let fixed = load_levels.contains(&LoadLevel::FixedRate);
    let load_level = if fixed { LoadLevel::FixedRate } else { LoadLevel::Saturation };
    MetricAt { metric: Metric::CpuPerRequest, load_level }
}

/// Returns the value of a metric in its unit, or `None` if the round does not have it. A latency is
/// the median over the periods, because ratios are also those of periods.
pub fn value(round: &Round, metric: Metric) -> Option<f64> {
    if let Some(latency_ns) = round.latency_of_periods_ns(metric) {
        return median(latency_ns.iter().map(|&latency| latency as f64 / 1000.0));
    }
    let requests = round.requests as f64;
    let seconds = round.duration_ns as f64 / 1e9;
    let value = match metric {
        Metric::CpuPerRequest => round.server.cpu_ns as f64 / 1000.0 / requests,
        Metric::Throughput => requests / seconds,
        Metric::LatencyP50 => round.latency.corrected.p50_ns as f64 / 1000.0,
        Metric::LatencyP99 => round.latency.corrected.p99_ns as f64 / 1000.0,
        Metric::LatencyP999 => round.latency.corrected.p99_9_ns as f64 / 1000.0,
        Metric::SystemCallsPerRequest => {
            let (calls, requests) = system_calls(round)?;
            calls as f64 / requests
        }
        Metric::ContextSwitchesPerRequest => context_switches(round) as f64 / requests,
        Metric::InstructionsPerRequest => {
            let counted = round.hardware?;
            counted.instructions as f64 / counted.requests as f64
        }
        Metric::CyclesPerRequest => {
            let counted = round.hardware?;
            counted.cycles as f64 / counted.requests as f64
        }
        Metric::CpuPerGib => {
            round.server.cpu_ns as f64 / 1e9 / (round.bytes? as f64 / f64::from(1 << 30))
        }
        Metric::BytesThroughput => round.bytes? as f64 / 1e9 / seconds,
    };
    value.is_finite().then_some(value)
}

/// Returns the number of system calls, and of the requests for which they were made: all since the
/// start of a ringpoll server, and those of a slice of another program.
fn system_calls(round: &Round) -> Option<(u64, f64)> {
    if let Some(counters) = &round.counters {
        return Some((counters.system_calls.values().sum(), responses(round)?));
    }
    match round.system_calls {
        Some(SystemCallCount::Counted { calls, requests }) => Some((calls, requests as f64)),
        Some(SystemCallCount::NotAvailable { .. }) | None => None,
    }
}

/// Returns the responses of a ringpoll server since its start. Those of a stream are the messages
/// that its bytes amount to.
pub(super) fn responses(round: &Round) -> Option<f64> {
    let counters = round.counters.as_ref()?;
    let Some(bytes) = round.bytes else { return Some(counters.responses as f64) };
    let count = |name: &str| counters.counters.get(name).copied().unwrap_or(0);
    let since_start = count("received_bytes") + count("sent_bytes");
    Some(since_start as f64 / bytes as f64 * round.requests as f64)
}

fn context_switches(round: &Round) -> u64 {
    round.server.voluntary_switches + round.server.involuntary_switches
}

/// Returns the natural logarithm of a latency in each period of a round, and of any other metric in
/// the round. That of a period without a response is not finite.
fn logarithms(round: &Round, metric: Metric) -> Option<Vec<f64>> {
    let Some(latency_ns) = round.latency_of_periods_ns(metric) else {
        return logarithm(round, metric).map(|it| vec![it]);
    };
    Some(latency_ns.iter().map(|&it| (it as f64).ln()).collect())
}

/// Returns the natural logarithm of a value. Half an event is added to event counts, because a
/// count can be 0.
fn logarithm(round: &Round, metric: Metric) -> Option<f64> {
    let value = value(round, metric)?;
    let half_an_event = match metric {
        Metric::ContextSwitchesPerRequest => 0.5 / round.requests as f64,
        Metric::SystemCallsPerRequest => 0.5 / system_calls(round)?.1,
        _ => 0.0,
    };
    let logarithm = (value + half_an_event).ln();
    logarithm.is_finite().then_some(logarithm)
}

/// The two arms of a ratio: candidate over baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contrast {
    /// An arm over the first one. The mean of both copies of the first is the better estimate.
    WithBaseline(usize),
    /// An arm over another one that is not the first.
    Between {
        /// The numerator.
        candidate: usize,
        /// The denominator.
        baseline: usize,
    },
    /// The second copy of the first arm over the first copy.
    Control,
}

impl Contrast {
    /// Compares an arm with any other.
    pub fn new(candidate: usize, baseline: usize) -> Self {
        match baseline {
            0 => Self::WithBaseline(candidate),
            _ => Self::Between { candidate, baseline },
        }
    }

    /// Returns candidate and baseline.
    pub const fn arms(self) -> (usize, usize) {
        match self {
            Self::WithBaseline(candidate) => (candidate, 0),
            Self::Between { candidate, baseline } => (candidate, baseline),
            Self::Control => (0, 0),
        }
    }
}

/// Returns the logarithm of the ratio in each block that has rounds of both arms. The ratio of a
/// latency is the robust mean of those of its periods.
pub fn log_ratios(rounds: &[Round], at: MetricAt, contrast: Contrast) -> Vec<f64> {
    let mut blocks: BTreeMap<usize, Block> = BTreeMap::new();
    for round in rounds.iter().filter(|round| round.load_level == at.load_level) {
        let block = blocks.entry(round.block).or_default();
        let logarithm = logarithms(round, at.metric);
        match (round.arm, round.control, contrast) {
            (0, false, _) => block.first = logarithm,
            (0, true, _) => block.second = logarithm,
            (arm, false, _) if arm == contrast.arms().0 => block.candidate = logarithm,
            (arm, false, _) if arm == contrast.arms().1 => block.baseline = logarithm,
            _ => {}
        }
    }
    blocks.values().filter_map(|block| block.ratio(contrast)).collect()
}

#[derive(Default)]
struct Block {
    first: Option<Vec<f64>>,
    second: Option<Vec<f64>>,
    candidate: Option<Vec<f64>>,
    baseline: Option<Vec<f64>>,
}

impl Block {
    fn ratio(&self, contrast: Contrast) -> Option<f64> {
        match contrast {
            // Each copy has its own estimate. The mean of both copies in a period is disturbed more
            // often than the candidate, so the median of its differences is not 0 for equal arms.
            Contrast::WithBaseline(_) => Some(mean(&[
                location(&self.candidate, &self.first)?,
                location(&self.candidate, &self.second)?,
            ])),
            Contrast::Between { .. } => location(&self.candidate, &self.baseline),
            Contrast::Control => location(&self.second, &self.first),
        }
    }
}

/// Returns the difference of paired values; `None` if one side was not measured.
fn location(candidate: &Option<Vec<f64>>, baseline: &Option<Vec<f64>>) -> Option<f64> {
    let pairs = candidate.as_ref()?.iter().zip(baseline.as_ref()?);
    let differences = pairs.map(|(candidate, baseline)| candidate - baseline);
    hodges_lehmann(&differences.filter(|it| it.is_finite()).collect::<Vec<_>>())
}

/// Iterates over the rounds of an arm at a load level, the control included.
pub fn rounds_of(
    rounds: &[Round],
    arm: usize,
    load_level: LoadLevel,
) -> impl Iterator<Item = &Round> {
    rounds.iter().filter(move |round| round.arm == arm && round.load_level == load_level)
}

/// Returns the median of a metric over the rounds of an arm.
pub fn arm_median(rounds: &[Round], arm: usize, at: MetricAt) -> Option<f64> {
    median(rounds_of(rounds, arm, at.load_level).filter_map(|round| value(round, at.metric)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::synthetic::{round, rounds};
    use crate::result::{HardwareCounts, LatencyPeriods};

    const CPU: MetricAt =
        MetricAt { metric: Metric::CpuPerRequest, load_level: LoadLevel::FixedRate };

    #[test]
    fn values_have_their_units() {
        let round = round(0, LoadLevel::FixedRate, 0);
        assert_eq!(value(&round, Metric::CpuPerRequest), Some(10.0));
        assert_eq!(value(&round, Metric::Throughput), Some(10_000.0));
        assert_eq!(value(&round, Metric::LatencyP50), Some(100.0));
        assert_eq!(value(&round, Metric::LatencyP99), Some(500.0));
        assert_eq!(value(&round, Metric::SystemCallsPerRequest), Some(5.0));
        assert_eq!(value(&round, Metric::ContextSwitchesPerRequest), Some(0.3));
    }

    #[test]
    fn latency_is_the_median_of_its_periods() {
        let mut round = round(0, LoadLevel::FixedRate, 0);
        let latency_ns = vec![300_000, 100_000, 900_000_000];
        round.periods = vec![LatencyPeriods { metric: Metric::LatencyP99, latency_ns }];
        assert_eq!(value(&round, Metric::LatencyP99), Some(300.0));
        assert_eq!(value(&round, Metric::LatencyP50), Some(100.0));
    }

    #[test]
    fn events_of_hardware_are_those_of_their_slice() {
        let mut round = round(0, LoadLevel::FixedRate, 0);
        assert_eq!(value(&round, Metric::InstructionsPerRequest), None);
        let (instructions, cycles, requests) = (90_000, 60_000, 12);
        round.hardware = Some(HardwareCounts { instructions, cycles, requests });
        assert_eq!(value(&round, Metric::InstructionsPerRequest), Some(7500.0));
        assert_eq!(value(&round, Metric::CyclesPerRequest), Some(5000.0));
        round.hardware = Some(HardwareCounts { instructions, cycles, requests: 0 });
        assert_eq!(value(&round, Metric::CyclesPerRequest), None);
    }

    #[test]
    fn rare_percentile_is_compared_on_request() {
        let has_it = |requested: &[Metric]| {
            let metrics = all_metrics(&[LoadLevel::FixedRate, LoadLevel::Saturation], requested);
            metrics.iter().any(|it| it.metric == Metric::LatencyP999)
        };
        assert!(has_it(&[Metric::LatencyP999]));
        assert!(!has_it(&[Metric::LatencyP99]));
    }

    #[test]
    fn values_of_a_stream_have_their_units() {
        let mut round = round(0, LoadLevel::Saturation, 0);
        assert_eq!(value(&round, Metric::CpuPerGib), None);
        assert_eq!(value(&round, Metric::BytesThroughput), None);
        round.bytes = Some(1 << 29);
        assert_eq!(value(&round, Metric::CpuPerGib), Some(0.2));
        assert_eq!(value(&round, Metric::BytesThroughput), Some(0.536_870_912));
        // The server has received twice as many bytes since its start: 20,000 messages.
        let counters = &mut round.counters.as_mut().unwrap().counters;
        counters.insert("received_bytes".to_owned(), 1 << 30);
        assert_eq!(value(&round, Metric::SystemCallsPerRequest), Some(2.75));
    }

    #[test]
    fn missing_counters_and_zero_requests_have_no_value() {
        let mut round = round(0, LoadLevel::FixedRate, 0);
        round.counters = None;
        assert_eq!(value(&round, Metric::SystemCallsPerRequest), None);
        round.system_calls = Some(SystemCallCount::Counted { calls: 30, requests: 12 });
        assert_eq!(value(&round, Metric::SystemCallsPerRequest), Some(2.5));
        round.requests = 0;
        assert_eq!(value(&round, Metric::CpuPerRequest), None);
    }

    #[test]
    fn ratios_are_taken_within_blocks() {
        let mut rounds = rounds(2, 3);
        for round in &mut rounds {
            // The machine becomes slower, and arm 1 uses twice the CPU.
            let slow = (round.block + 1) as u64;
            round.server.cpu_ns *= slow * (round.arm as u64 + 1);
        }
        let ratios = log_ratios(&rounds, CPU, Contrast::WithBaseline(1));
        assert_eq!(ratios.len(), 3);
        assert!(ratios.iter().all(|ratio| (ratio.exp() - 2.0).abs() < 1e-9), "{ratios:?}");
        assert_eq!(log_ratios(&rounds, CPU, Contrast::Control), [0.0; 3]);
    }

    #[test]
    fn baseline_is_the_geometric_mean_of_both_copies() {
        let mut rounds = rounds(2, 1);
        for round in rounds.iter_mut().filter(|round| round.control) {
            round.server.cpu_ns *= 4;
        }
        // The geometric mean of 1 and 4 is 2.
        let ratios = log_ratios(&rounds, CPU, Contrast::WithBaseline(1));
        assert!((ratios[0].exp() - 0.5).abs() < 1e-9, "{ratios:?}");
        assert!((log_ratios(&rounds, CPU, Contrast::Control)[0].exp() - 4.0).abs() < 1e-9);
    }

    #[test]
    fn any_two_arms_can_be_compared() {
        let mut rounds = rounds(3, 2);
        for round in &mut rounds {
            round.server.cpu_ns *= [6, 3, 2][round.arm];
        }
        let ratio = |contrast| log_ratios(&rounds, CPU, contrast)[0].exp();
        assert!((ratio(Contrast::new(2, 1)) - 2.0 / 3.0).abs() < 1e-9);
        assert!((ratio(Contrast::new(1, 2)) - 1.5).abs() < 1e-9);
        assert_eq!(Contrast::new(2, 0), Contrast::WithBaseline(2));
    }

    #[test]
    fn incomplete_blocks_are_skipped() {
        let mut rounds = rounds(2, 3);
        let missing =
            |it: &Round| it.block == 1 && it.arm == 1 && it.load_level == LoadLevel::FixedRate;
        rounds.retain(|round| !missing(round));
        assert_eq!(log_ratios(&rounds, CPU, Contrast::WithBaseline(1)).len(), 2);
        assert_eq!(log_ratios(&rounds, CPU, Contrast::Control).len(), 3);
    }

    #[test]
    fn zero_context_switches_have_a_ratio() {
        let mut rounds = rounds(2, 2);
        for round in rounds.iter_mut().filter(|round| round.arm == 1) {
            round.server.voluntary_switches = 0;
            round.server.involuntary_switches = 0;
        }
        let at = MetricAt {
            metric: Metric::ContextSwitchesPerRequest,
            load_level: LoadLevel::FixedRate,
        };
        assert!(log_ratios(&rounds, at, Contrast::WithBaseline(1)).iter().all(|it| *it < -5.0));
    }
}
