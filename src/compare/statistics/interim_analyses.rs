//! Alpha spending for interim analyses.
//!
//! An experiment that stops as soon as an interval excludes 1 reports too many differences that do
//! not exist. A group sequential test prevents that: the total type I error (alpha) is *spent* over
//! the interim analyses, as a function of the information fraction (Lan and DeMets, Biometrika 70,
//! 1983). The spending function of O'Brien–Fleming type spends little early, when there are few
//! rounds and intervals are least reliable, and keeps most of alpha for the final analysis. Number
//! and times of the analyses need not be known in advance, which suits a budget in seconds.
//!
//! Confidence sequences would permit an analysis after each round, but give wider intervals at the
//! end.

use super::distributions::{normal_cdf, normal_density, normal_quantile};

/// Points of the grid for the density of the statistic. Odd, as Simpson's rule requires.
const GRID: usize = 401;

/// The alpha of one claim, and the part of it that is spent.
#[derive(Clone, Debug)]
pub struct AlphaSpending {
    /// The total two-sided type I error.
    alpha: f64,
    spent: f64,
    /// The information fraction at the last analysis.
    information: f64,
    /// The density of the statistic among experiments that were not stopped so far: points, and
    /// the density times the quadrature weight at each.
    density: Vec<(f64, f64)>,
}

impl AlphaSpending {
    /// Starts with nothing spent of `alpha`, which must be between 0 and 1.
    pub fn new(alpha: f64) -> Self {
        Self { alpha, spent: 0.0, information: 0.0, density: vec![(0.0, 1.0)] }
    }

    /// Spends alpha up to this information fraction, which is 1.0 at the end. Returns the nominal
    /// alpha of this analysis: 0.05 means a 95% interval. Returns `None` if there is no new
    /// information since the last analysis.
    pub fn spend_until(&mut self, information: f64) -> Option<f64> {
        let information = information.min(1.0);
        let spend = cumulative_alpha(self.alpha, information) - self.spent;
        let step = (information - self.information).max(0.0).sqrt();
        if step == 0.0 || spend < self.alpha * 1e-6 {
            return None;
        }
        let boundary = self.boundary(spend, step);
        self.propagate_density(boundary, step);
        self.spent += spend;
        self.information = information;
        let standardised = boundary / information.sqrt();
        Some(2.0 * normal_cdf(-standardised))
    }

    /// Finds the boundary that the statistic crosses first at this analysis with probability
    /// `spend`.
    fn boundary(&self, spend: f64, step: f64) -> f64 {
        let outside = |boundary: f64| -> f64 {
            let tails = |from: f64| {
                normal_cdf((from - boundary) / step) + normal_cdf((-from - boundary) / step)
            };
            self.density.iter().map(|&(from, weight)| weight * tails(from)).sum()
        };
        let (mut low, mut high) = (0.0, 40.0);
        for _ in 0..100 {
            let middle = 0.5 * (low + high);
            if outside(middle) > spend { low = middle } else { high = middle }
        }
        high
    }

    fn propagate_density(&mut self, boundary: f64, step: f64) {
        let width = 2.0 * boundary / (GRID - 1) as f64;
        let density = (0..GRID).map(|point| {
            let to = -boundary + width * point as f64;
            let density: f64 = self
                .density
                .iter()
                .map(|&(from, weight)| weight * normal_density((to - from) / step) / step)
                .sum();
            let simpson = match point {
                0 => 1.0,
                last if last == GRID - 1 => 1.0,
                odd if odd % 2 == 1 => 4.0,
                _ => 2.0,
            };
            (to, density * simpson * width / 3.0)
        });
        self.density = density.collect();
    }
}

/// Returns the alpha spent up to an information fraction, by the spending function of
/// O'Brien–Fleming type: 2 − 2Φ(z/√information) on each side, with half of alpha.
fn cumulative_alpha(alpha: f64, information: f64) -> f64 {
    if information <= 0.0 {
        return 0.0;
    }
    let end = -normal_quantile(alpha / 4.0);
    4.0 * normal_cdf(-end / information.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::statistics::random::Random;

    fn boundaries(alpha: f64, analyses: &[f64]) -> Vec<f64> {
        let mut spending = AlphaSpending::new(alpha);
        let spend = |&information: &f64| spending.spend_until(information).unwrap();
        analyses.iter().map(spend).map(|alpha| -normal_quantile(alpha / 2.0)).collect()
    }

    #[test]
    fn boundaries_match_published_tables() {
        // Lan–DeMets spending of O'Brien–Fleming type, 0.05 two-sided, for two, three and five
        // equally spaced analyses (Jennison and Turnbull, Group Sequential Methods, 2000).
        let tables: [(&[f64], &[f64]); 3] = [
            (&[0.5, 1.0], &[2.963, 1.969]),
            (&[1.0 / 3.0, 2.0 / 3.0, 1.0], &[3.710, 2.511, 1.993]),
            (&[0.2, 0.4, 0.6, 0.8, 1.0], &[4.877, 3.357, 2.680, 2.290, 2.031]),
        ];
        for (analyses, table) in tables {
            for (ours, theirs) in boundaries(0.05, analyses).iter().zip(table) {
                assert!((ours - theirs).abs() < 0.002, "{analyses:?}: {ours} instead of {theirs}");
            }
        }
    }

    #[test]
    fn single_analysis_has_the_full_alpha() {
        assert!((AlphaSpending::new(0.05).spend_until(1.0).unwrap() - 0.05).abs() < 1e-9);
    }

    #[test]
    fn analysis_without_new_information_is_refused() {
        let mut spending = AlphaSpending::new(0.05);
        assert!(spending.spend_until(0.5).is_some());
        assert!(spending.spend_until(0.5).is_none());
        assert!(spending.spend_until(1.0).is_some());
        assert!(spending.spend_until(1.0).is_none());
    }

    /// Simulates experiments without a difference.
    #[test]
    fn type_i_error_of_all_analyses_is_alpha() {
        let analyses = [0.4, 0.6, 0.8, 1.0];
        let boundaries = boundaries(0.05, &analyses);
        let mut random = Random::new(11);
        let mut normal =
            || normal_quantile((random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64);
        let experiments = 4000;
        let mut false_positives = 0;
        for _ in 0..experiments {
            let (mut statistic, mut before) = (0.0, 0.0_f64);
            let positive = analyses.iter().zip(&boundaries).any(|(&information, &boundary)| {
                statistic += normal() * (information - before).sqrt();
                before = information;
                statistic.abs() / information.sqrt() > boundary
            });
            false_positives += u32::from(positive);
        }
        let share = f64::from(false_positives) / f64::from(experiments);
        assert!((0.04..0.06).contains(&share), "{share}");
    }
}
