//! How sure an interval must be when one looks at the data more than once.
//!
//! Whoever looks after each block and stops when the interval excludes 1 claims a difference that
//! is not there far more often than the interval says. Group sequential tests mend that: the
//! probability of a false claim that is allowed in all is *spent* over the looks, by a function of
//! the share of the information that is in (Lan and DeMets, Biometrika 70, 1983). The function
//! here is the one like O'Brien and Fleming's: it spends little early, when few rounds are in and
//! intervals are the least reliable, and leaves nearly all for the end. The number and the times
//! of the looks need not be known before, which suits a budget in seconds.
//!
//! Confidence sequences would allow a look after each round at any time, at the price of intervals
//! wider by about a half at the end; with three looks the price here is under a tenth.

use super::distributions::{normal_cdf, normal_density, normal_quantile};

/// Points of the grid on which the density of the statistic is carried on. Odd, for Simpson.
const GRID: usize = 401;

/// The looks so far, for one budget of errors.
#[derive(Clone, Debug)]
pub struct Spending {
    /// The probability of a false claim that is allowed in all, both sides together.
    allowed: f64,
    /// What of it is spent.
    spent: f64,
    /// The share of the information at the last look.
    information: f64,
    /// Where the statistic can be after the last look without having ended the experiment, and
    /// how likely: points and the weights of an integral over them.
    density: Vec<(f64, f64)>,
}

impl Spending {
    /// Nothing spent yet of `allowed`, which must lie between 0 and 1.
    pub fn new(allowed: f64) -> Self {
        Self { allowed, spent: 0.0, information: 0.0, density: vec![(0.0, 1.0)] }
    }

    /// Looks when this share of the information is in, 1.0 at the end, and says with which
    /// probability an interval may miss by itself: 0.05 is an interval of 95 %. `None` where
    /// there is nothing to be gained since the last look.
    pub fn look(&mut self, information: f64) -> Option<f64> {
        let information = information.min(1.0);
        let spend = spent_until(self.allowed, information) - self.spent;
        let step = (information - self.information).max(0.0).sqrt();
        if step == 0.0 || spend < self.allowed * 1e-6 {
            return None;
        }
        let boundary = self.boundary(spend, step);
        self.carry_on(boundary, step);
        self.spent += spend;
        self.information = information;
        let standardised = boundary / information.sqrt();
        Some(2.0 * normal_cdf(-standardised))
    }

    /// Beyond which value the statistic lies with probability `spend`, having stayed inside
    /// at all looks before.
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

    fn carry_on(&mut self, boundary: f64, step: f64) {
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

/// What the function like O'Brien and Fleming's has spent when this share of the information is
/// in: as the tables have it, half of what is allowed on either side, each by 2 - 2Φ(z/√information).
fn spent_until(allowed: f64, information: f64) -> f64 {
    if information <= 0.0 {
        return 0.0;
    }
    let end = -normal_quantile(allowed / 4.0);
    4.0 * normal_cdf(-end / information.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::statistics::random::Random;

    fn boundaries(allowed: f64, looks: &[f64]) -> Vec<f64> {
        let mut spending = Spending::new(allowed);
        let miss = |&information: &f64| spending.look(information).unwrap();
        looks.iter().map(miss).map(|miss| -normal_quantile(miss / 2.0)).collect()
    }

    #[test]
    fn boundaries_are_those_of_the_tables() {
        // Lan and DeMets' function like O'Brien and Fleming's, 0.05 two-sided: five equal looks
        // (Jennison and Turnbull, Group Sequential Methods, 2000), and two and three.
        let tables: [(&[f64], &[f64]); 3] = [
            (&[0.5, 1.0], &[2.963, 1.969]),
            (&[1.0 / 3.0, 2.0 / 3.0, 1.0], &[3.710, 2.511, 1.993]),
            (&[0.2, 0.4, 0.6, 0.8, 1.0], &[4.877, 3.357, 2.680, 2.290, 2.031]),
        ];
        for (looks, table) in tables {
            for (ours, theirs) in boundaries(0.05, looks).iter().zip(table) {
                assert!((ours - theirs).abs() < 0.002, "{looks:?}: {ours} instead of {theirs}");
            }
        }
    }

    #[test]
    fn one_look_is_an_ordinary_interval() {
        assert!((Spending::new(0.05).look(1.0).unwrap() - 0.05).abs() < 1e-9);
    }

    #[test]
    fn nothing_new_is_no_look() {
        let mut spending = Spending::new(0.05);
        assert!(spending.look(0.5).is_some());
        assert!(spending.look(0.5).is_none());
        assert!(spending.look(1.0).is_some());
        assert!(spending.look(1.0).is_none());
    }

    /// What it is for: in simulated experiments without a difference, looks all included.
    #[test]
    fn false_claims_stay_within_what_is_allowed() {
        let looks = [0.4, 0.6, 0.8, 1.0];
        let boundaries = boundaries(0.05, &looks);
        let mut random = Random::new(11);
        let mut normal = || normal_quantile((random.bits() >> 11) as f64 / (1_u64 << 53) as f64);
        let experiments = 4000;
        let mut claims = 0;
        for _ in 0..experiments {
            let (mut statistic, mut before) = (0.0, 0.0_f64);
            let claimed = looks.iter().zip(&boundaries).any(|(&information, &boundary)| {
                statistic += normal() * (information - before).sqrt();
                before = information;
                statistic.abs() / information.sqrt() > boundary
            });
            claims += u32::from(claimed);
        }
        let share = f64::from(claims) / f64::from(experiments);
        assert!((0.04..0.06).contains(&share), "{share}");
    }
}
