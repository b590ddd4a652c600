//! From paired rounds to a ratio with an interval.
//!
//! The values of a block were taken within seconds of each other, so what the machine did to all
//! of them falls out of their ratio. Ratios are averaged on a logarithmic scale, on which "twice"
//! and "half" are equally far from 1.
//!
//! Two intervals are made, and at each end the wider one is taken. The bootstrap of the mean with
//! its bias and skewness corrected (BCa: Efron, JASA 82, 1987) follows the shape of the data, but
//! with fewer than some twenty pairs it misses more often than it says. Student's t does not, for
//! data that are not very skewed.

use super::distributions::{normal_cdf, normal_quantile, student_quantile_two_sided};
use super::random::Random;

/// How often the pairs are drawn again.
const RESAMPLES: usize = 4000;

/// The least number of pairs of which an interval is made.
pub const LEAST_PAIRS: usize = 5;

/// A ratio and where it lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatioInterval {
    /// The best estimate.
    pub ratio: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The interval of a ratio, from the natural logarithms of the pairs' ratios. `miss` is the
/// probability with which it may miss, both sides together: 0.05 for 95 %. `None` with fewer
/// than [`LEAST_PAIRS`] pairs, or a value that is not a number.
pub fn ratio_interval(logarithms: &[f64], miss: f64, seed: u64) -> Option<RatioInterval> {
    if logarithms.len() < LEAST_PAIRS || logarithms.iter().any(|it| !it.is_finite()) {
        return None;
    }
    let centre = mean(logarithms);
    let (t_low, t_high) = student_interval(logarithms, miss);
    let (b_low, b_high) = bca_interval(logarithms, miss, RESAMPLES, &mut Random::new(seed));
    Some(RatioInterval {
        ratio: centre.exp(),
        low: t_low.min(b_low).exp(),
        high: t_high.max(b_high).exp(),
    })
}

/// The arithmetic mean.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The median; `None` without values.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(0.5 * (lower + upper))
}

/// The standard deviation of a sample.
fn standard_deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

fn student_interval(values: &[f64], miss: f64) -> (f64, f64) {
    let pairs = values.len();
    let standard_error = standard_deviation(values) / (pairs as f64).sqrt();
    let reach = student_quantile_two_sided(miss, pairs - 1) * standard_error;
    (mean(values) - reach, mean(values) + reach)
}

/// The bootstrap interval of the mean, with bias and acceleration.
fn bca_interval(values: &[f64], miss: f64, resamples: usize, random: &mut Random) -> (f64, f64) {
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
    // Ties count half: a sample of equal values has no bias.
    let share = 0.5 * (below + up_to) as f64 / resamples as f64;
    let least = 0.5 / resamples as f64;
    let bias = normal_quantile(share.clamp(least, 1.0 - least));
    let acceleration = acceleration(values);
    let end = |probability: f64| {
        let shifted = bias + normal_quantile(probability);
        let corrected = normal_cdf(bias + shifted / (1.0 - acceleration * shifted));
        quantile_of_sorted(&means, corrected)
    };
    (end(miss / 2.0), end(1.0 - miss / 2.0))
}

/// How the spread of the mean changes with the mean: a sixth of the skewness of the means that
/// leave one value out.
fn acceleration(values: &[f64]) -> f64 {
    let total: f64 = values.iter().sum();
    let others = (values.len() - 1) as f64;
    let without: Vec<f64> = values.iter().map(|value| (total - value) / others).collect();
    let centre = mean(&without);
    let squares: f64 = without.iter().map(|it| (centre - it).powi(2)).sum();
    let cubes: f64 = without.iter().map(|it| (centre - it).powi(3)).sum();
    if squares == 0.0 { 0.0 } else { cubes / (6.0 * squares.powf(1.5)) }
}

fn quantile_of_sorted(sorted: &[f64], probability: f64) -> f64 {
    let place = probability * (sorted.len() - 1) as f64;
    let lower = place.floor() as usize;
    let upper = (lower + 1).min(sorted.len() - 1);
    sorted[lower] + (sorted[upper] - sorted[lower]) * (place - lower as f64)
}

#[cfg(test)]
mod tests;
