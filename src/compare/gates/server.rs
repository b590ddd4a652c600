//! Gates about the servers: their engine, responses, connections and resources.

use ringpoll_backends::EngineOptions;

use super::environment::wall_clock_metrics;
use super::{Evidence, Gate, GateEffect, GateKind, percent};
use crate::result::{ArmKind, Round};

/// Share of failed requests above which an experiment is invalid.
const FAILURES_THRESHOLD: f64 = 0.001;

/// Keep-alive connections closed by the server, per request, above which there is a warning.
const CLOSED_WARNING_THRESHOLD: f64 = 0.0001;
/// Ratio, above which nothing is compared: a new connection costs much more than a request.
/// nginx closes one connection in 1,000 requests by default, which is only a warning.
const CLOSED_THRESHOLD: f64 = 0.005;

/// Share of io-wq workers in the CPU time of a server above which there is a warning.
const IO_WQ_WARNING_THRESHOLD: f64 = 0.01;
/// Share above which throughput and latency are not compared.
const IO_WQ_THRESHOLD: f64 = 0.10;
/// Share of the slices after which a server was not quiet, above which nothing is compared.
const NOT_QUIET_THRESHOLD: f64 = 0.05;

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
            arms: vec![arm],
            reason: format!("{} ran on {in_force} instead of {requested}.", description.label),
            remedy: format!(
                "Run `ringpoll serve --backend {requested}`, which reports why it is not available."
            ),
            ..Gate::new(GateKind::WrongEngine, GateEffect::Invalid)
        })
    };
    (0..evidence.arms.len()).filter_map(wrong).collect()
}

/// Speeds are comparable only if the responses are correct.
pub(super) fn wrong_bytes(evidence: &Evidence) -> Option<Gate> {
    let wrong = evidence.arms_where(|arm| evidence.sum(arm, |it| it.failures.wrong_bytes) > 0)?;
    let count: u64 = wrong.iter().map(|&arm| evidence.sum(arm, |it| it.failures.wrong_bytes)).sum();
    Some(Gate {
        reason: format!(
            "{count} responses of {} had wrong bytes{}.",
            evidence.names(&wrong),
            example(evidence, &wrong)
        ),
        arms: wrong,
        remedy: "Inspect a response with `curl -v`.".to_owned(),
        ..Gate::new(GateKind::WrongBytes, GateEffect::Invalid)
    })
}

/// A refused connection costs the server nothing, and a dropped one waits for a second SYN.
pub(super) fn connections_refused(evidence: &Evidence) -> Option<Gate> {
    let lost =
        |arm| evidence.sum(arm, |round| round.failures.refused + round.machine.listener.overflows);
    let refused = evidence.arms_where(|arm| lost(arm) > 0)?;
    let count: u64 = refused.iter().map(|&arm| lost(arm)).sum();
    Some(Gate {
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
        ..Gate::new(GateKind::ConnectionsRefused, GateEffect::Invalid)
    })
}

/// A few resets and timeouts are noise; many of them change the load.
pub(super) fn requests_failed(evidence: &Evidence) -> Option<Gate> {
    let failed = |arm| {
        let counted_elsewhere =
            |it: &crate::result::Failures| it.wrong_bytes + it.refused + it.not_sent;
        evidence.sum(arm, |round| round.failures.total() - counted_elsewhere(&round.failures))
    };
    let arms = evidence.arms_where(|arm| failed(arm) > 0)?;
    let worst = arms.iter().map(|&arm| share(failed(arm), evidence.sum(arm, |it| it.requests)));
    let few = worst.fold(0.0, f64::max) <= FAILURES_THRESHOLD;
    let count: u64 = arms.iter().map(|&arm| failed(arm)).sum();
    Some(Gate {
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
        ..Gate::new(
            GateKind::RequestsFailed,
            if few { GateEffect::Warning } else { GateEffect::Invalid },
        )
    })
}

/// A server that closes keep-alive connections has a different load than the other servers.
pub(super) fn connections_closed_by_server(evidence: &Evidence) -> Option<Gate> {
    let closed = |arm| evidence.sum(arm, |round| round.client.connections_closed_by_server);
    let requests = |arm| evidence.sum(arm, |round| round.requests);
    let exceeds = |arm, share: f64| closed(arm) as f64 > share * requests(arm) as f64;
    let arms = evidence.arms_where(|arm| exceeds(arm, CLOSED_WARNING_THRESHOLD))?;
    let few = arms.iter().all(|&arm| !exceeds(arm, CLOSED_THRESHOLD));
    let each: Vec<String> =
        arms.iter().map(|&arm| format!("{} in {} requests", closed(arm), requests(arm))).collect();
    Some(Gate {
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
        ..Gate::new(
            GateKind::ConnectionsClosedByServer,
            if few { GateEffect::Warning } else { GateEffect::NotCompared },
        )
    })
}

/// The kernel queues overflowed completions on a slow path, which distorts the results.
pub(super) fn completion_queue_overflow(evidence: &Evidence) -> Option<Gate> {
    let overflows = |arm| counter(evidence, arm, "completion_queue_overflows");
    let arms = evidence.arms_where(|arm| overflows(arm) > 0)?;
    let count: u64 = arms.iter().map(|&arm| overflows(arm)).sum();
    Some(Gate {
        reason: format!(
            "The completion queue of {} overflowed in {count} waits, so nothing was compared.",
            evidence.names(&arms)
        ),
        arms,
        remedy: "Try --set io_uring.completion_queue_entries=4096.".to_owned(),
        ..Gate::new(GateKind::CompletionQueueOverflow, GateEffect::NotCompared)
    })
}

/// A server that runs out of buffers or connection slots is limited by its configuration.
pub(super) fn out_of_buffers(evidence: &Evidence) -> Option<Gate> {
    let shortages =
        |arm| OUT_OF_BUFFERS_COUNTERS.iter().map(|name| counter(evidence, arm, name)).sum::<u64>();
    let arms = evidence.arms_where(|arm| shortages(arm) > 0)?;
    let count: u64 = arms.iter().map(|&arm| shortages(arm)).sum();
    Some(Gate {
        reason: format!(
            "{} ran out of receive buffers or connection slots {count} times, so nothing was compared.",
            evidence.names(&arms)
        ),
        arms,
        remedy: "Try limits.connections above --connections, io_uring.provided_buffers=0, a \
                 higher `ulimit -n`, or fewer --connections."
            .to_owned(),
        ..Gate::new(GateKind::OutOfBuffers, GateEffect::NotCompared)
    })
}

/// io-wq workers are threads in addition to those of the server, and the kernel may run them on
/// CPUs outside its affinity. CPU per request includes them and stays valid.
pub(super) fn io_wq_workers(evidence: &Evidence) -> Option<Gate> {
    let worked = |arm| {
        let of_workers = evidence.sum(arm, |round| round.server.io_wq_cpu_ns);
        of_workers as f64 / evidence.sum(arm, |round| round.server.cpu_ns).max(1) as f64
    };
    let arms = evidence.arms_where(|arm| worked(arm) > IO_WQ_WARNING_THRESHOLD)?;
    let few = arms.iter().all(|&arm| worked(arm) <= IO_WQ_THRESHOLD);
    let most = |arm: usize| {
        let own = evidence.rounds.iter().filter(|round| round.arm == arm);
        own.map(|round| round.server.io_wq_workers).max().unwrap_or(0)
    };
    let each: Vec<String> = arms
        .iter()
        .map(|&arm| {
            format!("{} of the CPU time, up to {} threads", percent(worked(arm), 0), most(arm))
        })
        .collect();
    let consequence = if few { "" } else { ", so throughput and latency were not compared" };
    Some(Gate {
        metrics: evidence.where_measured(&wall_clock_metrics()),
        reason: format!(
            "io-wq workers of the kernel did part of the work of {} ({}), in addition to its own \
             threads{consequence}.",
            evidence.names(&arms),
            each.join("; ")
        ),
        remedy: format!(
            "The kernel runs operations there that block or have IOSQE_ASYNC. {} CPU per request \
             is still valid.",
            advice(
                evidence,
                &arms,
                "IORING_OP_SHUTDOWN always does; io_uring:tuned calls shutdown(2) instead.",
                |names| format!(
                    "The tracepoint io_uring:io_uring_queue_async_work shows which those of {names} \
                     are."
                )
            ),
        ),
        arms,
        ..Gate::new(
            GateKind::IoWqWorkers,
            if few { GateEffect::Warning } else { GateEffect::NotCompared },
        )
    })
}

/// An arm whose waits return more events at once needs fewer of them, and is slower to respond.
/// The limits do not matter in waits that return fewer events than the lowest.
pub(super) fn batch_limits_differ(evidence: &Evidence) -> Option<Gate> {
    let limits: Vec<(usize, u64)> = (0..evidence.arms.len())
        .filter_map(|arm| Some((arm, batch_limit(evidence, arm)?)))
        .collect();
    let lowest = limits.iter().map(|it| it.1).min()?;
    // A bucket of batch sizes ends at twice its start.
    let reaches = |round: &&Round| {
        let sizes = round.counters.iter().flat_map(|it| &it.batch_sizes);
        sizes.into_iter().any(|it| it.waits > 0 && it.min_events * 2 > lowest)
    };
    if limits.iter().all(|it| it.1 == lowest) || !evidence.rounds.iter().any(|it| reaches(&it)) {
        return None;
    }
    let named = |&(arm, limit): &(usize, u64)| format!("{} {limit}", evidence.arms[arm].label);
    let each: Vec<String> = limits.iter().map(named).collect();
    Some(Gate {
        arms: limits.iter().map(|it| it.0).collect(),
        reason: format!(
            "The number of events that one wait may return differs ({}), and was reached.",
            each.join(", ")
        ),
        remedy:
            "Try the same value of epoll.events_per_wait and io_uring.completion_queue_entries \
                 in all arms, unless it is the difference to be measured."
                .to_owned(),
        ..Gate::new(GateKind::BatchLimitsDiffer, GateEffect::Warning)
    })
}

/// Returns the number of events or completions that one wait may return.
fn batch_limit(evidence: &Evidence, arm: usize) -> Option<u64> {
    let settings = &evidence.arms[arm].settings;
    let value = |key: &str| settings.iter().find(|it| it.key == key).map(|it| it.value.as_str());
    let number = |key: &str| value(key)?.parse::<u32>().ok();
    if value("backend")?.starts_with("epoll") {
        return number("epoll.events_per_wait").map(u64::from);
    }
    let completions = number("io_uring.completion_queue_entries")?;
    let options = EngineOptions {
        submission_queue_entries: number("io_uring.submission_queue_entries")?,
        completion_queue_entries: (completions > 0).then_some(completions),
        ..EngineOptions::default()
    };
    Some(options.completions().into())
}

/// The CPU time of a stream is that of its bytes only if the server has finished them.
pub(super) fn not_quiet(evidence: &Evidence) -> Option<Gate> {
    let count = |arm| evidence.sum(arm, |round| round.slices_not_quiet.unwrap_or(0) as u64);
    let slices = |arm| evidence.sum(arm, |round| round.slices as u64);
    let arms = evidence.arms_where(|arm| count(arm) > 0)?;
    let few = |&arm: &usize| count(arm) as f64 <= NOT_QUIET_THRESHOLD * slices(arm) as f64;
    let few = arms.iter().all(few);
    let each: Vec<String> =
        arms.iter().map(|&arm| format!("{} of {} slices", count(arm), slices(arm))).collect();
    Some(Gate {
        reason: format!(
            "{} did not become idle before or after the stream ({}), so the CPU time is not that of \
             its bytes.",
            evidence.names(&arms),
            each.join(", ")
        ),
        arms,
        remedy: "Try fewer --connections, or stop other programs.".to_owned(),
        ..Gate::new(
            GateKind::ServerNotQuiet,
            if few { GateEffect::Warning } else { GateEffect::NotCompared },
        )
    })
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
