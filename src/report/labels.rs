//! Labels of verdicts, outcomes, gates and loads in tables and pages.

use crate::compare::explanation::format_percentage;
use crate::result::{
    ComparisonResult, Experiment, GateEffect, GateKind, LoadDescription, MetricResult, Outcome,
    Verdict,
};

/// Returns a label such as `better` or `no difference > 2%`.
pub fn verdict_label(result: &MetricResult) -> String {
    match (result.verdict, result.no_difference_larger_than) {
        (Verdict::Better, _) => "better".to_owned(),
        (Verdict::Worse, _) => "worse".to_owned(),
        (Verdict::NoDifference, Some(size)) => {
            format!("no difference > {}", format_percentage(size))
        }
        (Verdict::NoDifference, None) => "no difference".to_owned(),
        (Verdict::Inconclusive, _) => "inconclusive".to_owned(),
        (Verdict::NotCompared, _) => "not compared".to_owned(),
    }
}

/// Returns a sign, so that the verdict is visible without colour.
pub const fn verdict_sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "✓",
        Verdict::Worse => "✗",
        Verdict::NoDifference => "=",
        Verdict::Inconclusive => "?",
        Verdict::NotCompared => "–",
    }
}

/// Returns the sign and the label of an outcome.
pub const fn outcome_label(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Winner { .. } => ("✓", "decided"),
        Outcome::NoDifference => ("=", "no difference"),
        Outcome::Depends => ("⇄", "depends on the load"),
        Outcome::Inconclusive => ("?", "inconclusive"),
        Outcome::Invalid => ("✗", "invalid"),
    }
}

/// Returns the sign and the label of the effect of a gate.
pub const fn gate_effect_label(effect: GateEffect) -> (&'static str, &'static str) {
    match effect {
        GateEffect::Invalid => ("✗", "invalid"),
        GateEffect::NotCompared => ("–", "not compared"),
        GateEffect::Warning => ("!", "warning"),
    }
}

/// Returns the label of a kind of gate.
pub const fn gate_label(kind: GateKind) -> &'static str {
    match kind {
        GateKind::ClientSaturated => "client saturated",
        GateKind::ServerNotSaturated => "server not saturated",
        GateKind::RateNotReached => "rate not reached",
        GateKind::WrongBytes => "wrong bytes",
        GateKind::ConnectionsRefused => "connections refused",
        GateKind::RequestsFailed => "requests failed",
        GateKind::ConnectionsClosedByServer => "connections closed by the server",
        GateKind::CompletionQueueOverflow => "completion queue overflow",
        GateKind::OutOfBuffers => "out of buffers",
        GateKind::IoWqWorkers => "io-wq workers",
        GateKind::BatchLimitsDiffer => "batch limits differ",
        GateKind::CpuSteal => "steal time",
        GateKind::CpuThrottled => "control group throttled",
        GateKind::SharedCore => "server and client share a core",
        GateKind::OtherLoadOnServerCpus => "other load on the server's CPUs",
        GateKind::ControlDiffers => "the first arm differs from itself",
        GateKind::WrongEngine => "wrong engine",
        GateKind::ServerNotQuiet => "server not quiet",
        GateKind::TechniqueNotInForce => "technique not in force",
        GateKind::TooFewRounds => "too few rounds",
        GateKind::NotOptimised => "built without optimisation",
    }
}

/// Returns the parts of each response that were checked: once if they are the same for all arms;
/// `None` for messages.
pub fn verified(result: &ComparisonResult, experiment: &Experiment) -> Option<String> {
    let first = experiment.verified.first()?;
    if experiment.verified.iter().all(|it| it == first) {
        return Some(first.clone());
    }
    let each = result.arms.iter().zip(&experiment.verified);
    let each: Vec<String> = each.map(|(arm, it)| format!("{}: {it}", arm.label)).collect();
    Some(each.join("; "))
}

/// Returns the settings that a load requires, for example `server.keep_alive=true`.
pub fn required_settings(load: &LoadDescription) -> String {
    let set = load.server_settings.iter().filter(|it| !it.value.is_empty());
    set.map(|it| format!("{}={}", it.key, it.value)).collect::<Vec<_>>().join(", ")
}
