//! Rules about the servers.

use super::{Evidence, Gate, GateEffect, GateKind};
use crate::report::result::ArmKind;

/// The share of failed requests above which an experiment is invalid.
const FAILURES_BEARABLE: f64 = 0.001;

/// How many connections that are to persist a server may end, for each request, before it is told,
/// and before it is not judged. To connect again costs some three requests, so that a hundredth of
/// them would be a difference of three hundredths, which is one that is looked for. nginx ends one
/// in 1,000 unless it is told otherwise.
const ENDS_UNTOLD: f64 = 0.0001;
const ENDS_BEARABLE: f64 = 0.005;

/// Counters that say that a server had no buffer, or no place, for what came.
const SCARCITY_COUNTERS: &[&str] = &["accept_pauses", "receive_buffers_exhausted"];

/// The engine in force must be the one that was asked for.
pub(super) fn wrong_engine(evidence: &Evidence) -> Vec<Gate> {
    let wrong = |arm: usize| -> Option<Gate> {
        let description = &evidence.arms[arm];
        if description.kind == ArmKind::Command {
            return None;
        }
        let asked = &description.settings.iter().find(|it| it.key == "backend")?.value;
        let in_force = evidence
            .rounds
            .iter()
            .filter(|round| round.arm == arm)
            .map(|round| round.backend.as_deref().unwrap_or("nothing"))
            .find(|backend| backend != asked)?;
        Some(Gate {
            kind: GateKind::WrongEngine,
            effect: GateEffect::Invalid,
            metrics: Vec::new(),
            arms: vec![arm],
            reason: format!("{} ran on {in_force}, not on {asked}", description.label),
            remedy: "look with `ringpoll serve --backend` why the kernel refuses it".to_owned(),
        })
    };
    (0..evidence.arms.len()).filter_map(wrong).collect()
}

/// A fast wrong answer is no answer.
pub(super) fn wrong_bytes(evidence: &Evidence) -> Vec<Gate> {
    let wrong = evidence.arms_where(|arm| evidence.sum(arm, |it| it.failures.wrong_bytes) > 0);
    if wrong.is_empty() {
        return Vec::new();
    }
    let count: u64 = wrong.iter().map(|&arm| evidence.sum(arm, |it| it.failures.wrong_bytes)).sum();
    vec![Gate {
        kind: GateKind::WrongBytes,
        effect: GateEffect::Invalid,
        metrics: Vec::new(),
        reason: format!(
            "{count} answers of {} had wrong bytes{}",
            evidence.names(&wrong),
            example(evidence, &wrong)
        ),
        arms: wrong,
        remedy: "look at one answer with `curl -v`; servers that answer differently cannot be \
                 compared by their speed"
            .to_owned(),
    }]
}

/// Connections that are refused, or wait for a second SYN, cost nothing and tell nothing.
pub(super) fn connections_refused(evidence: &Evidence) -> Vec<Gate> {
    let lost =
        |arm| evidence.sum(arm, |round| round.failures.refused + round.machine.listener.overflows);
    let refused = evidence.arms_where(|arm| lost(arm) > 0);
    if refused.is_empty() {
        return Vec::new();
    }
    let count: u64 = refused.iter().map(|&arm| lost(arm)).sum();
    vec![Gate {
        kind: GateKind::ConnectionsRefused,
        effect: GateEffect::Invalid,
        metrics: Vec::new(),
        reason: format!(
            "{count} connections were refused, or dropped by a full queue, by {}",
            evidence.names(&refused)
        ),
        arms: refused,
        remedy: "--set server.backlog=4096 and net.core.somaxconn as large, fewer --connections, \
                 or a lower --rate"
            .to_owned(),
    }]
}

/// Resets, time-outs and the like: a few are noise, more are another experiment.
pub(super) fn requests_failed(evidence: &Evidence) -> Vec<Gate> {
    let failed = |arm| {
        let counted_elsewhere =
            |it: &crate::report::result::Failures| it.wrong_bytes + it.refused + it.not_sent;
        evidence.sum(arm, |round| round.failures.total() - counted_elsewhere(&round.failures))
    };
    let arms = evidence.arms_where(|arm| failed(arm) > 0);
    if arms.is_empty() {
        return Vec::new();
    }
    let worst = arms.iter().map(|&arm| share(failed(arm), evidence.sum(arm, |it| it.requests)));
    let bearable = worst.fold(0.0, f64::max) <= FAILURES_BEARABLE;
    let count: u64 = arms.iter().map(|&arm| failed(arm)).sum();
    vec![Gate {
        kind: GateKind::RequestsFailed,
        effect: if bearable { GateEffect::Warning } else { GateEffect::Invalid },
        metrics: Vec::new(),
        reason: format!(
            "{count} requests to {} failed{}",
            evidence.names(&arms),
            example(evidence, &arms)
        ),
        arms,
        remedy: "look for the cause with `ringpoll load` against one server; fewer \
                 --connections, or a lower --rate"
            .to_owned(),
    }]
}

/// A server that closes what is to persist has another load than the others have.
pub(super) fn connections_not_kept(evidence: &Evidence) -> Vec<Gate> {
    let ended = |arm| evidence.sum(arm, |round| round.client.connections_ended);
    let requests = |arm| evidence.sum(arm, |round| round.requests);
    let is_more = |arm, than: f64| ended(arm) as f64 > than * requests(arm) as f64;
    let arms = evidence.arms_where(|arm| is_more(arm, ENDS_UNTOLD));
    if arms.is_empty() {
        return Vec::new();
    }
    let bearable = arms.iter().all(|&arm| !is_more(arm, ENDS_BEARABLE));
    let each: Vec<String> =
        arms.iter().map(|&arm| format!("{} in {} requests", ended(arm), requests(arm))).collect();
    vec![Gate {
        kind: GateKind::ConnectionsNotKept,
        effect: if bearable { GateEffect::Warning } else { GateEffect::NotJudgeable },
        metrics: Vec::new(),
        reason: format!(
            "{} ended connections that were to persist ({}), so the load was not quite what was \
             asked for",
            evidence.names(&arms),
            each.join(", ")
        ),
        arms,
        remedy: "let that server keep connections alive, for many requests each, or ask for \
                 --load churn"
            .to_owned(),
    }]
}

/// Completions that overflow are kept by the kernel, at a price that is not the engine's.
pub(super) fn completions_overflowed(evidence: &Evidence) -> Vec<Gate> {
    let overflows = |arm| counter(evidence, arm, "completion_queue_overflows");
    let arms = evidence.arms_where(|arm| overflows(arm) > 0);
    if arms.is_empty() {
        return Vec::new();
    }
    let count: u64 = arms.iter().map(|&arm| overflows(arm)).sum();
    vec![Gate {
        kind: GateKind::CompletionsOverflowed,
        effect: GateEffect::NotJudgeable,
        metrics: Vec::new(),
        reason: format!(
            "the completion queue of {} was full in {count} waits",
            evidence.names(&arms)
        ),
        arms,
        remedy: "a larger queue: --set io_uring.completion_queue_entries=4096".to_owned(),
    }]
}

/// A server that waits for its own buffers is not measured, its configuration is.
pub(super) fn buffers_ran_out(evidence: &Evidence) -> Vec<Gate> {
    let scarce =
        |arm| SCARCITY_COUNTERS.iter().map(|name| counter(evidence, arm, name)).sum::<u64>();
    let arms = evidence.arms_where(|arm| scarce(arm) > 0);
    if arms.is_empty() {
        return Vec::new();
    }
    let count: u64 = arms.iter().map(|&arm| scarce(arm)).sum();
    vec![Gate {
        kind: GateKind::BuffersRanOut,
        effect: GateEffect::NotJudgeable,
        metrics: Vec::new(),
        reason: format!(
            "{} had no buffer or no place for a connection {count} times",
            evidence.names(&arms)
        ),
        arms,
        remedy: "--set limits.connections=… above --connections, more buffers, a higher \
                 `ulimit -n`, or fewer --connections"
            .to_owned(),
    }]
}

fn counter(evidence: &Evidence, arm: usize, name: &str) -> u64 {
    evidence.sum(arm, |round| {
        let counters = round.counters.as_ref();
        counters.and_then(|it| it.counters.get(name)).copied().unwrap_or(0)
    })
}

fn share(part: u64, other_part: u64) -> f64 {
    part as f64 / (part + other_part).max(1) as f64
}

/// The first failure of these arms that says what it was.
fn example(evidence: &Evidence, arms: &[usize]) -> String {
    let rounds = evidence.rounds.iter().filter(|round| arms.contains(&round.arm));
    let example = rounds.filter_map(|round| round.failures.example.as_ref()).next();
    example.map_or_else(String::new, |example| format!(", such as: {example}"))
}
