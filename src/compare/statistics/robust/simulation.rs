//! Compares estimators of the ratio of two tails, on rounds drawn from recorded slices and on
//! synthetic ones with disturbed slices and bad blocks:
//!
//! ```text
//! cargo test --release --lib robust::simulation -- --ignored --nocapture
//! ```

use super::super::distributions::normal_quantile;
use super::super::paired::ratio_interval;
use super::super::random::Random;
use super::*;

/// The candidate and both copies of the baseline.
const INSTANCES: usize = 3;
const SLICES: usize = 8;
const BLOCKS: usize = 14;
const QUANTILE: f64 = 0.99;
/// The alpha of a primary metric, and about that of a secondary metric.
const ALPHAS: [f64; 2] = [0.04, 0.001];

/// One block: for each instance the logarithms of the percentile of each slice, and of the round;
/// and, if they are known, the latencies.
#[derive(Clone, Default)]
struct Block {
    slices: [Vec<f64>; INSTANCES],
    rounds: [f64; INSTANCES],
    latencies: [Vec<f64>; INSTANCES],
}

type Interval = (f64, f64);
type Estimator = fn(&[Block], f64, u64) -> Interval;

fn to_logarithms(interval: Option<RatioInterval>) -> Interval {
    interval.map_or((f64::NEG_INFINITY, f64::INFINITY), |it| (it.low.ln(), it.high.ln()))
}

fn round_ratios(blocks: &[Block]) -> Vec<f64> {
    blocks.iter().map(|it| it.rounds[0] - 0.5 * (it.rounds[1] + it.rounds[2])).collect()
}

fn slice_ratios(blocks: &[Block]) -> Vec<f64> {
    let with = |block: &Block, baseline: usize| {
        let pairs = block.slices[0].iter().zip(&block.slices[baseline]);
        hodges_lehmann(&pairs.map(|(one, other)| one - other).collect::<Vec<_>>()).unwrap()
    };
    blocks.iter().map(|it| 0.5 * (with(it, 1) + with(it, 2))).collect()
}

/// Returns the interval of the signed-rank test: the means of pairs between two ranks, by the
/// normal approximation of the statistic.
fn signed_rank_interval(values: &[f64], alpha: f64) -> Interval {
    let count = values.len() as f64;
    let mut means: Vec<f64> = (0..values.len())
        .flat_map(|one| (one..values.len()).map(move |other| (one, other)))
        .map(|(one, other)| 0.5 * (values[one] + values[other]))
        .collect();
    means.sort_by(f64::total_cmp);
    let spread = (count * (count + 1.0) * (2.0 * count + 1.0) / 24.0).sqrt();
    let rank = count * (count + 1.0) / 4.0 + normal_quantile(alpha / 2.0) * spread;
    let below = rank.floor();
    if below < 0.0 {
        return (f64::NEG_INFINITY, f64::INFINITY);
    }
    (means[below as usize], means[means.len() - 1 - below as usize])
}

fn quantile(latencies: &mut [f64]) -> f64 {
    let rank = (QUANTILE * latencies.len() as f64).ceil() as usize - 1;
    *latencies.select_nth_unstable_by(rank, f64::total_cmp).1
}

/// Returns the interval of the percentiles of pooled latencies, by a bootstrap of whole blocks.
fn pooled_interval(blocks: &[Block], alpha: f64, seed: u64) -> Interval {
    let mut random = Random::new(seed);
    let mut ratios: Vec<f64> = (0..400)
        .map(|_| {
            let drawn: Vec<usize> = (0..blocks.len()).map(|_| random.below(blocks.len())).collect();
            let percentile = |instances: &[usize]| {
                let mut pool: Vec<f64> = Vec::new();
                for (&block, &instance) in
                    drawn.iter().flat_map(|it| instances.iter().map(move |one| (it, one)))
                {
                    pool.extend(&blocks[block].latencies[instance]);
                }
                quantile(&mut pool)
            };
            (percentile(&[0]) / percentile(&[1, 2])).ln()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let end = |share: f64| ratios[((share * 399.0).round() as usize).min(399)];
    (end(alpha / 2.0), end(1.0 - alpha / 2.0))
}

const ESTIMATORS: [(&str, Estimator); 5] = [
    ("rounds, mean, t and BCa", |blocks, alpha, seed| {
        to_logarithms(ratio_interval(&round_ratios(blocks), alpha, seed))
    }),
    ("rounds, signed rank", |blocks, alpha, _| signed_rank_interval(&round_ratios(blocks), alpha)),
    ("slices, mean, t and BCa", |blocks, alpha, seed| {
        to_logarithms(ratio_interval(&slice_ratios(blocks), alpha, seed))
    }),
    ("slices, signed rank", |blocks, alpha, _| signed_rank_interval(&slice_ratios(blocks), alpha)),
    ("slices, trimmed mean", |blocks, alpha, _| {
        to_logarithms(trimmed_interval(&slice_ratios(blocks), alpha))
    }),
];

/// Draws a block from recorded ones: the arms are any three rounds of one block.
fn recorded(random: &mut Random) -> Block {
    let text = include_str!("../../../../tests/compare/recorded_slices.txt");
    let rows: Vec<&str> = text.lines().filter(|it| !it.starts_with('#')).collect();
    let block = random.below(rows.len() / 6);
    let mut order = [0, 1, 2, 3, 4, 5];
    random.shuffle(&mut order);
    let mut drawn = Block::default();
    for instance in 0..INSTANCES {
        let columns = rows[6 * block + order[instance]].split(' ');
        let mut logarithms: Vec<f64> =
            columns.map(|it| it.parse::<f64>().expect("a number").ln()).collect();
        drawn.rounds[instance] = logarithms.pop().expect("the last column");
        drawn.slices[instance] = logarithms;
    }
    drawn
}

fn uniform(random: &mut Random) -> f64 {
    ((random.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Draws a block of 400 requests a slice. Stalls of the machine concern a whole rotation of slices
/// or a single one; one round in twenty is bad as a whole. `slow` of the responses of the
/// candidate are 20 times the usual time slower.
fn synthetic(random: &mut Random, slow: f64) -> Block {
    let mut block = Block::default();
    let bad: [bool; INSTANCES] = std::array::from_fn(|_| uniform(random) < 0.05);
    for _ in 0..SLICES {
        let common = if uniform(random) < 0.3 { 40.0 * uniform(random) } else { 0.0 };
        for (instance, is_bad) in bad.into_iter().enumerate() {
            let own = if uniform(random) < 0.15 { 40.0 * uniform(random) } else { 0.0 };
            let mut latencies: Vec<f64> = Vec::with_capacity(400);
            for _ in 0..400 {
                let mut latency = 1.0 - uniform(random).ln();
                if instance == 0 && uniform(random) < slow {
                    latency += 20.0;
                }
                // Those that arrive during the stall wait until its end.
                latency += (common - 100.0 * uniform(random)).max(0.0);
                latency += (own - 100.0 * uniform(random)).max(0.0);
                latencies.push(if is_bad { 5.0 * latency } else { latency });
            }
            block.latencies[instance].extend(&latencies);
            block.slices[instance].push(quantile(&mut latencies).ln());
        }
    }
    for instance in 0..INSTANCES {
        block.rounds[instance] = quantile(&mut block.latencies[instance].clone()).ln();
    }
    block
}

/// Prints how often an estimator claims a difference, and half the width of its interval.
fn report(title: &str, experiments: &[Vec<Block>], estimators: &[(&str, Estimator)]) -> Vec<f64> {
    println!("{title}, {} experiments of {} blocks", experiments.len(), experiments[0].len());
    let mut shares = Vec::new();
    for (name, estimator) in estimators {
        for alpha in ALPHAS {
            let intervals: Vec<Interval> =
                (0..).zip(experiments).map(|(seed, it)| estimator(it, alpha, seed)).collect();
            let claims = intervals.iter().filter(|(low, high)| *low > 0.0 || *high < 0.0).count();
            let width = median(intervals.iter().map(|(low, high)| 0.5 * (high - low))).unwrap();
            let share = claims as f64 / intervals.len() as f64;
            let percent = 100.0 * (width.exp() - 1.0);
            println!("  {name:24} alpha {alpha:.3}: differs {share:.3}, width ±{percent:.0}%");
            shares.push(share);
        }
    }
    shares
}

#[test]
#[ignore = "minutes, and prints figures"]
fn robust_estimator_errs_less_and_finds_more() {
    let mut random = Random::new(5);
    let mut experiments = |draw: &dyn Fn(&mut Random) -> Block, count: usize| -> Vec<Vec<Block>> {
        (0..count).map(|_| (0..BLOCKS).map(|_| draw(&mut random)).collect()).collect()
    };
    let slower = |by: f64| {
        move |random: &mut Random| {
            let mut block = recorded(random);
            block.slices[0].iter_mut().for_each(|it| *it += by.ln());
            block.rounds[0] += by.ln();
            block
        }
    };
    let all = &ESTIMATORS[..];
    let pooled: (&str, Estimator) = ("pooled, block bootstrap", pooled_interval);
    let null = report("recorded, no difference", &experiments(&recorded, 4000), all);
    report("recorded, all 20% slower", &experiments(&slower(1.2), 1000), all);
    report("recorded, all 50% slower", &experiments(&slower(1.5), 1000), all);
    let synthetic_null = experiments(&|random| synthetic(random, 0.0), 1000);
    let synthetic_null_shares = report("synthetic, no difference", &synthetic_null, all);
    report("synthetic, no difference", &synthetic_null[..100], &[pooled]);
    let slow = experiments(&|random| synthetic(random, 0.02), 400);
    let power = report("synthetic, 2% slow", &slow, all);
    report("synthetic, 2% slow", &slow[..100], &[pooled]);
    for (index, alpha) in ALPHAS.into_iter().enumerate() {
        let of = |shares: &[f64]| shares[shares.len() - ALPHAS.len() + index];
        assert!(of(&null) <= 1.5 * alpha && of(&synthetic_null_shares) <= 1.5 * alpha);
        assert!(of(&power) >= 0.9);
    }
}
