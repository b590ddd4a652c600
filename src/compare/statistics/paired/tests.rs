use super::*;

const SEVEN: &[f64] = &[0.031, 0.012, 0.045, -0.008, 0.027, 0.019, 0.052];
const SKEWED: &[f64] =
    &[0.01, 0.02, 0.015, 0.03, 0.4, 0.012, 0.022, 0.05, 0.018, 0.9, 0.011, 0.027];
const OUTLIER: &[f64] =
    &[0.03, 0.031, 0.029, 0.0305, 0.0295, 0.0302, -0.21, 0.0298, 0.0311, 0.0289];

/// `scipy.stats.bootstrap(…, numpy.mean, method="BCa", n_resamples=1_000_000)` of SciPy 1.17.1.
const BCA: [(&[f64], f64, (f64, f64)); 7] = [
    (SEVEN, 0.10, (0.01271, 0.03614)),
    (SEVEN, 0.05, (0.01029, 0.03814)),
    (SEVEN, 0.01, (0.00543, 0.04143)),
    (SKEWED, 0.10, (0.04950, 0.34250)),
    (SKEWED, 0.05, (0.02400, 0.38794)),
    (OUTLIER, 0.10, (-0.06599, 0.03009)),
    (OUTLIER, 0.05, (-0.08989, 0.03016)),
];

#[test]
fn bca_agrees_with_scipy() {
    for (values, alpha, (low, high)) in BCA {
        let ours = bca_interval(values, alpha, 100_000, &mut Random::new(3));
        // Two bootstrap runs differ by about this much.
        let allowed = 0.015 * (high - low) + 0.0005;
        let error = (ours.0 - low).abs().max((ours.1 - high).abs());
        assert!(error < allowed, "{alpha} of {values:?}: {ours:?} instead of {low}, {high}");
    }
}

#[test]
fn student_agrees_with_scipy() {
    // From `scipy.stats.t.interval`.
    for (values, alpha, low, high) in [
        (SEVEN, 0.05, 0.006_695, 0.044_162),
        (SKEWED, 0.01, -0.113_207, 0.365_707),
        (OUTLIER, 0.10, -0.037_997, 0.049_997),
    ] {
        let ours = student_interval(values, alpha);
        assert!((ours.0 - low).abs() < 1e-6 && (ours.1 - high).abs() < 1e-6, "{ours:?}");
    }
}

#[test]
fn student_agrees_with_statrs() {
    use statrs::distribution::{ContinuousCDF, StudentsT};
    use statrs::statistics::Statistics;
    let student = StudentsT::new(0.0, 1.0, (SEVEN.len() - 1) as f64).unwrap();
    let error = SEVEN.std_dev() / (SEVEN.len() as f64).sqrt();
    let half_width = student.inverse_cdf(0.975) * error;
    let ours = student_interval(SEVEN, 0.05);
    assert!((ours.0 - (SEVEN.mean() - half_width)).abs() < 1e-9, "{ours:?}");
}

#[test]
fn wider_limit_is_used_on_each_side() {
    let interval = ratio_interval(SKEWED, 0.05, 1).unwrap();
    let student = student_interval(SKEWED, 0.05);
    assert_eq!(interval.low, student.0.exp(), "the limit of Student's t is lower");
    assert!(interval.high > student.1.exp() * 1.02, "the bootstrap limit is higher: {interval:?}");
    assert!((interval.ratio - mean(SKEWED).exp()).abs() < 1e-12);
}

#[test]
fn interval_of_equal_pairs_has_no_width() {
    let interval = ratio_interval(&[0.5; 6], 0.05, 1).unwrap();
    assert!((interval.low - interval.high).abs() < 1e-9, "{interval:?}");
}

#[test]
fn too_few_pairs_or_non_finite_values_have_no_interval() {
    assert_eq!(ratio_interval(&[0.1; MIN_PAIRS - 1], 0.05, 1), None);
    assert_eq!(ratio_interval(&[0.1, 0.1, 0.1, 0.1, f64::NEG_INFINITY], 0.05, 1), None);
}

#[test]
fn same_seed_gives_same_interval() {
    assert_eq!(ratio_interval(SEVEN, 0.01, 5), ratio_interval(SEVEN, 0.01, 5));
}

#[test]
fn median_of_odd_even_and_no_values() {
    assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
    assert_eq!(median([]), None);
}

/// Checks the coverage of 95% intervals of small samples with outliers, as on a busy machine.
#[test]
fn coverage_is_at_least_the_confidence() {
    for pairs in [5, 12] {
        let mut random = Random::new(pairs as u64);
        let mut uniform = move || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 + 1e-17;
        let samples = 250;
        let mut covered = 0;
        for sample in 0..samples {
            let values: Vec<f64> = (0..pairs)
                .map(|_| {
                    let spread = if uniform() < 0.1 { 0.1 } else { 0.02 };
                    0.03 + spread * normal_quantile(uniform())
                })
                .collect();
            let interval = ratio_interval(&values, 0.05, sample).unwrap();
            let truth = 0.03_f64.exp();
            covered += u32::from(interval.low <= truth && truth <= interval.high);
        }
        // The expected number is at least 237, with a standard deviation of 3.4.
        assert!(covered >= 228, "{pairs} pairs: {covered} of {samples}");
    }
}
