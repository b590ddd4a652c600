//! Gates about the servers: their engine, responses, connections and resources.

use super::{Evidence, Gate, GateEffect, GateKind};
use crate::result::ArmKind;

/// Share of failed requests above which an experiment is invalid.
const FAILURES_THRESHOLD: f64 = 0.001;

/// Keep-alive connections closed by the server, per request, above which there is a warning.
const CLOSED_WARNING_THRESHOLD: f64 = 0.0001;
/// Ratio, above which nothing is compared: a new connection costs much more than a request.
/// nginx closes one connection in 1,000 requests by default, which is only a warning.
const CLOSED_THRESHOLD: f64 = 0.005;

/// Counters of waits for a receive buffer or a connection slot.
pub(super) const OUT_OF_BUFFERS_COUNTERS: &[&str] =
    &["accept_pauses", "provided_buffers_exhausted"];

/// Each server must run on the requested engine.
pub(super) fn wrong_engine(evidence: &Evidence) -> Vec<Gate> {
    let wrong = |arm: usize| -> Option<Gate> {
        let description = &evidence.arms[arm];
        if description.kind == ArmKind::Command {
            return None;
        }
        let requested = &description.settings.iter().find(|it| it.key == "backend")?.value;
        let in_force = evidence
            .rounds
            .iter()
            .filter(|round| round.arm == arm)
            .map(|round| round.engine.as_deref().unwrap_or("no engine"))
            .find(|engine| engine != requested)?;
        Some(Gate {
            kind: GateKind::WrongEngine,
            effect: GateEffect::Invalid,
            metrics: Vec::new(),
            arms: vec![arm],
            reason: format!("{} ran on {in_force} instead of {requested}.", description.label),
            remedy: format!(
                "Run `ringpoll serve --backend {requested}`, which reports why it is not available."
            ),
        })
    };
    (0..evidence.arms.len()).filter_map(wrong).collect()
}

/// Speeds are comparable only if the responses are correct.
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
            "{count} responses of {} had wrong bytes{}.",
            evidence.names(&wrong),
            example(evidence, &wrong)
        ),
        arms: wrong,
        remedy: "Inspect a response with `curl -v`.".to_owned(),
    }]
}

/// A refused connection costs the server nothing, and a dropped one waits for a second SYN.
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
            "{count} connections to {} were refused, or dropped because the accept queue was full.",
            evidence.names(&refused)
        ),
        remedy: format!(
            "{} The limit of the kernel is net.core.somaxconn. Fewer --connections or a lower \
             --rate may also help.",
            advice(evidence, &refused, "Try --set server.backlog=16384.", |names| format!(
                "Try a larger listen backlog in the configuration of {names}."
            )),
        ),
        arms: refused,
    }]
}

/// A few resets and timeouts are noise; many of them change the load.
pub(super) fn requests_failed(evidence: &Evidence) -> Vec<Gate> {
    let failed = |arm| {
        let counted_elsewhere =
            |it: &crate::result::Failures| it.wrong_bytes + it.refused + it.not_sent;
        evidence.sum(arm, |round| round.failures.total() - counted_elsewhere(&round.failures))
    };
    let arms = evidence.arms_where(|arm| failed(arm) > 0);
    if arms.is_empty() {
        return Vec::new();
    }
    let worst = arms.iter().map(|&arm| share(failed(arm), evidence.sum(arm, |it| it.requests)));
    let few = worst.fold(0.0, f64::max) <= FAILURES_THRESHOLD;
    let count: u64 = arms.iter().map(|&arm| failed(arm)).sum();
    vec![Gate {
        kind: GateKind::RequestsFailed,
        effect: if few { GateEffect::Warning } else { GateEffect::Invalid },
        metrics: Vec::new(),
        reason: format!(
            "{count} requests to {} failed{}.",
            evidence.names(&arms),
            example(evidence, &arms)
        ),
        remedy: format!(
            "{} Fewer --connections or a lower --rate may also help.",
            advice(
                evidence,
                &arms,
                "Find the cause with `ringpoll serve` and `ringpoll load`.",
                |names| format!("Check the connection limits and the error log of {names}.")
            ),
        ),
        arms,
    }]
}

/// A server that closes keep-alive connections has a different load than the other servers.
pub(super) fn connections_closed_by_server(evidence: &Evidence) -> Vec<Gate> {
    let closed = |arm| evidence.sum(arm, |round| round.client.connections_closed_by_server);
    let requests = |arm| evidence.sum(arm, |round| round.requests);
    let exceeds = |arm, share: f64| closed(arm) as f64 > share * requests(arm) as f64;
    let arms = evidence.arms_where(|arm| exceeds(arm, CLOSED_WARNING_THRESHOLD));
    if arms.is_empty() {
        return Vec::new();
    }
    let few = arms.iter().all(|&arm| !exceeds(arm, CLOSED_THRESHOLD));
    let each: Vec<String> =
        arms.iter().map(|&arm| format!("{} in {} requests", closed(arm), requests(arm))).collect();
    vec![Gate {
        kind: GateKind::ConnectionsClosedByServer,
        effect: if few { GateEffect::Warning } else { GateEffect::NotCompared },
        metrics: Vec::new(),
        reason: format!(
            "{} closed keep-alive connections ({}), so the arms did not have the same load.",
            evidence.names(&arms),
            each.join(", ")
        ),
        remedy: format!(
            "{} Or use --load churn.",
            advice(
                evidence,
                &arms,
                "Try --set server.requests_per_connection=0 and longer deadlines.",
                |names| format!(
                    "Raise the limit of requests per connection in the configuration of {names}."
                )
            ),
        ),
        arms,
    }]
}

/// The kernel queues overflowed completions on a slow path, which distorts the results.
pub(super) fn completion_queue_overflow(evidence: &Evidence) -> Vec<Gate> {
    let overflows = |arm| counter(evidence, arm, "completion_queue_overflows");
    let arms = evidence.arms_where(|arm| overflows(arm) > 0);
    if arms.is_empty() {
        return Vec::new();
    }
    let count: u64 = arms.iter().map(|&arm| overflows(arm)).sum();
    vec![Gate {
        kind: GateKind::CompletionQueueOverflow,
        effect: GateEffect::NotCompared,
        metrics: Vec::new(),
        reason: format!(
            "The completion queue of {} overflowed in {count} waits, so nothing was compared.",
            evidence.names(&arms)
        ),
        arms,
        remedy: "Try --set io_uring.completion_queue_entries=4096.".to_owned(),
    }]
}

/// A server that runs out of buffers or connection slots is limited by its configuration.
pub(super) fn out_of_buffers(evidence: &Evidence) -> Vec<Gate> {
    let shortages =
        |arm| OUT_OF_BUFFERS_COUNTERS.iter().map(|name| counter(evidence, arm, name)).sum::<u64>();
    let arms = evidence.arms_where(|arm| shortages(arm) > 0);
    if arms.is_empty() {
        return Vec::new();
    }
    let count: u64 = arms.iter().map(|&arm| shortages(arm)).sum();
    vec![Gate {
        kind: GateKind::OutOfBuffers,
        effect: GateEffect::NotCompared,
        metrics: Vec::new(),
        reason: format!(
            "{} ran out of receive buffers or connection slots {count} times, so nothing was compared.",
            evidence.names(&arms)
        ),
        arms,
        remedy: "Try limits.connections above --connections, io_uring.provided_buffers=0, a \
                 higher `ulimit -n`, or fewer --connections."
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

/// Joins the advice for ringpoll's own servers with that for other programs: each names only what
/// the operator of these arms can change.
fn advice(
    evidence: &Evidence,
    arms: &[usize],
    ringpoll: &str,
    other_programs: impl Fn(&str) -> String,
) -> String {
    let is_command = |&arm: &usize| evidence.arms[arm].kind == ArmKind::Command;
    let (commands, engines): (Vec<usize>, Vec<usize>) = arms.iter().copied().partition(is_command);
    let ringpoll = (!engines.is_empty()).then(|| ringpoll.to_owned());
    let other = (!commands.is_empty()).then(|| other_programs(&evidence.names(&commands)));
    ringpoll.into_iter().chain(other).collect::<Vec<_>>().join(" ")
}

/// Quotes the first described failure of these arms.
fn example(evidence: &Evidence, arms: &[usize]) -> String {
    let rounds = evidence.rounds.iter().filter(|round| arms.contains(&round.arm));
    let example = rounds.filter_map(|round| round.failures.example.as_ref()).next();
    example.map_or_else(String::new, |example| format!(" (for example: {example})"))
}
