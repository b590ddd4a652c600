//! A ladder in some sentences: how far one has come, and which steps did it.

use crate::compare::words::{difference, percentage};
use crate::report::result::{Arm, Ladder, MetricResult, Rung, Verdict};

/// `place` is where it was measured, in words.
pub(super) fn sentence(arms: &[Arm], ladder: &Ladder, place: &str, confidence: f64) -> String {
    let mut sentence = all_the_way(arms, ladder, place, confidence);
    for (verdict, begins) in [
        (Verdict::Better, "Steps that are shown to gain"),
        (Verdict::Worse, "Steps that are shown to cost"),
    ] {
        let steps = steps(arms, ladder, verdict);
        if !steps.is_empty() {
            sentence += &format!(" {begins}: {}.", steps.join(", "));
        }
    }
    let missing = ladder.rungs.iter().filter(|rung| rung.not_in_force.is_some());
    let missing: Vec<&str> = missing.map(|rung| added(arms, rung)).collect();
    if !missing.is_empty() {
        sentence += &format!(" Not in force here: {}.", missing.join(", "));
    }
    sentence
}

/// The last rung against the first.
fn all_the_way(arms: &[Arm], ladder: &Ladder, place: &str, confidence: f64) -> String {
    let last = last(ladder);
    let from = format!("From {} up to {}", arms[ladder.rungs[0].arm].label, arms[last.arm].label);
    let what = ladder.metric.metric.words();
    let Some((result, ratio, low, high)) = last.to_first.as_ref().and_then(interval) else {
        return format!("{from}: not judged.");
    };
    let sure = format!(
        "(ratio {ratio:.3}, between {low:.3} and {high:.3}, {} sure)",
        percentage(confidence)
    );
    match result.verdict {
        Verdict::Better | Verdict::Worse => {
            format!("{from}: {} {what} {place} {sure}.", difference(ratio))
        }
        Verdict::NoDifference => format!(
            "{from}: no difference larger than {} in {what} {place} {sure}.",
            percentage(result.no_difference_larger_than.unwrap_or(high.max(1.0 / low) - 1.0))
        ),
        Verdict::Inconclusive => {
            format!("{from}: not decided in {what} {place} {sure}; a larger --budget narrows it.")
        }
        Verdict::NotJudgeable => {
            let reason = result.reason.as_deref().unwrap_or("the run does not allow it");
            format!("{from}: not judged, since {reason}.")
        }
    }
}

fn interval(result: &MetricResult) -> Option<(&MetricResult, f64, f64, f64)> {
    Some((result, result.ratio?, result.low?, result.high?))
}

/// The steps that come to this, the largest first.
fn steps(arms: &[Arm], ladder: &Ladder, verdict: Verdict) -> Vec<String> {
    let step = |rung: &'_ Rung| {
        let result = rung.to_below.as_ref().filter(|it| it.verdict == verdict)?;
        Some((result.ratio?, added(arms, rung).to_owned()))
    };
    let mut steps: Vec<(f64, String)> = ladder.rungs.iter().filter_map(step).collect();
    steps.sort_by(|one, other| other.0.ln().abs().total_cmp(&one.0.ln().abs()));
    steps.into_iter().map(|(ratio, name)| format!("{name} ({})", difference(ratio))).collect()
}

fn added<'arms>(arms: &'arms [Arm], rung: &Rung) -> &'arms str {
    arms[rung.arm].label.trim_start_matches("+ ")
}

/// The highest rung that is in force. The first always is: an engine that is not is refused.
pub(super) fn last(ladder: &Ladder) -> &Rung {
    let in_force = ladder.rungs.iter().rev().find(|rung| rung.not_in_force.is_none());
    in_force.unwrap_or(&ladder.rungs[0])
}
