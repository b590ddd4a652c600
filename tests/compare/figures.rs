//! How often a comparison is wrong. These take long and want a quiet machine:
//!
//! ```text
//! cargo test --release --test compare figures -- --ignored --nocapture --test-threads 1
//! ```

use ringpoll::report::result::{ComparisonResult, MetricResult, Outcome, Verdict};

use crate::peer;
use crate::program::Comparison;

/// Rounds that are shorter than the default ones, so that many experiments fit into an hour.
const QUICK: [&str; 6] = ["--budget", "15s", "--round", "150ms", "--warm-up", "50ms"];
/// What everybody gets who says nothing else.
const DEFAULT: [&str; 6] = ["--budget", "60s", "--round", "200ms", "--warm-up", "50ms"];

fn experiment(arms: [&str; 2], lengths: [&str; 6], seed: usize) -> ComparisonResult {
    let seed = seed.to_string();
    let comparison = Comparison::of(&arms).with(["--blocks", "1000", "--seed", &seed]);
    comparison.with(lengths).run().result()
}

fn deciding(result: &ComparisonResult) -> &MetricResult {
    let metrics = &result.experiments[0].comparisons[0].metrics;
    metrics.iter().find(|metric| metric.decides).expect("one metric decides")
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
fn the_same_arm_twice_hardly_ever_differs() {
    let experiments = 40;
    let mut overall = 0;
    let mut anywhere = 0;
    for seed in 0..experiments {
        let result = experiment(["epoll:level", "epoll:level"], QUICK, seed);
        let claims =
            |metric: &&MetricResult| matches!(metric.verdict, Verdict::Better | Verdict::Worse);
        let claimed = result.experiments[0].comparisons[0].metrics.iter().filter(claims).count();
        overall += usize::from(matches!(result.outcome, Outcome::Winner { .. }));
        anywhere += usize::from(claimed > 0);
        let deciding = interval(deciding(&result));
        println!("{seed}: {:?}, {claimed} metrics differ, {deciding}", result.outcome);
    }
    println!(
        "the same arm twice, {experiments} times: {overall} times a winner, {anywhere} times a \
         difference in any metric"
    );
    assert!(anywhere * 20 <= experiments, "at most 5 %");
}

/// How often an arm that is slower by so much is found to be.
fn found(percent: u32, experiments: usize) -> usize {
    // What a request costs here, from the very rounds in which it is not slowed.
    let plain = peer::arm("spin:0");
    let cost_us =
        deciding(&experiment([&plain, &plain], QUICK, 1)).baseline.expect("it was measured");
    let nanoseconds = (cost_us * 10.0 * f64::from(percent)).round();
    let slowed = peer::arm(&format!("spin:{nanoseconds}"));
    println!("{cost_us:.2} µs a request, slowed by {nanoseconds} ns");
    let mut found = 0;
    for seed in 0..experiments {
        let result = experiment([&plain, &slowed], DEFAULT, seed);
        let hit = result.outcome == Outcome::Winner { arm: 0 };
        found += usize::from(hit);
        println!("{seed}: {:?}, {}", result.outcome, interval(deciding(&result)));
    }
    println!("slowed by {percent} %: found {found} times of {experiments}");
    found
}

#[test]
#[ignore = "ten minutes on a quiet machine"]
fn three_percent_are_found() {
    assert!(found(3, 10) >= 9);
}

#[test]
#[ignore = "ten minutes on a quiet machine"]
fn ten_percent_are_always_found() {
    assert_eq!(found(10, 10), 10);
}
