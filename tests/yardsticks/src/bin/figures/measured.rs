//! What was measured: from the results of comparisons to figures.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::comparisons::Results;
use crate::figures::{CPU, SATURATED, Source, THROUGHPUT};

/// What was measured, with the interval in which it is.
pub(crate) struct Measured {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// What has to be known of it.
    pub(crate) remark: Option<String>,
}

/// A figure from the results of its comparison.
///
/// # Errors
/// Why it is not known.
pub(crate) fn measure(results: &Results, source: Source) -> Result<Measured, String> {
    match source {
        Source::Ratio { comparison, engine, metric, point } => {
            let (result, arm) = arm_of(results, comparison, engine)?;
            ratio_of(&result["experiments"][0], arm, metric, point)
        }
        Source::Between { comparison, engine, other, metric } => {
            let (result, above) = arm_of(results, comparison, engine)?;
            let (_, below) = arm_of(results, comparison, other)?;
            between(&result["experiments"][0], above, below, metric)
        }
        Source::UserShare { comparison, engine } => {
            let (result, arm) = arm_of(results, comparison, engine)?;
            let share = |round: &Value| {
                let server = &round["server"];
                Some((server["user_ns"].as_f64()?, server["cpu_ns"].as_f64()?))
            };
            over_rounds(&result["experiments"][0], arm, TICK_NS, share)
        }
        Source::SystemCalls { comparison, engine } => {
            let (result, arm) = arm_of(results, comparison, engine)?;
            let calls = |round: &Value| {
                let counters = &round["counters"];
                let calls = counters["system_calls"].as_object()?.values();
                let calls = calls.filter_map(Value::as_f64).sum::<f64>();
                Some((calls, counters["answered"].as_f64()?))
            };
            over_rounds(&result["experiments"][0], arm, 0.0, calls)
        }
        Source::Client { comparison } => {
            let experiment = &results.of(comparison)?["experiments"][0];
            let cost = |round: &Value| {
                let client_us = round["client"]["cpu_ns"].as_f64()? / 1e3;
                Some((client_us, round["requests"].as_f64()?))
            };
            over_rounds(experiment, 0, 0.0, cost)
        }
        Source::IdleMemory { .. } => unreachable!("it has no comparison"),
    }
}

fn arm_of<'all>(
    results: &'all Results,
    comparison: &str,
    engine: &str,
) -> Result<(&'all Value, usize), String> {
    let result = results.of(comparison)?;
    let arms = result["arms"].as_array().ok_or("the result has no arms")?;
    let place = arms.iter().position(|arm| arm["label"].as_str() == Some(engine));
    place.map(|place| (result, place)).ok_or_else(|| format!("the result has no {engine}"))
}

/// What a comparison says of this arm and its first.
fn compared<'all>(
    experiment: &'all Value,
    arm: usize,
    metric: &str,
    point: &str,
) -> Result<&'all Value, String> {
    let among = |value: &'all Value| value.as_array().map_or(&[][..], Vec::as_slice);
    let comparison = among(&experiment["comparisons"])
        .iter()
        .find(|it| it["contender"].as_u64() == Some(arm as u64))
        .ok_or("the arm was compared with nothing")?;
    among(&comparison["metrics"])
        .iter()
        .find(|it| it["metric"] == metric && it["point"] == point)
        .ok_or_else(|| format!("{metric} was not compared"))
}

fn ratio_of(experiment: &Value, arm: usize, metric: &str, point: &str) -> Result<Measured, String> {
    let found = compared(experiment, arm, metric, point)?;
    let reason = found["reason"].as_str().map(str::to_owned);
    let is_judged = found["verdict"] != "not_judgeable";
    let number = |name: &str| found[name].as_f64();
    match (number("ratio"), number("low"), number("high")) {
        (Some(value), Some(low), Some(high)) => {
            Ok(Measured { value, low, high, remark: reason.filter(|_| !is_judged) })
        }
        _ => Err(reason.unwrap_or_else(|| "there is no ratio".to_owned())),
    }
}

/// The ratio of two arms at saturation, neither of which has to be the first, with which alone a
/// comparison compares: the mean over the blocks, in each of which both had the same weather, with
/// twice its standard error to either side.
fn between(
    experiment: &Value,
    above: usize,
    below: usize,
    metric: &str,
) -> Result<Measured, String> {
    let logarithms = |arm: usize| -> BTreeMap<u64, f64> {
        let rounds = experiment["rounds"].as_array().map_or(&[][..], Vec::as_slice);
        let of_arm = |it: &&Value| {
            it["arm"].as_u64() == Some(arm as u64)
                && it["point"] == SATURATED
                && it["control"] != true
        };
        let logarithm = |it: &Value| {
            let value = value_of(it, metric)?.ln();
            value.is_finite().then_some((it["block"].as_u64()?, value))
        };
        rounds.iter().filter(of_arm).filter_map(logarithm).collect()
    };
    let (above_by_block, below_by_block) = (logarithms(above), logarithms(below));
    let ratios: Vec<f64> = above_by_block
        .iter()
        .filter_map(|(block, above)| Some(above - below_by_block.get(block)?))
        .collect();
    if ratios.len() < LEAST_ROUNDS {
        return Err(format!("{} blocks are too few", ratios.len()));
    }
    let count = ratios.len() as f64;
    let mean = ratios.iter().sum::<f64>() / count;
    let squares = ratios.iter().map(|it| (it - mean).powi(2)).sum::<f64>();
    let error = 2.0 * (squares / (count - 1.0) / count).sqrt();
    // What makes either of them worthless makes their ratio so.
    let remark = [above, below].into_iter().find_map(|arm| {
        let found = compared(experiment, arm, metric, SATURATED).ok()?;
        let is_worthless = found["verdict"] == "not_judgeable";
        found["reason"].as_str().filter(|_| is_worthless).map(str::to_owned)
    });
    let (low, high) = ((mean - error).exp(), (mean + error).exp());
    Ok(Measured { value: mean.exp(), low, high, remark })
}

/// The value of a metric in a round.
fn value_of(round: &Value, metric: &str) -> Option<f64> {
    let requests = round["requests"].as_f64()?;
    match metric {
        CPU => Some(round["server"]["cpu_ns"].as_f64()? / requests),
        THROUGHPUT => Some(requests / round["duration_ns"].as_f64()?),
        _ => None,
    }
}

/// What fewer rounds than these give is chance; a comparison thinks so too.
const LEAST_ROUNDS: usize = 5;

/// The kernel tells user mode from its own by looking once a tick, of which there are 250 a second
/// or more.
const TICK_NS: f64 = 4e6;

/// The ratio of two sums over an arm's saturated rounds, with twice its standard error to either
/// side, and no less than three of the grains in which the first is counted.
fn over_rounds(
    experiment: &Value,
    arm: usize,
    grain: f64,
    figure: impl Fn(&Value) -> Option<(f64, f64)>,
) -> Result<Measured, String> {
    let rounds = experiment["rounds"].as_array().ok_or("the result has no rounds")?;
    let figures: Vec<(f64, f64)> = rounds
        .iter()
        .filter(|it| it["arm"].as_u64() == Some(arm as u64) && it["point"] == SATURATED)
        .filter_map(figure)
        .collect();
    let (above, below) = figures.iter().fold((0.0, 0.0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    if figures.len() < LEAST_ROUNDS || below <= 0.0 {
        return Err(format!("{} rounds are too few", figures.len()));
    }
    let (value, count) = (above / below, figures.len() as f64);
    let squares = figures.iter().map(|(above, below)| (above - value * below).powi(2)).sum::<f64>();
    let error = 2.0 * (squares * count / (count - 1.0)).sqrt() / below;
    let error = error.max(3.0 * grain / below);
    Ok(Measured { value, low: (value - error).max(0.0), high: value + error, remark: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::FIXED_RATE;
    use serde_json::json;

    #[test]
    fn a_ratio_is_that_of_its_arm_metric_and_point() {
        let metric = |point: &str, ratio: f64| {
            json!({"metric": CPU, "point": point, "ratio": ratio, "low": ratio - 0.1,
                "high": ratio + 0.1, "verdict": "better"})
        };
        let experiment = json!({"comparisons": [
            {"contender": 1, "metrics": [metric(SATURATED, 1.0), metric(FIXED_RATE, 2.0)]},
            {"contender": 2, "metrics": [metric(SATURATED, 3.0)]},
        ]});
        let value = |arm, point| ratio_of(&experiment, arm, CPU, point).map(|it| it.value);
        assert_eq!(value(1, FIXED_RATE), Ok(2.0));
        assert_eq!(value(2, SATURATED), Ok(3.0));
        assert!(value(2, FIXED_RATE).is_err());
        assert!(value(3, SATURATED).is_err());
    }

    #[test]
    fn any_two_arms_are_held_against_each_other_block_by_block() {
        let round = |arm: u64, block: u64, point: &str, cpu: u64| {
            json!({"arm": arm, "block": block, "point": point, "control": false, "requests": 10,
                "duration_ns": cpu, "server": {"cpu_ns": cpu}})
        };
        let mut rounds = vec![round(1, 0, FIXED_RATE, 900), round(2, 9, SATURATED, 1)];
        // A machine that slows down, and an arm that costs twice as much.
        for block in 0..6 {
            rounds.push(round(1, block, SATURATED, 20 * (block + 1)));
            rounds.push(round(2, block, SATURATED, 10 * (block + 1)));
        }
        let not_judged = json!({"metric": CPU, "point": SATURATED, "verdict": "not_judgeable",
            "reason": "client-bound"});
        let comparisons = json!([{"contender": 2, "metrics": [not_judged]}]);
        let experiment = json!({ "rounds": rounds, "comparisons": comparisons });
        let found = between(&experiment, 1, 2, CPU).unwrap();
        assert!((found.low - 2.0).abs() < 1e-9 && (found.high - 2.0).abs() < 1e-9, "{}", found.low);
        assert_eq!(found.remark.as_deref(), Some("client-bound"));
        let found = between(&experiment, 1, 2, THROUGHPUT).unwrap();
        assert!((found.value - 0.5).abs() < 1e-9 && found.remark.is_none(), "{}", found.value);
        assert!(between(&experiment, 0, 1, CPU).is_err());
    }

    #[test]
    fn rounds_are_those_of_the_arm_at_saturation() {
        let round = |arm: u64, point: &str, user: u64| json!({"arm": arm, "point": point, "server": {"user_ns": user, "cpu_ns": 100}});
        let mut rounds = vec![round(0, SATURATED, 50), round(1, FIXED_RATE, 90)];
        rounds.extend([1, 3, 1, 3, 2].map(|user| round(1, SATURATED, user)));
        let share = |it: &Value| {
            Some((it["server"]["user_ns"].as_f64()?, it["server"]["cpu_ns"].as_f64()?))
        };
        let experiment = json!({ "rounds": rounds });
        let found = over_rounds(&experiment, 1, 0.0, share).unwrap();
        assert!((found.value - 0.02).abs() < 1e-9, "{}", found.value);
        // Twice the standard error of 1, 3, 1, 3, 2, each of 100.
        assert!((found.high - 0.02 - 0.01 * 2.0 / 5f64.sqrt()).abs() < 1e-9, "{}", found.high);
        // Three grains of 10 in 500 are more than that.
        let coarse = over_rounds(&experiment, 1, 10.0, share).unwrap();
        assert!((coarse.high - 0.08).abs() < 1e-9 && coarse.low == 0.0, "{}", coarse.high);
        assert!(over_rounds(&experiment, 0, 0.0, share).is_err());
    }
}
