//! Sentences about results.

mod why;

use crate::report::result::{
    Arm, Comparison, Experiment, Gate, GateEffect, Metric, MetricResult, Outcome, Point, Verdict,
    WorkingPoint,
};

pub use why::why;

/// `13.2 % less`, `4 % more`, `2.1 times as much`.
pub fn difference(ratio: f64) -> String {
    let percent = |share: f64| {
        let value = share * 100.0;
        if value < 9.95 { format!("{value:.1} %") } else { format!("{value:.0} %") }
    };
    match ratio {
        ratio if ratio >= 2.0 => format!("{ratio:.1} times as much"),
        ratio if ratio >= 1.0 => format!("{} more", percent(ratio - 1.0)),
        ratio => format!("{} less", percent(1.0 - ratio)),
    }
}

/// `2.0 %`, `0.5 %`, from a share.
pub fn percentage(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// A number with commas between its thousands.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `at 15,000 requests/s` or `at saturation`.
pub fn at_point(point: Point, points: &[WorkingPoint]) -> String {
    let rate = points.iter().find(|it| it.point == point).and_then(|it| it.requests_per_second);
    match (point, rate) {
        (Point::FixedRate, Some(rate)) => format!("at {} requests/s", thousands(rate)),
        (Point::FixedRate, None) => "at a fixed rate".to_owned(),
        (Point::Saturated, _) => "at saturation".to_owned(),
    }
}

/// The sentence about two arms: of the metric that decides, and where it can be judged, of the
/// throughput.
pub fn sentence_of_two(
    arms: &[Arm],
    comparison: &Comparison,
    points: &[WorkingPoint],
    confidence: f64,
) -> String {
    let Some(result) = comparison.metrics.iter().find(|it| it.decides) else {
        return "Nothing was measured.".to_owned();
    };
    let first = &arms[comparison.baseline].label;
    let other = &arms[comparison.contender].label;
    let mut sentence = main_clause(first, other, result, points, confidence);
    let throughput = comparison.metrics.iter().find(|it| it.metric == Metric::Throughput);
    if let Some(clause) = throughput.and_then(|it| throughput_clause(other, it)) {
        sentence += &clause;
    }
    sentence
}

fn main_clause(
    first: &str,
    other: &str,
    result: &MetricResult,
    points: &[WorkingPoint],
    confidence: f64,
) -> String {
    let what = result.metric.words();
    let place = at_point(result.point, points);
    let (Some(ratio), Some(low), Some(high)) = (result.ratio, result.low, result.high) else {
        let reason = result.reason.as_deref().unwrap_or("there are no figures");
        return format!("Not judged: {what} of {other} against {first}, since {reason}.");
    };
    let sure = format!("between {low:.3} and {high:.3}, {}", percentage(confidence));
    match result.verdict {
        Verdict::Better => format!(
            "{other} is better than {first}: {} {what} {place} (ratio {ratio:.3}, {sure} sure).",
            difference(ratio)
        ),
        Verdict::Worse => format!(
            "{first} is better than {other}, which takes {} {what} {place} (ratio {ratio:.3}, \
             {sure} sure).",
            difference(ratio)
        ),
        Verdict::NoDifference => format!(
            "No difference larger than {} in {what} between {first} and {other} {place} (ratio \
             {ratio:.3}, {sure} sure).",
            percentage(result.no_difference_larger_than.unwrap_or(high.max(1.0 / low) - 1.0))
        ),
        Verdict::Inconclusive => format!(
            "Not decided: {other} takes from {} to {} {what} than {first} {place}; a larger \
             --budget narrows it.",
            difference(low),
            difference(high)
        ),
        Verdict::NotJudgeable => {
            let reason = result.reason.as_deref().unwrap_or("the run does not allow it");
            format!("Not judged: {what} of {other} against {first}, since {reason}.")
        }
    }
}

fn throughput_clause(other: &str, result: &MetricResult) -> Option<String> {
    let ratio = result.ratio?;
    match result.verdict {
        Verdict::Better | Verdict::Worse => {
            Some(format!(" At saturation {other} serves {} requests/s.", difference(ratio)))
        }
        _ => None,
    }
}

/// What two or more arms come to: a winner only where the intervals say so.
pub fn outcome(comparisons: &[Comparison], gates: &[Gate]) -> Outcome {
    if gates.iter().any(|gate| gate.effect == GateEffect::Invalid) {
        return Outcome::Invalid;
    }
    let deciding: Option<Vec<(usize, &MetricResult)>> = comparisons
        .iter()
        .map(|it| Some((it.contender, it.metrics.iter().find(|metric| metric.decides)?)))
        .collect();
    let Some(deciding) = deciding.filter(|it| !it.is_empty()) else {
        return Outcome::Inconclusive;
    };
    let all = |verdict: Verdict| deciding.iter().all(|(_, it)| it.verdict == verdict);
    if all(Verdict::Worse) {
        return Outcome::Winner { arm: comparisons[0].baseline };
    }
    if all(Verdict::NoDifference) {
        return Outcome::NoDifference;
    }
    // Better than the first, and its interval apart from those of all others.
    let beats = |one: &MetricResult, other: &MetricResult| {
        let less = matches!((one.high, other.low), (Some(high), Some(low)) if high < low);
        let more = matches!((one.low, other.high), (Some(low), Some(high)) if low > high);
        if one.metric.more_is_better() { more } else { less }
    };
    let winner = deciding.iter().find(|(arm, one)| {
        let others = deciding.iter().filter(|(other, _)| other != arm);
        one.verdict == Verdict::Better
            && others
                .into_iter()
                .all(|(_, other)| other.verdict != Verdict::NotJudgeable && beats(one, other))
    });
    winner.map_or(Outcome::Inconclusive, |&(arm, _)| Outcome::Winner { arm })
}

/// The sentence about an experiment.
pub fn sentence(
    arms: &[Arm],
    comparisons: &[Comparison],
    gates: &[Gate],
    outcome: Outcome,
) -> String {
    if let Some(gate) = gates.iter().find(|gate| gate.effect == GateEffect::Invalid) {
        return format!("Invalid: {}. Try: {}.", gate.reason, gate.remedy);
    }
    let sentences: Vec<&str> = comparisons.iter().map(|it| it.sentence.as_str()).collect();
    if comparisons.len() < 2 {
        return sentences.concat();
    }
    let lead = match outcome {
        Outcome::Winner { arm } => {
            format!("{} is the best of the {}.", arms[arm].label, arms.len())
        }
        Outcome::NoDifference => format!("The {} do not differ.", arms.len()),
        _ => format!("None of the {} is shown to be the best.", arms.len()),
    };
    format!("{lead} {}", sentences.join(" "))
}

/// The sentence about all loads: that of the only one, or each under its name.
pub fn sentence_of_loads(experiments: &[Experiment]) -> String {
    match experiments {
        [only] => only.sentence.clone(),
        all => all.iter().map(sentence_of_load).collect::<Vec<_>>().join(" "),
    }
}

/// `keep-alive: epoll:tuned is better than …`
pub fn sentence_of_load(experiment: &Experiment) -> String {
    format!("{}: {}", experiment.load.name, experiment.sentence)
}

#[cfg(test)]
mod tests;
