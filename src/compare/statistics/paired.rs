//! The ratio of paired rounds and its confidence interval.
//!
//! The rounds of a block run within seconds of each other, so that slow changes of the machine
//! cancel out in their ratio. Ratios are averaged on a logarithmic scale, on which "twice" and
//! "half" are equally far from 1.
//!
//! Two intervals are computed, and the wider end is used on each side. The bias-corrected and
//! accelerated bootstrap (BCa: Efron, JASA 82, 1987) follows the shape of the data, but its
//! coverage is too low with fewer than about twenty pairs. Student's t has the right coverage for
//! few pairs, if the data are not very skewed.

use super::distributions::{normal_cdf, normal_quantile, student_quantile_two_sided};
use super::random::Random;

/// The number of bootstrap resamples.
const RESAMPLES: usize = 4000;

/// The minimum number of pairs for an interval.
pub const MIN_PAIRS: usize = 5;

/// A ratio and its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatioInterval {
    /// The point estimate.
    pub ratio: f64,
    /// The lower confidence limit.
    pub low: f64,
    /// The upper confidence limit.
    pub high: f64,
}

/// Computes the two-sided interval of a ratio from the natural logarithms of the paired ratios;
/// `alpha` is 0.05 for a confidence of 95%. Returns `None` with fewer than [`MIN_PAIRS`] pairs or
/// with a value that is not finite.
pub fn ratio_interval(log_ratios: &[f64], alpha: f64, seed: u64) -> Option<RatioInterval> {
    if log_ratios.len() < MIN_PAIRS || log_ratios.iter().any(|it| !it.is_finite()) {
        return None;
    }
    let centre = mean(log_ratios);
    let (t_low, t_high) = student_interval(log_ratios, alpha);
    let (b_low, b_high) = bca_interval(log_ratios, alpha, RESAMPLES, &mut Random::new(seed));
    Some(RatioInterval {
        ratio: centre.exp(),
        low: t_low.min(b_low).exp(),
        high: t_high.max(b_high).exp(),
    })
}

/// Returns the arithmetic mean.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the median, or `None` without values.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(0.5 * (lower + upper))
}

pub(super) fn standard_deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

fn student_interval(values: &[f64], alpha: f64) -> (f64, f64) {
    let pairs = values.len();
    let standard_error = standard_deviation(values) / (pairs as f64).sqrt();
    let half_width = student_quantile_two_sided(alpha, pairs - 1) * standard_error;
    (mean(values) - half_width, mean(values) + half_width)
}

/// Returns the BCa bootstrap interval of the mean.
fn bca_interval(values: &[f64], alpha: f64, resamples: usize, random: &mut Random) -> (f64, f64) {
    let centre = mean(values);
    let mut means: Vec<f64> = (0..resamples)
        .map(|_| {
            let drawn = (0..values.len()).map(|_| values[random.below(values.len())]);
            drawn.sum::<f64>() / values.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let below = means.partition_point(|&mean| mean < centre);
    let up_to = means.partition_point(|&mean| mean <= centre);
    // Ties count half, so that a sample of equal values has no bias.
    let share = 0.5 * (below + up_to) as f64 / resamples as f64;
    let smallest = 0.5 / resamples as f64;
    let bias = normal_quantile(share.clamp(smallest, 1.0 - smallest));
    let acceleration = acceleration(values);
    let end = |probability: f64| {
        let shifted = bias + normal_quantile(probability);
        let corrected = normal_cdf(bias + shifted / (1.0 - acceleration * shifted));
        quantile_of_sorted(&means, corrected)
    };
    (end(alpha / 2.0), end(1.0 - alpha / 2.0))
}

/// Returns the acceleration of BCa: a sixth of the skewness of the jackknife means.
fn acceleration(values: &[f64]) -> f64 {
    let total: f64 = values.iter().sum();
    let others = (values.len() - 1) as f64;
    let jackknife: Vec<f64> = values.iter().map(|value| (total - value) / others).collect();
    let centre = mean(&jackknife);
    let squares: f64 = jackknife.iter().map(|it| (centre - it).powi(2)).sum();
    let cubes: f64 = jackknife.iter().map(|it| (centre - it).powi(3)).sum();
    if squares == 0.0 { 0.0 } else { cubes / (6.0 * squares.powf(1.5)) }
}

fn quantile_of_sorted(sorted: &[f64], probability: f64) -> f64 {
    let position = probability * (sorted.len() - 1) as f64;
    let lower = position.floor() as usize;
    let upper = (lower + 1).min(sorted.len() - 1);
    sorted[lower] + (sorted[upper] - sorted[lower]) * (position - lower as f64)
}

#[cfg(test)]
mod tests;
