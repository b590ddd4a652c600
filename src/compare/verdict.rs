//! From paired rounds to verdicts.
//!
//! The confidence of an experiment is simultaneous: it covers all arms, metrics and interim
//! analyses together. The error probability (alpha) is divided before the first round: four fifths
//! for the primary metric and one fifth for all other metrics, each part evenly over the arms
//! (Bonferroni). Each share is then spent over the interim analyses ([`AlphaSpending`]). The
//! intervals of secondary metrics are therefore wide, and a table with many metrics does not
//! report a difference between two identical servers more often than alpha permits.

use super::metrics::{Contrast, MIN_EVENTS_PER_REQUEST, arm_median, log_ratios};
use super::statistics::interim_analyses::AlphaSpending;
use super::statistics::paired::{MIN_PAIRS, RatioInterval, ratio_interval};
use super::statistics::robust::trimmed_interval;
use crate::result::{Metric, MetricAt, MetricResult, Round, SystemCallCount, Verdict};

/// The share of alpha for the primary metric.
const PRIMARY_SHARE: f64 = 0.8;
/// The probability that the control reports a difference by chance, over all its metrics.
const CONTROL_ALPHA: f64 = 0.01;

/// The relative differences that separate the verdicts.
#[derive(Clone, Copy, Debug)]
pub struct Margins {
    /// A smaller difference is reported as no difference, even if it is significant.
    pub negligible: f64,
    /// The equivalence margin: an interval within it shows that there is no difference.
    pub equivalence: f64,
}

/// Classifies an interval. With [`Verdict::NoDifference`], also returns the upper bound of the
/// difference.
pub fn classify(
    interval: &RatioInterval,
    metric: Metric,
    margins: Margins,
) -> (Verdict, Option<f64>) {
    let reach = interval.high.max(1.0 / interval.low) - 1.0;
    if reach <= margins.negligible {
        return (Verdict::NoDifference, Some(margins.negligible));
    }
    if interval.low > 1.0 || interval.high < 1.0 {
        let better = (interval.low > 1.0) == metric.more_is_better();
        return (if better { Verdict::Better } else { Verdict::Worse }, None);
    }
    if reach <= margins.equivalence {
        // Rounded up to a tenth of a percent, because it is an upper bound.
        return (Verdict::NoDifference, Some((reach * 1000.0 - 1e-9).ceil() / 1000.0));
    }
    (Verdict::Inconclusive, None)
}

/// The alpha of an experiment, spent over its interim analyses.
#[derive(Clone, Debug)]
pub struct AlphaBudget {
    primary: AlphaSpending,
    others: AlphaSpending,
    /// For a total alpha of 0.05, so that readers can compare it with published tables.
    nominal: AlphaSpending,
    control_metrics: f64,
}

/// The alpha of each kind of interval at one interim analysis.
#[derive(Clone, Copy, Debug)]
pub struct AlphaLevels {
    /// Of the primary metric.
    pub primary: f64,
    /// Of each secondary metric.
    pub other: f64,
    /// Of each metric of the control.
    pub control: f64,
    /// Of a single comparison with a total alpha of 0.05.
    pub nominal: f64,
}

impl AlphaBudget {
    /// Divides the alpha of a simultaneous confidence over the candidates and their metrics.
    pub fn new(confidence: f64, candidates: usize, metrics: usize) -> Self {
        let alpha = (1.0 - confidence) / candidates.max(1) as f64;
        let others = metrics.saturating_sub(1).max(1) as f64;
        Self {
            primary: AlphaSpending::new(alpha * PRIMARY_SHARE),
            others: AlphaSpending::new(alpha * (1.0 - PRIMARY_SHARE) / others),
            nominal: AlphaSpending::new(0.05),
            control_metrics: metrics.max(1) as f64,
        }
    }

    /// Spends alpha for an interim analysis at this share of the planned rounds. Returns `None`
    /// if no round has been added since the last one.
    pub fn spend_until(&mut self, information: f64) -> Option<AlphaLevels> {
        Some(AlphaLevels {
            primary: self.primary.spend_until(information)?,
            other: self.others.spend_until(information)?,
            // The control cannot stop the experiment: it is analysed once, at the end.
            control: CONTROL_ALPHA / self.control_metrics,
            nominal: self.nominal.spend_until(information)?,
        })
    }
}

/// Computes the interval of one metric and its verdict. The interval has a confidence of
/// `1.0 - alpha`.
pub fn decide(
    rounds: &[Round],
    at: MetricAt,
    contrast: Contrast,
    is_primary: bool,
    alpha: f64,
    margins: Margins,
    seed: u64,
) -> MetricResult {
    let log_ratios = log_ratios(rounds, at, contrast);
    let (candidate, baseline) = contrast.arms();
    let (candidate, baseline) =
        (arm_median(rounds, candidate, at), arm_median(rounds, baseline, at));
    let mut result = MetricResult {
        metric: at.metric,
        load_level: at.load_level,
        is_primary,
        baseline,
        candidate,
        ratio: None,
        low: None,
        high: None,
        confidence: None,
        pairs: log_ratios.len(),
        verdict: Verdict::NotCompared,
        no_difference_larger_than: None,
        reason: None,
    };
    let interval = match at.metric.quantile() {
        Some(_) => trimmed_interval(&log_ratios, alpha),
        None => ratio_interval(&log_ratios, alpha, seed),
    };
    let Some(interval) = interval else {
        result.reason = Some(reason_without_interval(rounds, &result));
        return result;
    };
    result.ratio = Some(interval.ratio);
    result.low = Some(interval.low);
    result.high = Some(interval.high);
    result.confidence = Some(1.0 - alpha);
    if is_rare(at.metric, baseline) && is_rare(at.metric, candidate) {
        result.reason = Some("Fewer than one event in 1,000 requests on both sides.".to_owned());
        return result;
    }
    (result.verdict, result.no_difference_larger_than) = classify(&interval, at.metric, margins);
    result
}

fn reason_without_interval(rounds: &[Round], result: &MetricResult) -> String {
    if result.baseline.is_none() || result.candidate.is_none() {
        if let Some(quantile) = result.metric.quantile() {
            return format!(
                "A round has too few requests: at least {:.0} are needed. Try a longer --round.",
                (1.0 / (1.0 - quantile)).round()
            );
        }
        let reason = rounds.iter().find_map(|round| match &round.system_calls {
            Some(SystemCallCount::NotAvailable { reason }) => Some(reason),
            _ => None,
        });
        reason.filter(|_| result.metric == Metric::SystemCallsPerRequest).map_or_else(
            || "No round has a value.".to_owned(),
            |reason| format!("Not available: {reason}."),
        )
    } else {
        format!("Too few blocks of rounds: {}, at least {MIN_PAIRS} are needed.", result.pairs)
    }
}

fn is_rare(metric: Metric, value: Option<f64>) -> bool {
    matches!(metric, Metric::SystemCallsPerRequest | Metric::ContextSwitchesPerRequest)
        && value.is_some_and(|value| value < MIN_EVENTS_PER_REQUEST)
}

/// Returns whether more rounds are unnecessary: there is a verdict, and the interval is narrow
/// compared with the difference or with the equivalence margin.
pub fn meets_stopping_rule(result: &MetricResult, margins: Margins) -> bool {
    let (Some(ratio), Some(low), Some(high)) = (result.ratio, result.low, result.high) else {
        return false;
    };
    let half_width = 0.5 * (high / low).ln();
    match result.verdict {
        Verdict::NoDifference => true,
        Verdict::Better | Verdict::Worse => {
            half_width <= margins.equivalence.max(0.25 * ratio.ln().abs())
        }
        Verdict::Inconclusive | Verdict::NotCompared => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::statistics::random::Random;
    use crate::compare::synthetic::rounds;
    use crate::result::{LatencyPeriods, LoadLevel};

    const MARGINS: Margins = Margins { negligible: 0.01, equivalence: 0.03 };
    const CPU: MetricAt =
        MetricAt { metric: Metric::CpuPerRequest, load_level: LoadLevel::FixedRate };

    fn classified(low: f64, high: f64, metric: Metric) -> (Verdict, Option<f64>) {
        classify(&RatioInterval { ratio: (low * high).sqrt(), low, high }, metric, MARGINS)
    }

    #[test]
    fn interval_determines_verdict() {
        let cpu = Metric::CpuPerRequest;
        assert_eq!(classified(0.85, 0.95, cpu).0, Verdict::Better);
        assert_eq!(classified(1.02, 1.05, cpu).0, Verdict::Worse);
        assert_eq!(classified(1.02, 1.05, Metric::Throughput).0, Verdict::Better);
        assert_eq!(classified(0.85, 0.95, Metric::Throughput).0, Verdict::Worse);
        assert_eq!(classified(0.95, 1.02, cpu).0, Verdict::Inconclusive);
        assert_eq!(classified(0.985, 1.02, cpu), (Verdict::NoDifference, Some(0.02)));
        // Significant, but negligible.
        assert_eq!(classified(1.002, 1.008, cpu), (Verdict::NoDifference, Some(0.01)));
        assert_eq!(classified(1.002, 1.012, cpu).0, Verdict::Worse);
    }

    /// Returns rounds with uniform noise, in which arm 1 uses `ratio` times the CPU of arm 0.
    fn noisy(blocks: usize, noise: f64, ratio: f64, seed: u64) -> Vec<Round> {
        let mut random = Random::new(seed);
        let mut rounds = rounds(2, blocks);
        for round in &mut rounds {
            let uniform = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
            let cost = if round.arm == 1 { ratio } else { 1.0 };
            let factor = cost * (1.0 + noise * (uniform - 0.5));
            round.server.cpu_ns = (round.server.cpu_ns as f64 * factor) as u64;
        }
        rounds
    }

    #[test]
    fn interval_of_a_real_difference_contains_it() {
        let rounds = noisy(12, 0.06, 1.03, 1);
        let result = decide(&rounds, CPU, Contrast::WithBaseline(1), true, 0.05, MARGINS, 1);
        assert_eq!(result.verdict, Verdict::Worse, "{result:?}");
        assert!(result.low.unwrap() < 1.03 && 1.03 < result.high.unwrap(), "{result:?}");
        assert!(meets_stopping_rule(&result, MARGINS));
        let control = decide(&rounds, CPU, Contrast::Control, true, 0.01, MARGINS, 1);
        assert!(matches!(control.verdict, Verdict::NoDifference | Verdict::Inconclusive));
    }

    #[test]
    fn too_few_rounds_are_not_compared() {
        let result =
            decide(&noisy(4, 0.1, 1.0, 1), CPU, Contrast::WithBaseline(1), true, 0.05, MARGINS, 1);
        assert_eq!(result.verdict, Verdict::NotCompared);
        assert!(result.reason.unwrap().starts_with("Too few blocks"));
    }

    #[test]
    fn percentile_of_too_few_requests_is_not_compared() {
        let at = MetricAt { metric: Metric::LatencyP99, load_level: LoadLevel::FixedRate };
        let mut rounds = rounds(2, 9);
        for round in &mut rounds {
            round.periods = vec![LatencyPeriods { metric: at.metric, latency_ns: Vec::new() }];
        }
        let result = decide(&rounds, at, Contrast::WithBaseline(1), false, 0.01, MARGINS, 1);
        assert_eq!((result.verdict, result.baseline), (Verdict::NotCompared, None));
        let reason = result.reason.unwrap();
        assert!(reason.contains("at least 100 are needed. Try a longer --round"), "{reason}");
    }

    #[test]
    fn rare_events_are_not_compared() {
        let mut rounds = rounds(2, 6);
        for round in &mut rounds {
            round.server.voluntary_switches = round.arm as u64 * 4;
            round.server.involuntary_switches = 0;
        }
        let at = MetricAt {
            metric: Metric::ContextSwitchesPerRequest,
            load_level: LoadLevel::Saturation,
        };
        let result = decide(&rounds, at, Contrast::WithBaseline(1), false, 0.05, MARGINS, 1);
        assert_eq!(result.verdict, Verdict::NotCompared);
        assert!(result.reason.unwrap().contains("one event in 1,000"));
    }

    /// Runs the whole procedure, with all interim analyses and metrics, on identical arms.
    #[test]
    fn false_positive_rate_stays_below_alpha() {
        let metrics =
            [CPU, MetricAt { metric: Metric::Throughput, load_level: LoadLevel::Saturation }];
        let mut budget = AlphaBudget::new(0.95, 1, metrics.len());
        let analyses = [6, 9, 12].map(|blocks: usize| {
            (
                blocks,
                budget.spend_until(blocks as f64 / 12.0).expect("each analysis has new rounds"),
            )
        });
        let experiments = 60;
        let mut false_positives = 0;
        for seed in 0..experiments {
            let mut rounds = noisy(12, 0.2, 1.0, seed);
            let mut random = Random::new(!seed);
            for round in &mut rounds {
                round.duration_ns += random.below(100_000_000) as u64;
            }
            let positive = analyses.iter().any(|&(blocks, levels)| {
                let seen: Vec<_> = rounds.iter().filter(|it| it.block < blocks).cloned().collect();
                metrics.iter().any(|&at| {
                    let is_primary = at == CPU;
                    let alpha = if is_primary { levels.primary } else { levels.other };
                    let contrast = Contrast::WithBaseline(1);
                    let result = decide(&seen, at, contrast, is_primary, alpha, MARGINS, seed);
                    matches!(result.verdict, Verdict::Better | Verdict::Worse)
                })
            });
            false_positives += u32::from(positive);
        }
        // The expected number is at most 3, with a standard deviation of 1.7.
        assert!(false_positives <= 7, "{false_positives} of {experiments}");
    }
}
