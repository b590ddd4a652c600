//! `--fail-if 'cpu_per_request > 1.05'`: what a result must not be, for continuous integration.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use crate::load::LoadKind;
use crate::report::result::{
    ComparisonResult, Experiment, GateEffect, Metric, MetricResult, Point, Verdict,
};

/// A ratio that must not be.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// `None` is any.
    load: Option<LoadKind>,
    metric: Metric,
    point: Option<Point>,
    above: bool,
    threshold: f64,
}

/// What a condition comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The whole interval is where it must not be.
    Holds,
    /// The whole interval is elsewhere.
    DoesNotHold,
    /// The interval is on both sides, or there is none.
    Unknown,
}

impl FromStr for Condition {
    type Err = String;

    /// METRIC, or METRIC@fixed_rate or METRIC@saturated; `>` or `<`; a ratio. LOAD and a colon may
    /// stand before it.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "a condition such as `cpu_per_request > 1.05` is expected, not `{text}`: \
                 [LOAD:] METRIC[@fixed_rate|@saturated], > or <, and a ratio to the first arm"
            )
        };
        let (load, text) = match text.split_once(':') {
            Some((name, rest)) => {
                (Some(LoadKind::from_str(name.trim(), false).map_err(|_| expected())?), rest)
            }
            None => (None, text),
        };
        let place = text.find(['<', '>']).ok_or_else(expected)?;
        let (left, right) = (&text[..place], &text[place + 1..]);
        let (name, point) = match left.trim().split_once('@') {
            Some((name, point)) => (name, Some(parse_point(point).ok_or_else(expected)?)),
            None => (left.trim(), None),
        };
        let metric = Metric::ALL.iter().copied().find(|it| it.name() == name).ok_or_else(|| {
            let names: Vec<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
            format!("`{name}` is none of the metrics {}", names.join(", "))
        })?;
        let threshold: f64 = right.trim().parse().map_err(|_| expected())?;
        if !(threshold.is_finite() && threshold > 0.0) {
            return Err(format!("a ratio is above 0, such as 1.05 for 5 % more; `{text}` is not"));
        }
        Ok(Self { load, metric, point, above: text.as_bytes()[place] == b'>', threshold })
    }
}

fn parse_point(name: &str) -> Option<Point> {
    match name.trim() {
        "fixed_rate" => Some(Point::FixedRate),
        "saturated" => Some(Point::Saturated),
        _ => None,
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(load) = self.load {
            write!(formatter, "{load}: ")?;
        }
        formatter.write_str(self.metric.name())?;
        match self.point {
            Some(Point::FixedRate) => formatter.write_str("@fixed_rate")?,
            Some(Point::Saturated) => formatter.write_str("@saturated")?,
            None => {}
        }
        let sign = if self.above { '>' } else { '<' };
        write!(formatter, " {sign} {}", self.threshold)
    }
}

impl Condition {
    /// The load that it is about; `None` is any.
    pub fn load(&self) -> Option<LoadKind> {
        self.load
    }

    /// Asks it of every arm after the first, under its load, or under every load. One that holds
    /// anywhere holds.
    pub fn ask(&self, result: &ComparisonResult) -> Answer {
        let is_meant = |it: &&Experiment| self.load.is_none_or(|load| load.name() == it.load.name);
        let experiments = result.experiments.iter().filter(is_meant);
        worst(experiments.map(|experiment| self.ask_experiment(experiment)))
    }

    fn ask_experiment(&self, experiment: &Experiment) -> Answer {
        if experiment.gates.iter().any(|gate| gate.effect == GateEffect::Invalid) {
            return Answer::Unknown;
        }
        worst(experiment.comparisons.iter().map(|comparison| {
            let here = |it: &&MetricResult| {
                it.metric == self.metric && self.point.is_none_or(|point| point == it.point)
            };
            // Without a point, the first in the order of the tables: the fixed rate, where the
            // metric is measured at both.
            comparison.metrics.iter().find(here).map_or(Answer::Unknown, |it| self.ask_metric(it))
        }))
    }

    fn ask_metric(&self, result: &MetricResult) -> Answer {
        let (Some(low), Some(high)) = (result.low, result.high) else { return Answer::Unknown };
        if result.verdict == Verdict::NotJudgeable {
            return Answer::Unknown;
        }
        let (holds, does_not) = if self.above {
            (low > self.threshold, high <= self.threshold)
        } else {
            (high < self.threshold, low >= self.threshold)
        };
        match (holds, does_not) {
            (true, _) => Answer::Holds,
            (_, true) => Answer::DoesNotHold,
            _ => Answer::Unknown,
        }
    }
}

/// The one that matters most; nothing asked is nothing known.
fn worst(answers: impl Iterator<Item = Answer>) -> Answer {
    let rank = |answer: &Answer| match answer {
        Answer::DoesNotHold => 0,
        Answer::Unknown => 1,
        Answer::Holds => 2,
    };
    answers.max_by_key(rank).unwrap_or(Answer::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Condition {
        text.parse().unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    fn metric(low: f64, high: f64, verdict: Verdict) -> MetricResult {
        MetricResult {
            metric: Metric::CpuPerRequest,
            point: Point::FixedRate,
            decides: true,
            baseline: Some(10.0),
            contender: Some(10.0),
            ratio: Some((low * high).sqrt()),
            low: Some(low),
            high: Some(high),
            confidence: Some(0.95),
            pairs: 7,
            verdict,
            no_difference_larger_than: None,
            reason: None,
        }
    }

    #[test]
    fn conditions_are_read_and_shown() {
        for text in [
            "cpu_per_request > 1.05",
            "throughput < 0.97",
            "latency_p99@fixed_rate > 2",
            "cpu_per_request@saturated > 1.02",
            "keep-alive: cpu_per_request > 1.05",
            "pipelined: throughput@saturated < 0.9",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
        assert_eq!(parse(" latency_p50>1.1 ").to_string(), "latency_p50 > 1.1");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_was_expected() {
        for (wrong, said) in [
            ("cpu_per_request = 1", "METRIC"),
            ("cpu > 1.05", "cpu_per_request, throughput"),
            ("cpu_per_request > fast", "METRIC"),
            ("cpu_per_request >= 1.05", "METRIC"),
            ("cpu_per_request@idle > 1.05", "METRIC"),
            ("cpu_per_request > -1", "above 0"),
            ("cpu_per_request > NaN", "above 0"),
            ("", "METRIC"),
            ("nonsense: cpu_per_request > 1.05", "LOAD"),
        ] {
            let problem = wrong.parse::<Condition>().unwrap_err();
            assert!(problem.contains(said), "{wrong}: {problem}");
        }
    }

    #[test]
    fn the_interval_answers() {
        let more = parse("cpu_per_request > 1.05");
        let ask = |low, high| more.ask_metric(&metric(low, high, Verdict::Worse));
        assert_eq!(ask(1.06, 1.1), Answer::Holds);
        assert_eq!(ask(1.01, 1.05), Answer::DoesNotHold);
        assert_eq!(ask(1.01, 1.08), Answer::Unknown);
        let less = parse("cpu_per_request < 0.9");
        let ask = |low, high| less.ask_metric(&metric(low, high, Verdict::Better));
        assert_eq!(ask(0.8, 0.89), Answer::Holds);
        assert_eq!(ask(0.9, 0.95), Answer::DoesNotHold);
        assert_eq!(ask(0.85, 0.95), Answer::Unknown);
    }

    #[test]
    fn what_cannot_be_judged_answers_nothing() {
        let condition = parse("cpu_per_request > 1.05");
        let closed = metric(1.2, 1.3, Verdict::NotJudgeable);
        assert_eq!(condition.ask_metric(&closed), Answer::Unknown);
        let nothing = MetricResult { low: None, ..metric(1.2, 1.3, Verdict::Worse) };
        assert_eq!(condition.ask_metric(&nothing), Answer::Unknown);
    }

    #[test]
    fn one_that_holds_anywhere_holds() {
        use Answer::{DoesNotHold, Holds, Unknown};
        assert_eq!(worst([DoesNotHold, Holds, Unknown].into_iter()), Holds);
        assert_eq!(worst([DoesNotHold, Unknown].into_iter()), Unknown);
        assert_eq!(worst([DoesNotHold, DoesNotHold].into_iter()), DoesNotHold);
        assert_eq!(worst([].into_iter()), Unknown);
    }
}
