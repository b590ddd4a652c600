//! `--fail-if 'cpu_per_request > 1.05'`: a condition on the result, for continuous integration.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

use crate::load::LoadKind;
use crate::result::{
    ComparisonResult, Experiment, GateEffect, LoadLevel, Metric, MetricResult, Verdict,
};

/// A condition on the ratio of an arm to the first arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// `None` is any load.
    load: Option<LoadKind>,
    metric: Metric,
    load_level: Option<LoadLevel>,
    above: bool,
    threshold: f64,
}

/// The evaluation of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    /// The condition holds for the whole confidence interval.
    Holds,
    /// The condition holds for no value in the confidence interval.
    DoesNotHold,
    /// The interval contains the threshold, or there is no interval.
    Unknown,
}

impl FromStr for Condition {
    type Err = String;

    /// Parses `[LOAD:] METRIC[@fixed_rate|@saturation] >|< RATIO`.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "invalid condition `{text}`. Expected [LOAD:] METRIC[@fixed_rate|@saturation], \
                 > or <, and a ratio to the first arm, such as `cpu_per_request > 1.05`"
            )
        };
        let (load, text) = match text.split_once(':') {
            Some((name, rest)) => {
                (Some(LoadKind::from_str(name.trim(), false).map_err(|_| expected())?), rest)
            }
            None => (None, text),
        };
        let sign = text.find(['<', '>']).ok_or_else(expected)?;
        let (left, right) = (&text[..sign], &text[sign + 1..]);
        let (name, load_level) = match left.trim().split_once('@') {
            Some((name, level)) => {
                let level = LoadLevel::from_str(level.trim(), false).map_err(|_| expected())?;
                (name, Some(level))
            }
            None => (left.trim(), None),
        };
        let metric = Metric::from_str(name, false).map_err(|_| {
            let names: Vec<_> = Metric::value_variants().iter().map(Metric::to_string).collect();
            format!("unknown metric `{name}`. Known metrics: {}", names.join(", "))
        })?;
        let threshold: f64 = right.trim().parse().map_err(|_| expected())?;
        if !(threshold.is_finite() && threshold > 0.0) {
            return Err(format!("`{text}`: the ratio must be above 0, such as 1.05 for 5% more"));
        }
        Ok(Self { load, metric, load_level, above: text.as_bytes()[sign] == b'>', threshold })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(load) = self.load {
            write!(formatter, "{load}: ")?;
        }
        write!(formatter, "{}", self.metric)?;
        if let Some(level) = self.load_level.and_then(|it| it.to_possible_value()) {
            write!(formatter, "@{}", level.get_name())?;
        }
        let sign = if self.above { '>' } else { '<' };
        write!(formatter, " {sign} {}", self.threshold)
    }
}

impl Condition {
    /// Returns the load that the condition is limited to; `None` is any.
    pub fn load(&self) -> Option<LoadKind> {
        self.load
    }

    /// Returns the metric whose ratio is tested.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Returns the load level at which it is tested; `None` is the first that has the metric.
    pub fn load_level(&self) -> Option<LoadLevel> {
        self.load_level
    }

    /// Evaluates the condition for each arm after the first, under its load or all loads. It holds
    /// if it holds for any of them.
    pub fn evaluate(&self, result: &ComparisonResult) -> Evaluation {
        let has_load = |it: &&Experiment| self.load.is_none_or(|load| load.name() == it.load.name);
        // A stream and other loads do not have the same metrics.
        let measures = |it: &&Experiment| {
            it.comparisons.iter().flat_map(|it| &it.metrics).any(|it| it.metric == self.metric)
        };
        let experiments = result.experiments.iter().filter(has_load).filter(measures);
        most_severe(experiments.map(|experiment| self.evaluate_experiment(experiment)))
    }

    fn evaluate_experiment(&self, experiment: &Experiment) -> Evaluation {
        if experiment.gates.iter().any(|gate| gate.effect == GateEffect::Invalid) {
            return Evaluation::Unknown;
        }
        most_severe(experiment.comparisons.iter().map(|comparison| {
            let matches = |it: &&MetricResult| {
                it.metric == self.metric
                    && self.load_level.is_none_or(|level| level == it.load_level)
            };
            // Without a load level, the first one of the table: the fixed rate, if the metric is
            // measured there.
            comparison
                .metrics
                .iter()
                .find(matches)
                .map_or(Evaluation::Unknown, |it| self.evaluate_metric(it))
        }))
    }

    fn evaluate_metric(&self, result: &MetricResult) -> Evaluation {
        let (Some(low), Some(high)) = (result.low, result.high) else { return Evaluation::Unknown };
        if result.verdict == Verdict::NotCompared {
            return Evaluation::Unknown;
        }
        let (holds, does_not) = if self.above {
            (low > self.threshold, high <= self.threshold)
        } else {
            (high < self.threshold, low >= self.threshold)
        };
        match (holds, does_not) {
            (true, _) => Evaluation::Holds,
            (_, true) => Evaluation::DoesNotHold,
            _ => Evaluation::Unknown,
        }
    }
}

/// Returns the most severe evaluation; `Unknown` if there is none.
fn most_severe(evaluations: impl Iterator<Item = Evaluation>) -> Evaluation {
    let rank = |evaluation: &Evaluation| match evaluation {
        Evaluation::DoesNotHold => 0,
        Evaluation::Unknown => 1,
        Evaluation::Holds => 2,
    };
    evaluations.max_by_key(rank).unwrap_or(Evaluation::Unknown)
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
            load_level: LoadLevel::FixedRate,
            is_primary: true,
            baseline: Some(10.0),
            candidate: Some(10.0),
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
    fn conditions_are_parsed_and_displayed() {
        for text in [
            "cpu_per_request > 1.05",
            "throughput < 0.97",
            "latency_p99@fixed_rate > 2",
            "cpu_per_request@saturation > 1.02",
            "keep-alive: cpu_per_request > 1.05",
            "pipelined: throughput@saturation < 0.9",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
        assert_eq!(parse(" latency_p50>1.1 ").to_string(), "latency_p50 > 1.1");
        assert_eq!(parse("p99 > 1.2").to_string(), "latency_p99 > 1.2");
        assert_eq!(parse("p99.9@fixed_rate > 1.2").to_string(), "latency_p99.9@fixed_rate > 1.2");
        assert_eq!(parse("cpu > 1.2").to_string(), "cpu_per_request > 1.2");
    }

    #[test]
    fn invalid_conditions_are_refused_with_the_expected_form() {
        for (wrong, expected) in [
            ("cpu_per_request = 1", "METRIC"),
            ("watts > 1.05", "Known metrics: cpu_per_request, throughput"),
            ("cpu_per_request > fast", "METRIC"),
            ("cpu_per_request >= 1.05", "METRIC"),
            ("cpu_per_request@idle > 1.05", "METRIC"),
            ("cpu_per_request > -1", "above 0"),
            ("cpu_per_request > NaN", "above 0"),
            ("", "METRIC"),
            ("nonsense: cpu_per_request > 1.05", "LOAD"),
        ] {
            let problem = wrong.parse::<Condition>().unwrap_err();
            assert!(problem.contains(expected), "{wrong}: {problem}");
        }
    }

    #[test]
    fn interval_decides_the_evaluation() {
        let more = parse("cpu_per_request > 1.05");
        let evaluate = |low, high| more.evaluate_metric(&metric(low, high, Verdict::Worse));
        assert_eq!(evaluate(1.06, 1.1), Evaluation::Holds);
        assert_eq!(evaluate(1.01, 1.05), Evaluation::DoesNotHold);
        assert_eq!(evaluate(1.01, 1.08), Evaluation::Unknown);
        let less = parse("cpu_per_request < 0.9");
        let evaluate = |low, high| less.evaluate_metric(&metric(low, high, Verdict::Better));
        assert_eq!(evaluate(0.8, 0.89), Evaluation::Holds);
        assert_eq!(evaluate(0.9, 0.95), Evaluation::DoesNotHold);
        assert_eq!(evaluate(0.85, 0.95), Evaluation::Unknown);
    }

    #[test]
    fn result_without_verdict_or_interval_is_unknown() {
        let condition = parse("cpu_per_request > 1.05");
        let gated = metric(1.2, 1.3, Verdict::NotCompared);
        assert_eq!(condition.evaluate_metric(&gated), Evaluation::Unknown);
        let no_interval = MetricResult { low: None, ..metric(1.2, 1.3, Verdict::Worse) };
        assert_eq!(condition.evaluate_metric(&no_interval), Evaluation::Unknown);
    }

    #[test]
    fn most_severe_evaluation_wins() {
        use Evaluation::{DoesNotHold, Holds, Unknown};
        assert_eq!(most_severe([DoesNotHold, Holds, Unknown].into_iter()), Holds);
        assert_eq!(most_severe([DoesNotHold, Unknown].into_iter()), Unknown);
        assert_eq!(most_severe([DoesNotHold, DoesNotHold].into_iter()), DoesNotHold);
        assert_eq!(most_severe([].into_iter()), Unknown);
    }
}
