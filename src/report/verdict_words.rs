//! A verdict in one or two words, the same wherever it stands.

use super::result::{GateEffect, GateKind, MetricResult, Outcome, Verdict};
use crate::compare::words::percentage;

/// `better`, `no difference > 2 %`.
pub fn verdict_words(result: &MetricResult) -> String {
    match (result.verdict, result.no_difference_larger_than) {
        (Verdict::Better, _) => "better".to_owned(),
        (Verdict::Worse, _) => "worse".to_owned(),
        (Verdict::NoDifference, Some(size)) => format!("no difference > {}", percentage(size)),
        (Verdict::NoDifference, None) => "no difference".to_owned(),
        (Verdict::Inconclusive, _) => "inconclusive".to_owned(),
        (Verdict::NotJudgeable, _) => "not judged".to_owned(),
    }
}

/// A sign for it, so that it need not be told by colour.
pub const fn verdict_sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "✓",
        Verdict::Worse => "✗",
        Verdict::NoDifference => "=",
        Verdict::Inconclusive => "?",
        Verdict::NotJudgeable => "–",
    }
}

/// What a run comes to, in a word or two, and its sign.
pub const fn outcome_words(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Winner { .. } => ("✓", "decided"),
        Outcome::NoDifference => ("=", "no difference"),
        Outcome::Depends => ("⇄", "depends on the load"),
        Outcome::Inconclusive => ("?", "inconclusive"),
        Outcome::Invalid => ("✗", "invalid"),
    }
}

/// What a gate does.
pub const fn effect_words(effect: GateEffect) -> (&'static str, &'static str) {
    match effect {
        GateEffect::Invalid => ("✗", "invalid"),
        GateEffect::NotJudgeable => ("–", "not judged"),
        GateEffect::Warning => ("!", "warning"),
    }
}

/// The name of a rule.
pub const fn gate_words(kind: GateKind) -> &'static str {
    match kind {
        GateKind::ClientSaturated => "client saturated",
        GateKind::ServerNotSaturated => "server not saturated",
        GateKind::RateNotKept => "rate not kept",
        GateKind::WrongBytes => "wrong bytes",
        GateKind::ConnectionsRefused => "connections refused",
        GateKind::RequestsFailed => "requests failed",
        GateKind::ConnectionsNotKept => "connections did not persist",
        GateKind::CompletionsOverflowed => "completions overflowed",
        GateKind::BuffersRanOut => "buffers ran out",
        GateKind::CpuStolen => "processor time stolen",
        GateKind::CpuThrottled => "control group throttled",
        GateKind::SharedCore => "server and client share a core",
        GateKind::OthersOnTheCores => "others on the server's processors",
        GateKind::ControlDiffers => "the first arm differs from itself",
        GateKind::WrongEngine => "another engine than asked for",
        GateKind::TechniqueNotInForce => "a technique is not in force",
        GateKind::TooFewRounds => "too few rounds",
        GateKind::NotOptimised => "built without optimisation",
    }
}
