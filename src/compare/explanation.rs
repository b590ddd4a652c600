//! Conclusions in sentences: which arm is better, by how much, and with which confidence.

mod causes;

use crate::console::with_commas;
use crate::result::{
    Arm, Comparison, Experiment, Gate, GateEffect, LoadLevel, LoadLevelResult, Metric,
    MetricResult, Outcome, Verdict,
};

pub use causes::causes;

/// Formats a ratio as `9.6% less`, `13% more` or `2.1 times as much`.
pub fn format_difference(ratio: f64) -> String {
    let percent = |share: f64| {
        let value = share * 100.0;
        if value < 9.95 { format!("{value:.1}%") } else { format!("{value:.0}%") }
    };
    match ratio {
        ratio if ratio >= 2.0 => format!("{ratio:.1} times as much"),
        ratio if ratio >= 1.0 => format!("{} more", percent(ratio - 1.0)),
        ratio => format!("{} less", percent(1.0 - ratio)),
    }
}

/// Formats a ratio as a change in percent: `−12.3`, `+4.0` or `0.0`.
pub fn format_change(ratio: f64) -> String {
    let text = format!("{:+.1}", (ratio - 1.0) * 100.0);
    if text == "-0.0" || text == "+0.0" { "0.0".to_owned() } else { text.replace('-', "−") }
}

/// Formats a share as `2%` or `0.5%`.
pub fn format_percentage(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{}%", text.strip_suffix(".0").unwrap_or(&text))
}

/// Formats a number with commas between thousands.
pub fn format_thousands(number: f64) -> String {
    with_commas(number.round_ties_even() as u64)
}

/// Formats a load level as `at 15,000 requests/s` or `at saturation`.
pub fn at_load_level(load_level: LoadLevel, load_levels: &[LoadLevelResult]) -> String {
    let rate = load_levels
        .iter()
        .find(|it| it.load_level == load_level)
        .and_then(|it| it.requests_per_second);
    match (load_level, rate) {
        (LoadLevel::FixedRate, Some(rate)) => format!("at {} requests/s", format_thousands(rate)),
        (LoadLevel::FixedRate, None) => "at a fixed rate".to_owned(),
        (LoadLevel::Saturation, _) => "at saturation".to_owned(),
    }
}

/// Formats a ratio with its interval: `ratio 0.850, 0.833 to 0.867 with 95% confidence`.
pub fn format_ratio(ratio: f64, (low, high): (f64, f64), confidence: f64) -> String {
    let confidence = format_percentage(confidence);
    format!("ratio {ratio:.3}, {low:.3} to {high:.3} with {confidence} confidence")
}

/// Describes the primary metric of two arms and, if it was compared, their throughput.
pub fn comparison_conclusion(
    arms: &[Arm],
    comparison: &Comparison,
    load_levels: &[LoadLevelResult],
    confidence: f64,
) -> String {
    let Some(result) = comparison.metrics.iter().find(|it| it.is_primary) else {
        return "Nothing was measured.".to_owned();
    };
    let first = &arms[comparison.baseline].label;
    let other = &arms[comparison.candidate].label;
    let mut conclusion = main_clause(first, other, result, load_levels, confidence);
    let is_throughput =
        |it: &&MetricResult| matches!(it.metric, Metric::Throughput | Metric::BytesThroughput);
    let throughput = comparison.metrics.iter().find(is_throughput).filter(|it| !it.is_primary);
    if let Some(clause) = throughput.and_then(|it| throughput_clause(other, it)) {
        conclusion += &clause;
    }
    conclusion
}

fn main_clause(
    first: &str,
    other: &str,
    result: &MetricResult,
    load_levels: &[LoadLevelResult],
    confidence: f64,
) -> String {
    let metric = result.metric.label();
    let is_cost = matches!(result.metric, Metric::CpuPerRequest | Metric::CpuPerGib);
    let verb = if is_cost { "uses" } else { "has" };
    let place = at_load_level(result.load_level, load_levels);
    let not_compared = || {
        let reason = result.reason.as_deref().unwrap_or("There are no measurements.");
        format!("Not compared: {metric} of {other} and {first}. {reason}")
    };
    let (Some(ratio), Some(low), Some(high)) = (result.ratio, result.low, result.high) else {
        return not_compared();
    };
    let interval = format_ratio(ratio, (low, high), confidence);
    match result.verdict {
        Verdict::Better => format!(
            "{other} is better than {first}: {} {metric} {place} ({interval}).",
            format_difference(ratio)
        ),
        Verdict::Worse => format!(
            "{first} is better than {other}, which {verb} {} {metric} {place} ({interval}).",
            format_difference(ratio)
        ),
        Verdict::NoDifference => format!(
            "No difference larger than {} in {metric} between {first} and {other} {place} \
             ({interval}).",
            format_percentage(
                result.no_difference_larger_than.unwrap_or(high.max(1.0 / low) - 1.0)
            )
        ),
        Verdict::Inconclusive => format!(
            "Inconclusive: {other} {verb} between {} and {} {metric} than {first} {place}. A larger \
             --budget would narrow the interval.",
            format_difference(low),
            format_difference(high)
        ),
        Verdict::NotCompared => not_compared(),
    }
}

fn throughput_clause(other: &str, result: &MetricResult) -> Option<String> {
    let ratio = result.ratio?;
    match result.verdict {
        Verdict::Better | Verdict::Worse => {
            let difference =
                format_difference(ratio).replace("as much", "as many").replace("less", "fewer");
            let unit = if result.metric == Metric::BytesThroughput { "bytes" } else { "requests" };
            Some(format!(" At saturation {other} serves {difference} {unit}/s."))
        }
        _ => None,
    }
}

/// Determines the outcome. There is a winner only if the intervals show one.
pub fn outcome(comparisons: &[Comparison], gates: &[Gate]) -> Outcome {
    if gates.iter().any(|gate| gate.effect == GateEffect::Invalid) {
        return Outcome::Invalid;
    }
    let primary: Option<Vec<(usize, &MetricResult)>> = comparisons
        .iter()
        .map(|it| Some((it.candidate, it.metrics.iter().find(|metric| metric.is_primary)?)))
        .collect();
    let Some(primary) = primary.filter(|it| !it.is_empty()) else {
        return Outcome::Inconclusive;
    };
    let all = |verdict: Verdict| primary.iter().all(|(_, it)| it.verdict == verdict);
    if all(Verdict::Worse) {
        return Outcome::Winner { arm: comparisons[0].baseline };
    }
    if all(Verdict::NoDifference) {
        return Outcome::NoDifference;
    }
    // The winner is better than the baseline, and its interval does not overlap with any other.
    let beats = |one: &MetricResult, other: &MetricResult| {
        let less = matches!((one.high, other.low), (Some(high), Some(low)) if high < low);
        let more = matches!((one.low, other.high), (Some(low), Some(high)) if low > high);
        if one.metric.more_is_better() { more } else { less }
    };
    let winner = primary.iter().find(|(arm, one)| {
        let others = primary.iter().filter(|(other, _)| other != arm);
        one.verdict == Verdict::Better
            && others
                .into_iter()
                .all(|(_, other)| other.verdict != Verdict::NotCompared && beats(one, other))
    });
    winner.map_or(Outcome::Inconclusive, |&(arm, _)| Outcome::Winner { arm })
}

/// Summarises an experiment.
pub fn experiment_conclusion(
    arms: &[Arm],
    comparisons: &[Comparison],
    gates: &[Gate],
    outcome: Outcome,
) -> String {
    if let Some(gate) = gates.iter().find(|gate| gate.effect == GateEffect::Invalid) {
        return format!("Invalid: {} {}", gate.reason, gate.remedy);
    }
    let conclusions: Vec<&str> = comparisons.iter().map(|it| it.conclusion.as_str()).collect();
    if comparisons.len() < 2 {
        return conclusions.concat();
    }
    let lead = match outcome {
        Outcome::Winner { arm } => {
            format!("{} is the best of {} arms.", arms[arm].label, arms.len())
        }
        Outcome::NoDifference => format!("The {} arms do not differ.", arms.len()),
        _ => format!("None of the {} arms is better than all others.", arms.len()),
    };
    format!("{lead} {}", conclusions.join(" "))
}

/// Joins the conclusions of all loads, each with the name of the load if there are several.
pub fn overall_conclusion(experiments: &[Experiment]) -> String {
    match experiments {
        [only] => only.conclusion.clone(),
        all => all.iter().map(load_conclusion).collect::<Vec<_>>().join(" "),
    }
}

/// Formats `keep-alive: epoll:tuned is better than …`.
pub fn load_conclusion(experiment: &Experiment) -> String {
    format!("{}: {}", experiment.load.name, experiment.conclusion)
}

#[cfg(test)]
mod tests;
