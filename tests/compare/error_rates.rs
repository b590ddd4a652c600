//! The error rates of a comparison: false positives, and power. These tests take long and need a
//! quiet machine:
//!
//! ```text
//! cargo test --release --test compare error_rates -- --ignored --nocapture --test-threads 1
//! ```

use ringpoll::result::{ComparisonResult, Metric, MetricResult, Outcome, Verdict};

use crate::program::Comparison;
use crate::test_server;

/// Shorter rounds than the default, so that many experiments fit into an hour.
const QUICK: [&str; 6] = ["--budget", "15s", "--round", "150ms", "--warm-up", "50ms"];
/// The default budget and rounds.
const DEFAULT: [&str; 6] = ["--budget", "60s", "--round", "200ms", "--warm-up", "50ms"];

fn experiment(arms: [&str; 2], lengths: [&str; 6], seed: usize) -> ComparisonResult {
    let seed = seed.to_string();
    let comparison = Comparison::churn(&arms).with(["--blocks", "1000", "--seed", &seed]);
    comparison.with(lengths).run().result()
}

fn primary(result: &ComparisonResult) -> &MetricResult {
    let metrics = &result.experiments[0].comparisons[0].metrics;
    metrics.iter().find(|metric| metric.is_primary).expect("there is a primary metric")
}

fn interval(metric: &MetricResult) -> String {
    match (metric.ratio, metric.low, metric.high) {
        (Some(ratio), Some(low), Some(high)) => {
            format!("{ratio:.4} [{low:.4}, {high:.4}], {} blocks", metric.pairs)
        }
        _ => "no interval".to_owned(),
    }
}

#[test]
#[ignore = "a quarter of an hour on a quiet machine"]
fn false_positives_are_within_the_error_budget() {
    let experiments = 40;
    let mut winners = 0;
    let mut false_positives = 0;
    for seed in 0..experiments {
        let result = experiment(["epoll:level", "epoll:level"], QUICK, seed);
        let differs =
            |metric: &&MetricResult| matches!(metric.verdict, Verdict::Better | Verdict::Worse);
        let differing = result.experiments[0].comparisons[0].metrics.iter().filter(differs).count();
        winners += usize::from(matches!(result.outcome, Outcome::Winner { .. }));
        false_positives += usize::from(differing > 0);
        let primary = interval(primary(&result));
        println!("{seed}: {:?}, {differing} metrics differ, {primary}", result.outcome);
    }
    println!(
        "{experiments} experiments with the same arm twice: {winners} with a winner, \
         {false_positives} with a difference in any metric"
    );
    assert!(false_positives * 20 <= experiments, "at most 5%");
}

/// Counts the experiments that detect an arm slowed down by `percent`.
fn count_detections(percent: u32, experiments: usize) -> usize {
    // The CPU time of a request without the slowdown.
    let plain = test_server::arm("spin:0");
    let cost_us =
        primary(&experiment([&plain, &plain], QUICK, 1)).baseline.expect("the arm was measured");
    let nanoseconds = (cost_us * 10.0 * f64::from(percent)).round();
    let slowed = test_server::arm(&format!("spin:{nanoseconds}"));
    println!("{cost_us:.2} µs per request, slowed by {nanoseconds} ns");
    let mut detections = 0;
    for seed in 0..experiments {
        let result = experiment([&plain, &slowed], DEFAULT, seed);
        let detected = result.outcome == Outcome::Winner { arm: 0 };
        detections += usize::from(detected);
        println!("{seed}: {:?}, {}", result.outcome, interval(primary(&result)));
    }
    println!("slowed by {percent}%: detected in {detections} of {experiments} experiments");
    detections
}

#[test]
#[ignore = "ten minutes on a quiet machine"]
fn slowdown_of_three_percent_is_detected() {
    assert!(count_detections(3, 10) >= 9);
}

#[test]
#[ignore = "ten minutes on a quiet machine"]
fn slowdown_of_ten_percent_is_always_detected() {
    assert_eq!(count_detections(10, 10), 10);
}

/// Compares p99 of two arms, and prints its interval.
fn compare_p99(arms: [&str; 2], lengths: [&str; 6], seed: usize) -> MetricResult {
    let seed_text = seed.to_string();
    let comparison = Comparison::churn(&arms).with(["--blocks", "1000", "--seed", &seed_text]);
    let result = comparison.with(lengths).with(["--decide", "p99"]).run().result();
    let metric = primary(&result).clone();
    assert_eq!(metric.metric, Metric::LatencyP99);
    println!("{seed}: {:?}, {}", metric.verdict, interval(&metric));
    metric
}

/// Returns true if p99 is claimed to differ.
fn differs_in_p99(arms: [&str; 2], lengths: [&str; 6], seed: usize) -> bool {
    matches!(compare_p99(arms, lengths, seed).verdict, Verdict::Better | Verdict::Worse)
}

#[test]
#[ignore = "ten minutes on a quiet machine"]
fn same_arm_twice_does_not_differ_in_p99() {
    let experiments = 40;
    let arms = ["epoll:level", "epoll:level"];
    let claims = (0..experiments).filter(|&seed| differs_in_p99(arms, QUICK, seed)).count();
    println!("the same arm twice: p99 differs in {claims} of {experiments} experiments");
    assert!(claims * 20 <= experiments, "at most 5%");
}

#[test]
#[ignore = "ten minutes on a quiet machine"]
fn two_percent_of_slow_responses_are_found() {
    let (plain, slow) = (test_server::arm("tail:0"), test_server::arm("tail:2000"));
    let experiments = 10;
    let found = (0..experiments).filter(|&seed| differs_in_p99([&plain, &slow], DEFAULT, seed));
    let found = found.count();
    println!("2% of responses wait 2 ms longer: p99 differs in {found} of {experiments}");
    assert!(found * 10 >= experiments * 9);
}

#[test]
#[ignore = "five minutes on a quiet machine"]
fn interval_of_p99_of_the_same_arm_twice_is_within_twenty_percent() {
    let mut half_widths = [0, 1, 2, 3, 4].map(|seed| {
        let metric = compare_p99(["epoll:level", "epoll:level"], DEFAULT, seed);
        (metric.high.expect("an interval") / metric.low.expect("an interval")).sqrt() - 1.0
    });
    half_widths.sort_by(f64::total_cmp);
    let shown = half_widths.map(|it| format!("±{:.1}%", it * 100.0)).join(", ");
    println!("the same arm twice: intervals of p99 {shown}");
    assert!(half_widths[2] <= 0.2, "the median is not within ±20%");
}
