//! The normal distribution and Student's t distribution, as far as intervals need them.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Returns the probability that a standard normal variable is below `x`.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// Returns the density of the standard normal distribution.
pub fn normal_density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// Returns the value below which a standard normal variable lies with this probability.
pub fn normal_quantile(probability: f64) -> f64 {
    if probability > 0.5 {
        // Small probabilities lose no digits in the lower tail.
        return -normal_quantile(1.0 - probability);
    }
    solve_increasing(probability, -40.0, 0.0, normal_cdf)
}

/// Returns the probability that the absolute value of Student's t exceeds `t`. Closed forms:
/// Abramowitz and Stegun, 26.7.3 and 26.7.4.
pub fn student_two_sided_p(t: f64, degrees: usize) -> f64 {
    let angle = (t.abs() / (degrees as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let odd = degrees % 2 == 1;
    // odd:  2/π·(angle + sine·(cosine + 2/3·cosine³ + 2·4/(3·5)·cosine⁵ + … + cosine^(degrees-2)))
    // even: sine·(1 + 1/2·cosine² + 1·3/(2·4)·cosine⁴ + … + cosine^(degrees-2))
    let mut term = if odd { cosine } else { 1.0 };
    let mut sum = 0.0;
    let mut power = usize::from(odd);
    while power + 2 <= degrees {
        sum += term;
        term *= cosine * cosine * (power + 1) as f64 / (power + 2) as f64;
        power += 2;
    }
    let within = if odd { (angle + sine * sum) * 2.0 / PI } else { sine * sum };
    (1.0 - within).clamp(0.0, 1.0)
}

/// Returns the value that the absolute value of Student's t exceeds with this probability.
pub fn student_quantile_two_sided(probability: f64, degrees: usize) -> f64 {
    solve_increasing(-probability, 0.0, 1e9, |t| -student_two_sided_p(t, degrees))
}

/// Finds where an increasing function reaches `value`, by bisection down to the last digit.
fn solve_increasing(value: f64, mut low: f64, mut high: f64, function: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if function(middle) < value {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

    fn assert_close(ours: f64, theirs: f64, relative: f64, what: &str) {
        let error = (ours - theirs).abs() / theirs.abs().max(1e-3);
        assert!(error < relative, "{what}: {ours} instead of {theirs}");
    }

    #[test]
    fn normal_agrees_with_statrs() {
        let normal = Normal::standard();
        for step in -60..=60 {
            let x = f64::from(step) / 10.0;
            assert_close(normal_cdf(x), normal.cdf(x), 1e-9, &format!("cdf({x})"));
        }
        for p in [1e-6, 0.0007, 0.005, 0.025, 0.1, 0.5, 0.8, 0.975, 0.9999] {
            let theirs = normal.inverse_cdf(p);
            assert_close(normal_quantile(p), theirs, 1e-8, &format!("quantile({p})"));
        }
    }

    #[test]
    fn student_agrees_with_statrs() {
        for degrees in 1..=40 {
            let student = StudentsT::new(0.0, 1.0, degrees as f64).unwrap();
            for t in [0.1, 0.7, 1.0, 2.2, 4.5, 9.0] {
                let theirs = 2.0 * student.sf(t);
                let what = format!("two sided({t}, {degrees})");
                assert_close(student_two_sided_p(t, degrees), theirs, 1e-9, &what);
            }
            for p in [0.0014, 0.01, 0.05, 0.2] {
                let theirs = student.inverse_cdf(1.0 - p / 2.0);
                let what = format!("quantile({p}, {degrees})");
                assert_close(student_quantile_two_sided(p, degrees), theirs, 1e-6, &what);
            }
        }
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
