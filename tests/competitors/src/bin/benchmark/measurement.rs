//! Extracts values from the results of comparisons.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::benchmarks::{CPU, SATURATION, Source, THROUGHPUT};
use crate::comparisons::Results;

/// A measured value with its interval.
pub(crate) struct Measurement {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The reason if the comparison gave no verdict.
    pub(crate) warning: Option<String>,
}

/// Returns the value of `source` from the results of its comparison.
///
/// # Errors
/// If the results do not contain it.
pub(crate) fn measure(results: &Results, source: Source) -> Result<Measurement, String> {
    match source {
        Source::Ratio { comparison, engine, metric, load_level } => {
            let (result, arm) = arm_of(results, comparison, engine)?;
            ratio_of(&result["experiments"][0], arm, metric, load_level)
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
                Some((calls, counters["responses"].as_f64()?))
            };
            over_rounds(&result["experiments"][0], arm, 0.0, calls)
        }
        Source::ClientCpu { comparison } => {
            let experiment = &results.of(comparison)?["experiments"][0];
            let client_cpu = |round: &Value| {
                let client_us = round["client"]["cpu_ns"].as_f64()? / 1e3;
                Some((client_us, round["requests"].as_f64()?))
            };
            over_rounds(experiment, 0, 0.0, client_cpu)
        }
        Source::IdleMemory { .. } => unreachable!("idle memory has no comparison"),
    }
}

fn arm_of<'all>(
    results: &'all Results,
    comparison: &str,
    engine: &str,
) -> Result<(&'all Value, usize), String> {
    let result = results.of(comparison)?;
    let arms = result["arms"].as_array().ok_or("the result has no arms")?;
    let index = arms.iter().position(|arm| arm["label"].as_str() == Some(engine));
    index.map(|index| (result, index)).ok_or_else(|| format!("the result has no {engine}"))
}

/// Returns the comparison of a metric of `arm` with the first arm.
fn find_metric<'all>(
    experiment: &'all Value,
    arm: usize,
    metric: &str,
    load_level: &str,
) -> Result<&'all Value, String> {
    let among = |value: &'all Value| value.as_array().map_or(&[][..], Vec::as_slice);
    let comparison = among(&experiment["comparisons"])
        .iter()
        .find(|it| it["candidate"].as_u64() == Some(arm as u64))
        .ok_or("the arm was not compared")?;
    among(&comparison["metrics"])
        .iter()
        .find(|it| it["metric"] == metric && it["load_level"] == load_level)
        .ok_or_else(|| format!("{metric} was not compared"))
}

fn ratio_of(
    experiment: &Value,
    arm: usize,
    metric: &str,
    load_level: &str,
) -> Result<Measurement, String> {
    let found = find_metric(experiment, arm, metric, load_level)?;
    let reason = found["reason"].as_str().map(str::to_owned);
    let has_verdict = found["verdict"] != "not_compared";
    let number = |name: &str| found[name].as_f64();
    match (number("ratio"), number("low"), number("high")) {
        (Some(value), Some(low), Some(high)) => {
            Ok(Measurement { value, low, high, warning: reason.filter(|_| !has_verdict) })
        }
        _ => Err(reason.unwrap_or_else(|| "there is no ratio".to_owned())),
    }
}

/// Returns the ratio of any two arms at saturation: the geometric mean over the blocks, plus or
/// minus twice its standard error. Pairing by block removes slow changes of the machine.
fn between(
    experiment: &Value,
    above: usize,
    below: usize,
    metric: &str,
) -> Result<Measurement, String> {
    let logarithms = |arm: usize| -> BTreeMap<u64, f64> {
        let rounds = experiment["rounds"].as_array().map_or(&[][..], Vec::as_slice);
        let of_arm = |it: &&Value| {
            it["arm"].as_u64() == Some(arm as u64)
                && it["load_level"] == SATURATION
                && it["control"] != true
        };
        let logarithm = |it: &Value| {
            let value = metric_of_round(it, metric)?.ln();
            value.is_finite().then_some((it["block"].as_u64()?, value))
        };
        rounds.iter().filter(of_arm).filter_map(logarithm).collect()
    };
    let (above_by_block, below_by_block) = (logarithms(above), logarithms(below));
    let ratios: Vec<f64> = above_by_block
        .iter()
        .filter_map(|(block, above)| Some(above - below_by_block.get(block)?))
        .collect();
    if ratios.len() < MIN_ROUNDS {
        return Err(format!("{} blocks are too few", ratios.len()));
    }
    let count = ratios.len() as f64;
    let mean = ratios.iter().sum::<f64>() / count;
    let squares = ratios.iter().map(|it| (it - mean).powi(2)).sum::<f64>();
    let error = 2.0 * (squares / (count - 1.0) / count).sqrt();
    // A ratio has no verdict if one of its arms has none.
    let remark = [above, below].into_iter().find_map(|arm| {
        let found = find_metric(experiment, arm, metric, SATURATION).ok()?;
        let has_no_verdict = found["verdict"] == "not_compared";
        found["reason"].as_str().filter(|_| has_no_verdict).map(str::to_owned)
    });
    let (low, high) = ((mean - error).exp(), (mean + error).exp());
    Ok(Measurement { value: mean.exp(), low, high, warning: remark })
}

/// Returns the value of a metric in a round.
fn metric_of_round(round: &Value, metric: &str) -> Option<f64> {
    let requests = round["requests"].as_f64()?;
    match metric {
        CPU => Some(round["server"]["cpu_ns"].as_f64()? / requests),
        THROUGHPUT => Some(requests / round["duration_ns"].as_f64()?),
        _ => None,
    }
}

/// Minimum number of rounds or blocks, as in `ringpoll compare`.
const MIN_ROUNDS: usize = 5;

/// Resolution of user time: the kernel samples the mode at each timer tick (CONFIG_HZ=250).
const TICK_NS: f64 = 4e6;

/// Returns the ratio of two sums over the rounds of an arm at saturation, plus or minus twice its
/// standard error, or three times `resolution` of the first sum if that is more.
fn over_rounds(
    experiment: &Value,
    arm: usize,
    resolution: f64,
    value: impl Fn(&Value) -> Option<(f64, f64)>,
) -> Result<Measurement, String> {
    let rounds = experiment["rounds"].as_array().ok_or("the result has no rounds")?;
    let values: Vec<(f64, f64)> = rounds
        .iter()
        .filter(|it| it["arm"].as_u64() == Some(arm as u64) && it["load_level"] == SATURATION)
        .filter_map(value)
        .collect();
    let (above, below) = values.iter().fold((0.0, 0.0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    if values.len() < MIN_ROUNDS || below <= 0.0 {
        return Err(format!("{} rounds are too few", values.len()));
    }
    let (value, count) = (above / below, values.len() as f64);
    let squares = values.iter().map(|(above, below)| (above - value * below).powi(2)).sum::<f64>();
    let error = 2.0 * (squares * count / (count - 1.0)).sqrt() / below;
    let error = error.max(3.0 * resolution / below);
    Ok(Measurement { value, low: (value - error).max(0.0), high: value + error, warning: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmarks::FIXED_RATE;
    use serde_json::json;

    #[test]
    fn ratio_is_selected_by_arm_metric_and_load_level() {
        let metric = |load_level: &str, ratio: f64| {
            json!({"metric": CPU, "load_level": load_level, "ratio": ratio, "low": ratio - 0.1,
                "high": ratio + 0.1, "verdict": "better"})
        };
        let experiment = json!({"comparisons": [
            {"candidate": 1, "metrics": [metric(SATURATION, 1.0), metric(FIXED_RATE, 2.0)]},
            {"candidate": 2, "metrics": [metric(SATURATION, 3.0)]},
        ]});
        let value =
            |arm, load_level| ratio_of(&experiment, arm, CPU, load_level).map(|it| it.value);
        assert_eq!(value(1, FIXED_RATE), Ok(2.0));
        assert_eq!(value(2, SATURATION), Ok(3.0));
        assert!(value(2, FIXED_RATE).is_err());
        assert!(value(3, SATURATION).is_err());
    }

    #[test]
    fn any_two_arms_are_compared_block_by_block() {
        let round = |arm: u64, block: u64, load_level: &str, cpu: u64| {
            json!({"arm": arm, "block": block, "load_level": load_level, "control": false, "requests": 10,
                "duration_ns": cpu, "server": {"cpu_ns": cpu}})
        };
        let mut rounds = vec![round(1, 0, FIXED_RATE, 900), round(2, 9, SATURATION, 1)];
        // The machine slows down, and arm 1 uses twice the CPU time.
        for block in 0..6 {
            rounds.push(round(1, block, SATURATION, 20 * (block + 1)));
            rounds.push(round(2, block, SATURATION, 10 * (block + 1)));
        }
        let no_verdict = json!({"metric": CPU, "load_level": SATURATION, "verdict": "not_compared",
            "reason": "client-bound"});
        let comparisons = json!([{"candidate": 2, "metrics": [no_verdict]}]);
        let experiment = json!({ "rounds": rounds, "comparisons": comparisons });
        let found = between(&experiment, 1, 2, CPU).unwrap();
        assert!((found.low - 2.0).abs() < 1e-9 && (found.high - 2.0).abs() < 1e-9, "{}", found.low);
        assert_eq!(found.warning.as_deref(), Some("client-bound"));
        let found = between(&experiment, 1, 2, THROUGHPUT).unwrap();
        assert!((found.value - 0.5).abs() < 1e-9 && found.warning.is_none(), "{}", found.value);
        assert!(between(&experiment, 0, 1, CPU).is_err());
    }

    #[test]
    fn only_saturated_rounds_of_the_arm_are_summed() {
        let round = |arm: u64, load_level: &str, user: u64| {
            json!({"arm": arm, "load_level": load_level,
                "server": {"user_ns": user, "cpu_ns": 100}})
        };
        let mut rounds = vec![round(0, SATURATION, 50), round(1, FIXED_RATE, 90)];
        rounds.extend([1, 3, 1, 3, 2].map(|user| round(1, SATURATION, user)));
        let share = |it: &Value| {
            Some((it["server"]["user_ns"].as_f64()?, it["server"]["cpu_ns"].as_f64()?))
        };
        let experiment = json!({ "rounds": rounds });
        let found = over_rounds(&experiment, 1, 0.0, share).unwrap();
        assert!((found.value - 0.02).abs() < 1e-9, "{}", found.value);
        // Twice the standard error of 1, 3, 1, 3, 2, each of 100.
        assert!((found.high - 0.02 - 0.01 * 2.0 / 5f64.sqrt()).abs() < 1e-9, "{}", found.high);
        // Three times the resolution of 10 in 500 is more than that.
        let coarse = over_rounds(&experiment, 1, 10.0, share).unwrap();
        assert!((coarse.high - 0.08).abs() < 1e-9 && coarse.low == 0.0, "{}", coarse.high);
        assert!(over_rounds(&experiment, 0, 0.0, share).is_err());
    }
}
