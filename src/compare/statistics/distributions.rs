//! The normal distribution and Student's t distribution, as far as intervals need them.

use statrs::distribution::{Continuous, ContinuousCDF, Normal, StudentsT};

/// Returns the probability that a standard normal variable is below `x`.
pub fn normal_cdf(x: f64) -> f64 {
    Normal::standard().cdf(x)
}

/// Returns the density of the standard normal distribution.
pub fn normal_density(x: f64) -> f64 {
    Normal::standard().pdf(x)
}

/// Returns the value below which a standard normal variable lies with this probability.
pub fn normal_quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

/// Returns the value that the absolute value of Student's t exceeds with this probability.
pub fn student_quantile_two_sided(probability: f64, degrees: usize) -> f64 {
    let student = StudentsT::new(0.0, 1.0, degrees as f64).expect("there is a degree of freedom");
    // Small probabilities lose no digits in the lower tail.
    -student.inverse_cdf(0.5 * probability)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_agrees_with_published_tables() {
        for (p, table) in [(0.5, 0.0), (0.975, 1.959_964), (0.001, -3.090_232), (1e-9, -5.997_807)]
        {
            assert!((normal_quantile(p) - table).abs() < 5e-7, "{p}");
            assert!((normal_cdf(table) / p - 1.0).abs() < 1e-5, "{p}");
        }
        assert!((normal_density(1.0) - 0.241_970_7).abs() < 5e-8);
    }

    #[test]
    fn student_agrees_with_published_tables() {
        for (p, degrees, table) in
            [(0.05, 1, 12.706), (0.05, 6, 2.447), (0.05, 30, 2.042), (0.01, 9, 3.250)]
        {
            let ours = student_quantile_two_sided(p, degrees);
            assert!((ours - table).abs() < 0.0005, "{p}, {degrees}: {ours}");
        }
    }
}
