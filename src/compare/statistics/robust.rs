//! Robust estimates for latency percentiles, whose noise has heavy tails.
//!
//! A machine that runs something else for some milliseconds moves the 99th percentile of a whole
//! round by a factor, so the mean over rounds is that of the worst ones. Instead:
//!
//! - Percentiles are taken of short periods, in which all arms ran within a fraction of a second,
//!   and compared there: what disturbs a second disturbs all arms alike.
//! - The ratio of a block is the Hodges–Lehmann estimate over its periods (Annals of Mathematical
//!   Statistics 34, 1963): the median of all pairwise means, which single periods cannot move far.
//! - Blocks are averaged with the trimmed mean, and its interval is that of Tukey and McLaughlin
//!   (Sankhyā A 25, 1963), with the winsorised variance. Blocks are the unit, since all periods of
//!   a block share their server processes.
//!
//! The simulations in the tests compare this with other estimators.

use super::distributions::student_quantile_two_sided;
use super::paired::{MIN_PAIRS, RatioInterval, mean, median, standard_deviation};

/// The share of the blocks left out at each end.
const TRIMMED_SHARE: f64 = 0.1;

/// Returns the Hodges–Lehmann estimate of location: the median of the means of all pairs of values,
/// each value with itself included; `None` without values.
pub fn hodges_lehmann(values: &[f64]) -> Option<f64> {
    let means = values
        .iter()
        .enumerate()
        .flat_map(|(index, one)| values[index..].iter().map(move |other| 0.5 * (one + other)));
    median(means)
}

/// Computes the two-sided interval of a ratio from the natural logarithms of the ratios of blocks,
/// of which a tenth at each end has no influence. Returns `None` with fewer than [`MIN_PAIRS`]
/// blocks or with a value that is not finite.
pub fn trimmed_interval(log_ratios: &[f64], alpha: f64) -> Option<RatioInterval> {
    let count = log_ratios.len();
    if count < MIN_PAIRS || log_ratios.iter().any(|it| !it.is_finite()) {
        return None;
    }
    let mut sorted = log_ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    let trimmed = (count as f64 * TRIMMED_SHARE) as usize;
    let kept = &sorted[trimmed..count - trimmed];
    let (least, greatest) = (kept[0], kept[kept.len() - 1]);
    let winsorised: Vec<f64> = sorted.iter().map(|it| it.clamp(least, greatest)).collect();
    let kept_share = kept.len() as f64 / count as f64;
    let standard_error = standard_deviation(&winsorised) / (kept_share * (count as f64).sqrt());
    let half_width = student_quantile_two_sided(alpha, kept.len() - 1) * standard_error;
    let centre = mean(kept);
    Some(RatioInterval {
        ratio: centre.exp(),
        low: (centre - half_width).exp(),
        high: (centre + half_width).exp(),
    })
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hodges_lehmann_agrees_with_its_definition() {
        // The means of pairs are 1, 1.5, 2, 3, 3.5 and 5.
        assert_eq!(hodges_lehmann(&[2.0, 1.0, 5.0]), Some(2.5));
        assert_eq!(hodges_lehmann(&[0.7]), Some(0.7));
        assert_eq!(hodges_lehmann(&[]), None);
        let disturbed = [0.0, 0.1, -0.1, 0.05, -0.05, 0.02, 9.0, 9.0];
        assert!(hodges_lehmann(&disturbed).unwrap() < 0.1);
    }

    #[test]
    fn trimmed_interval_without_trimming_is_students() {
        // Of `scipy.stats.t.interval`, as in the tests of the paired interval.
        let seven = [0.031, 0.012, 0.045, -0.008, 0.027, 0.019, 0.052];
        let interval = trimmed_interval(&seven, 0.05).unwrap();
        assert!((interval.low.ln() - 0.006_695).abs() < 1e-6, "{interval:?}");
        assert!((interval.high.ln() - 0.044_162).abs() < 1e-6, "{interval:?}");
    }

    #[test]
    fn one_bad_block_in_ten_does_not_move_the_interval() {
        let mut values = [0.03, 0.031, 0.029, 0.0305, 0.0295, 0.0302, 0.0298, 0.0311, 0.0289, 0.03];
        let before = trimmed_interval(&values, 0.05).unwrap();
        values[3] = 5.0;
        let after = trimmed_interval(&values, 0.05).unwrap();
        assert!((after.ratio / before.ratio - 1.0).abs() < 1e-3, "{before:?}, {after:?}");
        assert!(after.high / after.low < 1.01, "{after:?}");
    }

    #[test]
    fn few_or_infinite_values_have_no_interval() {
        assert_eq!(trimmed_interval(&[0.1; MIN_PAIRS - 1], 0.05), None);
        assert_eq!(trimmed_interval(&[0.1, 0.2, f64::NEG_INFINITY, 0.1, 0.3], 0.05), None);
        let equal = trimmed_interval(&[0.0; MIN_PAIRS], 0.05).unwrap();
        assert_eq!((equal.low, equal.high), (1.0, 1.0));
    }
}
