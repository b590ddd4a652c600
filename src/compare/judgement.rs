//! From paired rounds to verdicts.
//!
//! All claims of an experiment hold together with the confidence of the method. What is allowed to
//! go wrong is shared out before anything is measured: four fifths for the metric that decides,
//! for which the rounds are made, one fifth for all others, and each part evenly over the arms.
//! Each share is spent over the looks ([`Spending`]). So the intervals of the other metrics are
//! wider than they would be by themselves, and a table of nine metrics does not find a difference
//! in every third run of a server against itself.

use super::metrics::{Against, RARE, log_ratios, median_of};
use super::statistics::looks::Spending;
use super::statistics::paired::{LEAST_PAIRS, RatioInterval, ratio_interval};
use crate::report::result::{Metric, MetricAt, MetricResult, Round, Verdict};

/// The share of what may go wrong that the deciding metric gets.
const DECIDING_SHARE: f64 = 0.8;
/// How probable it may be that the control cries wolf, all its metrics together.
const CONTROL_MISS: f64 = 0.01;

/// How far apart is what.
#[derive(Clone, Copy, Debug)]
pub struct Margins {
    /// A difference within this is none.
    pub negligible: f64,
    /// The widest interval that still shows that there is no difference.
    pub equivalence: f64,
}

/// What an interval comes to, and with "no difference" the size of which there is none larger.
pub fn verdict(
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
        // Up to the next tenth of a percent, since it is an upper bound.
        return (Verdict::NoDifference, Some((reach * 1000.0 - 1e-9).ceil() / 1000.0));
    }
    (Verdict::Inconclusive, None)
}

/// The probabilities with which intervals may miss, look by look.
#[derive(Clone, Debug)]
pub struct Allowances {
    deciding: Spending,
    others: Spending,
    /// For an error budget of one in twenty: what a reader can compare with tables.
    nominal: Spending,
    control_metrics: f64,
}

/// What may go wrong at a look.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// For the deciding metric.
    pub deciding: f64,
    /// For each of the others.
    pub other: f64,
    /// For each metric of the control.
    pub control: f64,
    /// For a budget of one in twenty.
    pub nominal: f64,
}

impl Allowances {
    /// For a confidence of all claims together, so many arms after the first, so many metrics.
    pub fn new(confidence: f64, contenders: usize, metrics: usize) -> Self {
        let miss = (1.0 - confidence) / contenders.max(1) as f64;
        let others = metrics.saturating_sub(1).max(1) as f64;
        Self {
            deciding: Spending::new(miss * DECIDING_SHARE),
            others: Spending::new(miss * (1.0 - DECIDING_SHARE) / others),
            nominal: Spending::new(0.05),
            control_metrics: metrics.max(1) as f64,
        }
    }

    /// Looks when this share of the planned rounds is in; `None` if nothing is new.
    pub fn look(&mut self, information: f64) -> Option<Allowance> {
        Some(Allowance {
            deciding: self.deciding.look(information)?,
            other: self.others.look(information)?,
            // The control decides nothing while the rounds run: it is looked at once, at the end.
            control: CONTROL_MISS / self.control_metrics,
            nominal: self.nominal.look(information)?,
        })
    }
}

/// Judges one metric. `miss` is the probability with which its interval may miss.
pub fn judge(
    rounds: &[Round],
    at: MetricAt,
    against: Against,
    decides: bool,
    miss: f64,
    margins: Margins,
    seed: u64,
) -> MetricResult {
    let logarithms = log_ratios(rounds, at, against);
    let (contender, baseline) = against.arms();
    let (contender, baseline) = (median_of(rounds, contender, at), median_of(rounds, baseline, at));
    let mut result = MetricResult {
        metric: at.metric,
        point: at.point,
        decides,
        baseline,
        contender,
        ratio: None,
        low: None,
        high: None,
        confidence: None,
        pairs: logarithms.len(),
        verdict: Verdict::NotJudgeable,
        no_difference_larger_than: None,
        reason: None,
    };
    let Some(interval) = ratio_interval(&logarithms, miss, seed) else {
        result.reason = Some(why_no_interval(&result));
        return result;
    };
    result.ratio = Some(interval.ratio);
    result.low = Some(interval.low);
    result.high = Some(interval.high);
    result.confidence = Some(1.0 - miss);
    if is_rare(at.metric, baseline) && is_rare(at.metric, contender) {
        result.reason = Some("fewer than one in a thousand requests on either side".to_owned());
        return result;
    }
    (result.verdict, result.no_difference_larger_than) = verdict(&interval, at.metric, margins);
    result
}

fn why_no_interval(result: &MetricResult) -> String {
    if result.baseline.is_none() || result.contender.is_none() {
        "not known of another program's server".to_owned()
    } else {
        format!("{} blocks of rounds are too few, {LEAST_PAIRS} are needed", result.pairs)
    }
}

fn is_rare(metric: Metric, value: Option<f64>) -> bool {
    matches!(metric, Metric::SystemCallsPerRequest | Metric::ContextSwitchesPerRequest)
        && value.is_some_and(|value| value < RARE)
}

/// Whether a result says all that can be wanted of it: a verdict, and an interval that is narrow
/// beside the difference, or beside what counts as none.
pub fn is_settled(result: &MetricResult, margins: Margins) -> bool {
    let (Some(ratio), Some(low), Some(high)) = (result.ratio, result.low, result.high) else {
        return false;
    };
    let half_width = 0.5 * (high / low).ln();
    match result.verdict {
        Verdict::NoDifference => true,
        Verdict::Better | Verdict::Worse => {
            half_width <= margins.equivalence.max(0.25 * ratio.ln().abs())
        }
        Verdict::Inconclusive | Verdict::NotJudgeable => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::statistics::random::Random;
    use crate::compare::synthetic::rounds;
    use crate::report::result::Point;

    const MARGINS: Margins = Margins { negligible: 0.01, equivalence: 0.03 };
    const CPU: MetricAt = MetricAt { metric: Metric::CpuPerRequest, point: Point::FixedRate };

    fn of(low: f64, high: f64, metric: Metric) -> (Verdict, Option<f64>) {
        verdict(&RatioInterval { ratio: (low * high).sqrt(), low, high }, metric, MARGINS)
    }

    #[test]
    fn verdicts_follow_the_interval() {
        let cpu = Metric::CpuPerRequest;
        assert_eq!(of(0.85, 0.95, cpu).0, Verdict::Better);
        assert_eq!(of(1.02, 1.05, cpu).0, Verdict::Worse);
        assert_eq!(of(1.02, 1.05, Metric::Throughput).0, Verdict::Better);
        assert_eq!(of(0.85, 0.95, Metric::Throughput).0, Verdict::Worse);
        assert_eq!(of(0.95, 1.02, cpu).0, Verdict::Inconclusive);
        assert_eq!(of(0.985, 1.02, cpu), (Verdict::NoDifference, Some(0.02)));
        // A difference that is there, and does not matter.
        assert_eq!(of(1.002, 1.008, cpu), (Verdict::NoDifference, Some(0.01)));
        assert_eq!(of(1.002, 1.012, cpu).0, Verdict::Worse);
    }

    /// Rounds with noise of so much, arm 1 costing `ratio`.
    fn noisy(blocks: usize, noise: f64, ratio: f64, seed: u64) -> Vec<Round> {
        let mut random = Random::new(seed);
        let mut rounds = rounds(2, blocks);
        for round in &mut rounds {
            let uniform = (random.bits() >> 11) as f64 / (1_u64 << 53) as f64;
            let cost = if round.arm == 1 { ratio } else { 1.0 };
            let factor = cost * (1.0 + noise * (uniform - 0.5));
            round.server.cpu_ns = (round.server.cpu_ns as f64 * factor) as u64;
        }
        rounds
    }

    #[test]
    fn a_difference_is_found_and_its_size_is_held() {
        let rounds = noisy(12, 0.06, 1.03, 1);
        let result = judge(&rounds, CPU, Against::First(1), true, 0.05, MARGINS, 1);
        assert_eq!(result.verdict, Verdict::Worse, "{result:?}");
        assert!(result.low.unwrap() < 1.03 && 1.03 < result.high.unwrap(), "{result:?}");
        assert!(is_settled(&result, MARGINS));
        let control = judge(&rounds, CPU, Against::Itself, true, 0.01, MARGINS, 1);
        assert!(matches!(control.verdict, Verdict::NoDifference | Verdict::Inconclusive));
    }

    #[test]
    fn too_few_rounds_give_a_reason() {
        let result = judge(&noisy(4, 0.1, 1.0, 1), CPU, Against::First(1), true, 0.05, MARGINS, 1);
        assert_eq!(result.verdict, Verdict::NotJudgeable);
        assert!(result.reason.unwrap().contains("too few"));
    }

    #[test]
    fn what_hardly_happens_is_not_compared() {
        let mut rounds = rounds(2, 6);
        for round in &mut rounds {
            round.server.voluntary_switches = round.arm as u64 * 4;
            round.server.involuntary_switches = 0;
        }
        let at = MetricAt { metric: Metric::ContextSwitchesPerRequest, point: Point::Saturated };
        let result = judge(&rounds, at, Against::First(1), false, 0.05, MARGINS, 1);
        assert_eq!(result.verdict, Verdict::NotJudgeable);
        assert!(result.reason.unwrap().contains("one in a thousand"));
    }

    /// The whole procedure, looks and all metrics, on arms that do not differ.
    #[test]
    fn false_claims_stay_within_what_is_allowed() {
        let metrics = [CPU, MetricAt { metric: Metric::Throughput, point: Point::Saturated }];
        let mut allowances = Allowances::new(0.95, 1, metrics.len());
        let looks = [6, 9, 12].map(|blocks: usize| {
            (blocks, allowances.look(blocks as f64 / 12.0).expect("each look is new"))
        });
        let experiments = 60;
        let mut claims = 0;
        for seed in 0..experiments {
            let mut rounds = noisy(12, 0.2, 1.0, seed);
            let mut random = Random::new(!seed);
            for round in &mut rounds {
                round.duration_ns += random.below(100_000_000) as u64;
            }
            let claimed = looks.iter().any(|&(blocks, allowance)| {
                let seen: Vec<_> = rounds.iter().filter(|it| it.block < blocks).cloned().collect();
                metrics.iter().any(|&at| {
                    let decides = at == CPU;
                    let miss = if decides { allowance.deciding } else { allowance.other };
                    let against = Against::First(1);
                    let result = judge(&seen, at, against, decides, miss, MARGINS, seed);
                    matches!(result.verdict, Verdict::Better | Verdict::Worse)
                })
            });
            claims += u32::from(claimed);
        }
        // Three are allowed on average, with a standard deviation of 1.7.
        assert!(claims <= 7, "{claims} of {experiments}");
    }
}
