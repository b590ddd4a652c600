//! The conclusion of a ladder: the cumulative effect, and the steps with an effect.

use crate::compare::explanation::{format_difference, format_percentage, format_ratio};
use crate::result::{Arm, LadderResult, LadderStepResult, MetricResult, Verdict};

/// Returns the conclusion; `load_level` describes the load level.
pub(super) fn conclusion(
    arms: &[Arm],
    ladder: &LadderResult,
    load_level: &str,
    confidence: f64,
) -> String {
    let mut conclusion = overall(arms, ladder, load_level, confidence);
    for (verdict, effect) in [(Verdict::Better, "Improvements"), (Verdict::Worse, "Regressions")] {
        let steps = ranked_steps(arms, ladder, verdict);
        if !steps.is_empty() {
            conclusion += &format!(" {effect}: {}.", steps.join(", "));
        }
    }
    let unused = ladder.steps.iter().filter(|step| step.unused_reason.is_some());
    let unused: Vec<&str> = unused.map(|step| technique(arms, step)).collect();
    if !unused.is_empty() {
        conclusion += &format!(" Not in force: {}.", unused.join(", "));
    }
    conclusion
}

/// Describes the last step in force compared with the first.
fn overall(arms: &[Arm], ladder: &LadderResult, load_level: &str, confidence: f64) -> String {
    let last = last_in_force(ladder);
    let range = format!("From {} to {}", arms[ladder.steps[0].arm].label, arms[last.arm].label);
    let metric = ladder.metric.metric.label();
    let Some((result, ratio, low, high)) = last.to_first.as_ref().and_then(interval) else {
        return format!("{range}: not compared.");
    };
    let interval = format_ratio(ratio, (low, high), confidence);
    match result.verdict {
        Verdict::Better | Verdict::Worse => {
            format!("{range}: {} {metric} {load_level} ({interval}).", format_difference(ratio))
        }
        Verdict::NoDifference => format!(
            "{range}: no difference larger than {} in {metric} {load_level} ({interval}).",
            format_percentage(
                result.no_difference_larger_than.unwrap_or(high.max(1.0 / low) - 1.0)
            )
        ),
        Verdict::Inconclusive => {
            format!(
                "{range}: inconclusive in {metric} {load_level} ({interval}). A larger --budget would \
                 narrow the interval."
            )
        }
        Verdict::NotCompared => {
            let reason = result.reason.as_deref().unwrap_or("There are no measurements.");
            format!("{range}: not compared. {reason}")
        }
    }
}

fn interval(result: &MetricResult) -> Option<(&MetricResult, f64, f64, f64)> {
    Some((result, result.ratio?, result.low?, result.high?))
}

/// Returns the steps with this verdict, the largest effect first.
fn ranked_steps(arms: &[Arm], ladder: &LadderResult, verdict: Verdict) -> Vec<String> {
    let step = |step: &'_ LadderStepResult| {
        let result = step.to_previous.as_ref().filter(|it| it.verdict == verdict)?;
        Some((result.ratio?, technique(arms, step).to_owned()))
    };
    let mut steps: Vec<(f64, String)> = ladder.steps.iter().filter_map(step).collect();
    steps.sort_by(|one, other| other.0.ln().abs().total_cmp(&one.0.ln().abs()));
    steps
        .into_iter()
        .map(|(ratio, name)| format!("{name} ({})", format_difference(ratio)))
        .collect()
}

fn technique<'arms>(arms: &'arms [Arm], step: &LadderStepResult) -> &'arms str {
    arms[step.arm].label.trim_start_matches("+ ")
}

/// Returns the last step in force. The first always is, or its engine would be refused.
pub(super) fn last_in_force(ladder: &LadderResult) -> &LadderStepResult {
    let last = ladder.steps.iter().rev().find(|step| step.unused_reason.is_none());
    last.unwrap_or(&ladder.steps[0])
}
