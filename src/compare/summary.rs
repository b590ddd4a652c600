//! Medians and totals of each arm at each load level.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use super::metrics::{responses, rounds_of, value};
use super::statistics::paired::median;
use crate::load::histogram_text;
use crate::result::{ArmSummary, Latency, LatencyPair, LoadLevel, Metric, Round};

/// Summarises each arm at each load level, if it has rounds.
pub fn summaries(rounds: &[Round], arms: usize, load_levels: &[LoadLevel]) -> Vec<ArmSummary> {
    let each =
        load_levels.iter().flat_map(|&load_level| (0..arms).map(move |arm| (arm, load_level)));
    each.filter_map(|(arm, load_level)| summary(rounds, arm, load_level)).collect()
}

fn summary(rounds: &[Round], arm: usize, load_level: LoadLevel) -> Option<ArmSummary> {
    let own_rounds: Vec<&Round> = rounds_of(rounds, arm, load_level).collect();
    let metric_median = |metric| median(own_rounds.iter().filter_map(|round| value(round, metric)));
    let median_by = |value: fn(&Round) -> f64| median(own_rounds.iter().map(|it| value(it)));
    let largest =
        |value: fn(&Round) -> u32| own_rounds.iter().map(|it| value(it)).max().unwrap_or(0);
    let sum = |value: fn(&Round) -> u64| own_rounds.iter().map(|it| value(it)).sum::<u64>() as f64;
    let user: u64 = own_rounds.iter().map(|round| round.server.user_ns).sum();
    let system: u64 = own_rounds.iter().map(|round| round.server.system_ns).sum();
    Some(ArmSummary {
        arm,
        load_level,
        rounds: own_rounds.len(),
        requests: own_rounds.iter().map(|round| round.requests).sum(),
        requests_per_second: metric_median(Metric::Throughput)?,
        cpu_per_request_us: metric_median(Metric::CpuPerRequest)?,
        user_cpu_share: (user + system > 0).then(|| user as f64 / (user + system) as f64),
        server_cpu_utilization: median_by(|round| round.server.cpu_utilization)?,
        client_cpu_utilization: median_by(|round| round.client.cpu_utilization)?,
        client_cpu_per_request_us: median_by(|round| {
            round.client.cpu_ns as f64 / 1000.0 / round.requests.max(1) as f64
        })?,
        system_calls_per_request: metric_median(Metric::SystemCallsPerRequest),
        system_calls: system_calls(&own_rounds),
        context_switches_per_request: metric_median(Metric::ContextSwitchesPerRequest)?,
        events_per_wait: median(
            own_rounds.iter().filter_map(|round| round.counters.as_ref()?.events_per_wait),
        ),
        io_uring_tasks: largest(|round| round.server.io_uring_tasks),
        io_wq_workers: largest(|round| round.server.io_wq_workers),
        peak_resident_bytes: own_rounds
            .iter()
            .map(|round| round.server.peak_resident_bytes)
            .max()
            .unwrap_or(0),
        io_wq_cpu_share: sum(|it| it.server.io_wq_cpu_ns) / sum(|it| it.server.cpu_ns).max(1.0),
        latency: LatencyPair {
            corrected: merge(own_rounds.iter().map(|round| &round.latency.corrected)),
            uncorrected: merge(own_rounds.iter().map(|round| &round.latency.uncorrected)),
        },
    })
}

/// Returns the number of each system call per response, in descending order.
fn system_calls(rounds: &[&Round]) -> Vec<(String, f64)> {
    let counters: Vec<_> = rounds.iter().filter_map(|round| round.counters.as_ref()).collect();
    let responses: f64 = rounds.iter().filter_map(|round| responses(round)).sum();
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in counters.iter().flat_map(|it| &it.system_calls) {
        *sums.entry(name).or_default() += count;
    }
    let mut calls: Vec<(String, f64)> = sums
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count as f64 / responses.max(1.0)))
        .collect();
    calls.sort_by(|one, other| other.1.total_cmp(&one.1));
    calls
}

/// Encodes a histogram and its percentiles for a result.
pub fn encode_latency(histogram: &Histogram<u64>) -> Latency {
    Latency {
        count: histogram.len(),
        p50_ns: histogram.value_at_quantile(0.5),
        p90_ns: histogram.value_at_quantile(0.9),
        p99_ns: histogram.value_at_quantile(0.99),
        p99_9_ns: histogram.value_at_quantile(0.999),
        p99_99_ns: histogram.value_at_quantile(0.9999),
        max_ns: histogram.max(),
        histogram: histogram_text(histogram),
    }
}

/// Decodes the histogram of a result, or returns `None` if it is missing or damaged.
pub fn decode_histogram(latency: &Latency) -> Option<Histogram<u64>> {
    let bytes = STANDARD.decode(&latency.histogram).ok()?;
    Deserializer::new().deserialize(&mut &bytes[..]).ok()
}

fn merge<'round>(latencies: impl Iterator<Item = &'round Latency>) -> Latency {
    let mut sum: Option<Histogram<u64>> = None;
    for histogram in latencies.filter_map(decode_histogram) {
        match &mut sum {
            None => sum = Some(histogram),
            Some(sum) => {
                sum.auto(true);
                // The histogram resizes itself, so adding cannot fail.
                let _ = sum.add(&histogram);
            }
        }
    }
    sum.map(|sum| encode_latency(&sum)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::synthetic;

    #[test]
    fn histograms_are_encoded_and_merged() {
        let mut fast = Histogram::<u64>::new(3).unwrap();
        let mut slow = Histogram::<u64>::new(3).unwrap();
        (0..99).for_each(|_| fast.record(1_000).unwrap());
        slow.record(50_000_000).unwrap();
        let (fast, slow) = (encode_latency(&fast), encode_latency(&slow));
        assert_eq!(decode_histogram(&fast).unwrap().len(), 99);
        let sum = merge([&fast, &slow].into_iter());
        assert_eq!((sum.count, sum.p50_ns), (100, 1_000));
        assert!((49_000_000..51_000_000).contains(&sum.max_ns), "{sum:?}");
        assert_eq!(merge([].into_iter()), Latency::default());
    }

    #[test]
    fn summary_includes_the_control() {
        let rounds = synthetic::rounds(2, 3);
        let summaries = summaries(&rounds, 2, &[LoadLevel::FixedRate, LoadLevel::Saturation]);
        assert_eq!(summaries.len(), 4);
        assert_eq!((summaries[0].rounds, summaries[1].rounds), (6, 3));
        assert_eq!(summaries[0].cpu_per_request_us, 10.0);
        assert_eq!(summaries[0].user_cpu_share, Some(0.1));
        assert_eq!(summaries[0].peak_resident_bytes, 6 << 20);
        assert_eq!(summaries[0].system_calls_per_request, Some(5.0));
        assert_eq!(summaries[0].system_calls[0], ("sendto".to_owned(), 4.0));
    }

    #[test]
    fn no_rounds_give_no_summary() {
        assert!(summaries(&[], 2, &[LoadLevel::FixedRate]).is_empty());
    }
}
