//! What each arm did at each point, in one line.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::metrics::{rounds_of, value};
use super::statistics::paired::median;
use crate::report::result::{ArmSummary, Latency, LatencyPair, Metric, Point, Round};

/// One for each arm at each point that has rounds.
pub fn summaries(rounds: &[Round], arms: usize, points: &[Point]) -> Vec<ArmSummary> {
    let each = points.iter().flat_map(|&point| (0..arms).map(move |arm| (arm, point)));
    each.filter_map(|(arm, point)| summary(rounds, arm, point)).collect()
}

fn summary(rounds: &[Round], arm: usize, point: Point) -> Option<ArmSummary> {
    let own: Vec<&Round> = rounds_of(rounds, arm, point).collect();
    let of_metric = |metric| median(own.iter().filter_map(|round| value(round, metric)));
    let of = |what: fn(&Round) -> f64| median(own.iter().map(|round| what(round)));
    let user: u64 = own.iter().map(|round| round.server.user_ns).sum();
    let system: u64 = own.iter().map(|round| round.server.system_ns).sum();
    Some(ArmSummary {
        arm,
        point,
        rounds: own.len(),
        requests: own.iter().map(|round| round.requests).sum(),
        requests_per_second: of_metric(Metric::Throughput)?,
        cpu_per_request_us: of_metric(Metric::CpuPerRequest)?,
        user_share: (user + system > 0).then(|| user as f64 / (user + system) as f64),
        server_busy: of(|round| round.server.busy)?,
        client_busy: of(|round| round.client.busy)?,
        client_cpu_per_request_us: of(|round| {
            round.client.cpu_ns as f64 / 1000.0 / round.requests.max(1) as f64
        })?,
        system_calls_per_request: of_metric(Metric::SystemCallsPerRequest),
        system_calls: system_calls(&own),
        context_switches_per_request: of_metric(Metric::ContextSwitchesPerRequest)?,
        events_per_wait: median(
            own.iter().filter_map(|round| round.counters.as_ref()?.events_per_wait),
        ),
        io_uring_tasks: own.iter().map(|round| round.server.io_uring_tasks).max().unwrap_or(0),
        latency: LatencyPair {
            corrected: together(own.iter().map(|round| &round.latency.corrected)),
            uncorrected: together(own.iter().map(|round| &round.latency.uncorrected)),
        },
    })
}

/// Each system call with its number for each answer, in falling order.
fn system_calls(rounds: &[&Round]) -> Vec<(String, f64)> {
    let counters: Vec<_> = rounds.iter().filter_map(|round| round.counters.as_ref()).collect();
    let answered: u64 = counters.iter().map(|it| it.answered).sum();
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in counters.iter().flat_map(|it| &it.system_calls) {
        *sums.entry(name).or_default() += count;
    }
    let mut calls: Vec<(String, f64)> = sums
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count as f64 / answered.max(1) as f64))
        .collect();
    calls.sort_by(|one, other| other.1.total_cmp(&one.1));
    calls
}

/// A histogram with its points, ready for a result.
pub fn latency_of(histogram: &Histogram<u64>) -> Latency {
    let mut bytes = Vec::new();
    // Into memory, where nothing fails.
    let _ = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    Latency {
        count: histogram.len(),
        p50_ns: histogram.value_at_quantile(0.5),
        p90_ns: histogram.value_at_quantile(0.9),
        p99_ns: histogram.value_at_quantile(0.99),
        p99_9_ns: histogram.value_at_quantile(0.999),
        max_ns: histogram.max(),
        histogram: STANDARD.encode(bytes),
    }
}

/// The histogram of a result; `None` if there is none in it.
pub fn histogram_of(latency: &Latency) -> Option<Histogram<u64>> {
    let bytes = STANDARD.decode(&latency.histogram).ok()?;
    Deserializer::new().deserialize(&mut &bytes[..]).ok()
}

fn together<'round>(latencies: impl Iterator<Item = &'round Latency>) -> Latency {
    let mut sum: Option<Histogram<u64>> = None;
    for histogram in latencies.filter_map(histogram_of) {
        match &mut sum {
            None => sum = Some(histogram),
            Some(sum) => {
                sum.auto(true);
                // It grows where it must, so it takes all.
                let _ = sum.add(&histogram);
            }
        }
    }
    sum.map(|sum| latency_of(&sum)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::synthetic;

    #[test]
    fn histograms_survive_and_add_up() {
        let mut fast = Histogram::<u64>::new(3).unwrap();
        let mut slow = Histogram::<u64>::new(3).unwrap();
        (0..99).for_each(|_| fast.record(1_000).unwrap());
        slow.record(50_000_000).unwrap();
        let (fast, slow) = (latency_of(&fast), latency_of(&slow));
        assert_eq!(histogram_of(&fast).unwrap().len(), 99);
        let sum = together([&fast, &slow].into_iter());
        assert_eq!((sum.count, sum.p50_ns), (100, 1_000));
        assert!((49_000_000..51_000_000).contains(&sum.max_ns), "{sum:?}");
        assert_eq!(together([].into_iter()), Latency::default());
    }

    #[test]
    fn a_summary_is_of_both_copies_of_the_first_arm() {
        let rounds = synthetic::rounds(2, 3);
        let summaries = summaries(&rounds, 2, &[Point::FixedRate, Point::Saturated]);
        assert_eq!(summaries.len(), 4);
        assert_eq!((summaries[0].rounds, summaries[1].rounds), (6, 3));
        assert_eq!(summaries[0].cpu_per_request_us, 10.0);
        assert_eq!(summaries[0].user_share, Some(0.1));
        assert_eq!(summaries[0].system_calls_per_request, Some(5.0));
        assert_eq!(summaries[0].system_calls[0], ("sendto".to_owned(), 4.0));
    }

    #[test]
    fn without_rounds_there_is_no_summary() {
        assert!(summaries(&[], 2, &[Point::FixedRate]).is_empty());
    }
}
