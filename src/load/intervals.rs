//! The latencies of each interval of a run, for `--hdr-log`.

use std::iter;
use std::time::Duration;

use super::outcome::{Latencies, new_latencies};

/// Latencies of consecutive intervals of equal length, by the time of the end of the response.
#[derive(Clone, Debug)]
pub struct Intervals {
    length_ns: u64,
    current: Latencies,
    /// Values and their counts in each interval that has ended: much smaller than a histogram.
    ended: Vec<Vec<(u64, u64)>>,
}

impl Intervals {
    pub(super) fn new(length: Duration) -> Self {
        let length_ns = length.as_nanos().max(1) as u64;
        Self { length_ns, current: new_latencies(), ended: Vec::new() }
    }

    /// Records a latency. `at_ns` is not less than in earlier calls.
    pub(super) fn record(&mut self, at_ns: u64, latency_ns: u64) {
        while at_ns / self.length_ns > self.ended.len() as u64 {
            self.ended.push(counts(&self.current));
            self.current.reset();
        }
        self.current.saturating_record(latency_ns);
    }

    /// Adds the intervals of another thread.
    pub(super) fn add(&mut self, other: &Self) {
        let mut sums: Vec<_> = self.counts().collect();
        for (index, counts) in other.counts().enumerate() {
            match sums.get_mut(index) {
                Some(sum) => sum.extend(counts),
                None => sums.push(counts),
            }
        }
        (self.ended, self.current) = (sums, new_latencies());
    }

    fn counts(&self) -> impl Iterator<Item = Vec<(u64, u64)>> {
        let current = iter::once(&self.current).filter(|it| !it.is_empty()).map(counts);
        self.ended.iter().cloned().chain(current)
    }

    /// Returns the start of each interval that has latencies, since the start of the run, and its
    /// latencies.
    pub fn histograms(&self) -> impl Iterator<Item = (Duration, Latencies)> {
        let start = |index| Duration::from_nanos(self.length_ns * index);
        self.counts().zip(0..).filter(|(counts, _)| !counts.is_empty()).map(
            move |(counts, index)| {
                let mut latencies = new_latencies();
                counts
                    .iter()
                    .for_each(|&(value, count)| latencies.saturating_record_n(value, count));
                (start(index), latencies)
            },
        )
    }
}

fn counts(latencies: &Latencies) -> Vec<(u64, u64)> {
    let recorded = latencies.iter_recorded();
    recorded.map(|it| (it.value_iterated_to(), it.count_at_value())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(intervals: &Intervals) -> Vec<(u64, u64, u64)> {
        let each = intervals.histograms();
        each.map(|(start, it)| (start.as_secs(), it.len(), it.max())).collect()
    }

    #[test]
    fn latencies_are_in_the_interval_of_their_end() {
        let mut intervals = Intervals::new(Duration::from_secs(1));
        for (at_ms, latency) in [(0, 5), (999, 6), (1000, 7), (3500, 100_000)] {
            intervals.record(at_ms * 1_000_000, latency);
        }
        let max = new_latencies().highest_equivalent(100_000);
        assert_eq!(of(&intervals), [(0, 2, 6), (1, 1, 7), (3, 1, max)]);
        let mut other = Intervals::new(Duration::from_secs(1));
        other.record(1_200_000_000, 9);
        let mut both = other.clone();
        both.add(&intervals);
        intervals.add(&other);
        assert_eq!(of(&intervals), [(0, 2, 6), (1, 2, 9), (3, 1, max)]);
        assert_eq!(of(&both), of(&intervals));
        assert_eq!(of(&Intervals::new(Duration::from_secs(1))), []);
    }
}
