//! From rounds to values, and from values to the logarithms of paired ratios.

use std::collections::BTreeMap;

use super::statistics::paired::{mean, median};
use crate::report::result::{Metric, MetricAt, Point, Round};

/// How rare something must be, for each request, not to be compared any more.
pub const RARE: f64 = 0.001;

/// What can be measured at a working point, in the order of the tables. In a closed loop the
/// latency only restates the number of connections, and in an open loop the throughput only
/// restates the offered rate.
pub fn metrics_at(point: Point) -> &'static [Metric] {
    match point {
        Point::FixedRate => &[
            Metric::CpuPerRequest,
            Metric::LatencyP50,
            Metric::LatencyP99,
            Metric::SystemCallsPerRequest,
            Metric::ContextSwitchesPerRequest,
        ],
        Point::Saturated => &[
            Metric::CpuPerRequest,
            Metric::Throughput,
            Metric::SystemCallsPerRequest,
            Metric::ContextSwitchesPerRequest,
        ],
    }
}

/// All that is measured at these points.
pub fn all_metrics(points: &[Point]) -> Vec<MetricAt> {
    let at =
        |&point: &Point| metrics_at(point).iter().map(move |&metric| MetricAt { metric, point });
    points.iter().flat_map(at).collect()
}

/// The metric that the sentence is about: CPU per request, which every load can judge, and at a
/// fixed rate, where all arms do the same work.
pub fn deciding_metric(points: &[Point]) -> MetricAt {
    let fixed = points.contains(&Point::FixedRate);
    let point = if fixed { Point::FixedRate } else { Point::Saturated };
    MetricAt { metric: Metric::CpuPerRequest, point }
}

/// The value of a metric in a round, in its unit; `None` where the round does not tell.
pub fn value(round: &Round, metric: Metric) -> Option<f64> {
    let requests = round.requests as f64;
    let seconds = round.duration_ns as f64 / 1e9;
    let value = match metric {
        Metric::CpuPerRequest => round.server.cpu_ns as f64 / 1000.0 / requests,
        Metric::Throughput => requests / seconds,
        Metric::LatencyP50 => round.latency.corrected.p50_ns as f64 / 1000.0,
        Metric::LatencyP99 => round.latency.corrected.p99_ns as f64 / 1000.0,
        Metric::SystemCallsPerRequest => {
            let counters = round.counters.as_ref()?;
            counters.system_calls.values().sum::<u64>() as f64 / counters.answered as f64
        }
        Metric::ContextSwitchesPerRequest => switches(round) as f64 / requests,
    };
    value.is_finite().then_some(value)
}

fn switches(round: &Round) -> u64 {
    round.server.voluntary_switches + round.server.involuntary_switches
}

/// The natural logarithm of a value. What is counted may be counted 0 times, so half a count is
/// added to it.
fn logarithm(round: &Round, metric: Metric) -> Option<f64> {
    let value = value(round, metric)?;
    let half_a_count = match metric {
        Metric::ContextSwitchesPerRequest => 0.5 / round.requests as f64,
        Metric::SystemCallsPerRequest => 0.5 / round.counters.as_ref()?.answered as f64,
        _ => 0.0,
    };
    let logarithm = (value + half_a_count).ln();
    logarithm.is_finite().then_some(logarithm)
}

/// Who stands in a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// An arm over the first one, both of whose copies together are the better estimate.
    First(usize),
    /// An arm over another that is not the first.
    Between {
        /// The arm.
        contender: usize,
        /// What it is held against.
        baseline: usize,
    },
    /// The second copy of the first arm over the first copy.
    Itself,
}

impl Against {
    /// An arm over any other.
    pub fn other(contender: usize, baseline: usize) -> Self {
        match baseline {
            0 => Self::First(contender),
            _ => Self::Between { contender, baseline },
        }
    }

    /// What stands above the line and what below.
    pub const fn arms(self) -> (usize, usize) {
        match self {
            Self::First(contender) => (contender, 0),
            Self::Between { contender, baseline } => (contender, baseline),
            Self::Itself => (0, 0),
        }
    }
}

/// The logarithm of the ratio in each block that is complete for it.
pub fn log_ratios(rounds: &[Round], at: MetricAt, against: Against) -> Vec<f64> {
    let mut blocks: BTreeMap<usize, Block> = BTreeMap::new();
    for round in rounds.iter().filter(|round| round.point == at.point) {
        let block = blocks.entry(round.block).or_default();
        let logarithm = logarithm(round, at.metric);
        match (round.arm, round.control, against) {
            (0, false, _) => block.first = logarithm,
            (0, true, _) => block.second = logarithm,
            (arm, false, _) if arm == against.arms().0 => block.other = logarithm,
            (arm, false, _) if arm == against.arms().1 => block.below = logarithm,
            _ => {}
        }
    }
    blocks.values().filter_map(|block| block.ratio(against)).collect()
}

#[derive(Default)]
struct Block {
    first: Option<f64>,
    second: Option<f64>,
    other: Option<f64>,
    below: Option<f64>,
}

impl Block {
    fn ratio(&self, against: Against) -> Option<f64> {
        match against {
            Against::First(_) => Some(self.other? - mean(&[self.first?, self.second?])),
            Against::Between { .. } => Some(self.other? - self.below?),
            Against::Itself => Some(self.second? - self.first?),
        }
    }
}

/// The rounds of an arm at a point, both copies.
pub fn rounds_of(rounds: &[Round], arm: usize, point: Point) -> impl Iterator<Item = &Round> {
    rounds.iter().filter(move |round| round.arm == arm && round.point == point)
}

/// The median of a metric over the rounds of an arm.
pub fn median_of(rounds: &[Round], arm: usize, at: MetricAt) -> Option<f64> {
    median(rounds_of(rounds, arm, at.point).filter_map(|round| value(round, at.metric)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::synthetic::{round, rounds};

    const CPU: MetricAt = MetricAt { metric: Metric::CpuPerRequest, point: Point::FixedRate };

    #[test]
    fn values_have_their_units() {
        let round = round(0, Point::FixedRate, 0);
        assert_eq!(value(&round, Metric::CpuPerRequest), Some(10.0));
        assert_eq!(value(&round, Metric::Throughput), Some(10_000.0));
        assert_eq!(value(&round, Metric::LatencyP50), Some(100.0));
        assert_eq!(value(&round, Metric::LatencyP99), Some(500.0));
        assert_eq!(value(&round, Metric::SystemCallsPerRequest), Some(5.0));
        assert_eq!(value(&round, Metric::ContextSwitchesPerRequest), Some(0.3));
    }

    #[test]
    fn what_a_round_does_not_tell_is_no_value() {
        let mut round = round(0, Point::FixedRate, 0);
        round.counters = None;
        assert_eq!(value(&round, Metric::SystemCallsPerRequest), None);
        round.requests = 0;
        assert_eq!(value(&round, Metric::CpuPerRequest), None);
    }

    #[test]
    fn ratios_are_taken_within_blocks() {
        let mut rounds = rounds(2, 3);
        for round in &mut rounds {
            // A machine that slows down, and an arm that costs twice as much.
            let slow = (round.block + 1) as u64;
            round.server.cpu_ns *= slow * (round.arm as u64 + 1);
        }
        let ratios = log_ratios(&rounds, CPU, Against::First(1));
        assert_eq!(ratios.len(), 3);
        assert!(ratios.iter().all(|ratio| (ratio.exp() - 2.0).abs() < 1e-9), "{ratios:?}");
        assert_eq!(log_ratios(&rounds, CPU, Against::Itself), [0.0; 3]);
    }

    #[test]
    fn both_copies_of_the_first_arm_are_what_others_are_held_against() {
        let mut rounds = rounds(2, 1);
        for round in rounds.iter_mut().filter(|round| round.control) {
            round.server.cpu_ns *= 4;
        }
        // Halfway between 1 and 4, on a logarithmic scale, lies 2.
        let ratios = log_ratios(&rounds, CPU, Against::First(1));
        assert!((ratios[0].exp() - 0.5).abs() < 1e-9, "{ratios:?}");
        assert!((log_ratios(&rounds, CPU, Against::Itself)[0].exp() - 4.0).abs() < 1e-9);
    }

    #[test]
    fn any_arm_can_be_held_against_any_other() {
        let mut rounds = rounds(3, 2);
        for round in &mut rounds {
            round.server.cpu_ns *= [6, 3, 2][round.arm];
        }
        let ratio = |against| log_ratios(&rounds, CPU, against)[0].exp();
        assert!((ratio(Against::other(2, 1)) - 2.0 / 3.0).abs() < 1e-9);
        assert!((ratio(Against::other(1, 2)) - 1.5).abs() < 1e-9);
        assert_eq!(Against::other(2, 0), Against::First(2));
    }

    #[test]
    fn a_block_that_is_not_complete_is_left_out() {
        let mut rounds = rounds(2, 3);
        let missing = |it: &Round| it.block == 1 && it.arm == 1 && it.point == Point::FixedRate;
        rounds.retain(|round| !missing(round));
        assert_eq!(log_ratios(&rounds, CPU, Against::First(1)).len(), 2);
        assert_eq!(log_ratios(&rounds, CPU, Against::Itself).len(), 3);
    }

    #[test]
    fn no_switches_at_all_still_have_a_ratio() {
        let mut rounds = rounds(2, 2);
        for round in rounds.iter_mut().filter(|round| round.arm == 1) {
            round.server.voluntary_switches = 0;
            round.server.involuntary_switches = 0;
        }
        let at = MetricAt { metric: Metric::ContextSwitchesPerRequest, point: Point::FixedRate };
        assert!(log_ratios(&rounds, at, Against::First(1)).iter().all(|it| *it < -5.0));
    }
}
