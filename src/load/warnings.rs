//! Warnings about a result: the symptom, the likely cause, and what to try.

use super::failures::FailureKind;
use super::outcome::{ContinueCounts, EndedBy, IdleCount, Outcome};
use super::plan::Plan;
use super::request::Request;
use super::request_list::RequestList;
use super::response::Reference;
use super::units::{count, time};

/// Scheduling delay of the 99th percentile above which the client is considered late.
const MAX_SCHEDULING_DELAY_NS: u64 = 1_000_000;

/// Connections closed by the server per request above which they are not persistent.
const MAX_CLOSES_PER_REQUEST: f64 = 0.1;

/// Returns the warnings, one line each.
pub(super) fn warnings(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    [
        stopped(outcome),
        not_successful(plan.requests(), plan.list.as_deref(), &outcome.references),
        without_continue(outcome),
        not_as_learned(outcome),
        not_persistent(plan, outcome),
        saturated(outcome),
        delayed(plan, outcome),
        warm_up(outcome),
        idle_connections(outcome),
        source_addresses(outcome),
    ]
    .into_iter()
    .flatten()
    .chain(notes(outcome))
    .collect()
}

/// The unusual properties of the responses, each once.
fn notes(outcome: &Outcome) -> Vec<String> {
    let mut notes = Vec::new();
    for note in outcome.references.iter().flat_map(Reference::notes) {
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

fn stopped(outcome: &Outcome) -> Option<String> {
    match outcome.ended_by {
        EndedBy::Plan => None,
        EndedBy::Stop => Some(format!(
            "The load was stopped. The {} requests in flight are not in the result.",
            count(outcome.unfinished)
        )),
        EndedBy::TimeLimit => Some(
            "The time limit was reached before all requests were started. Try --duration."
                .to_owned(),
        ),
    }
}

/// Warns of responses before the load that are not a success: their cost may be that of an error.
/// There is one for each of the requests, which are those of the list if there is one.
pub fn not_successful(
    requests: &[Request],
    list: Option<&RequestList>,
    references: &[Reference],
) -> Option<String> {
    let mut failed = references.iter().zip(requests).filter(|it| !it.0.is_success());
    let (reference, request) = failed.next()?;
    let remedy = match reference.status() {
        405 | 501 => "Try another --method",
        411 | 413 | 415 | 422 => "Try another --body or --header",
        417 => "Remove --expect-continue",
        _ if list.is_some() => "Change the line of the file",
        _ => "Try --path",
    };
    let line = reference.status_line();
    Some(match list {
        None => format!("The response is `{line}`, which is not a success. {remedy}."),
        Some(list) => format!(
            "The response to {} is `{line}`, and {} of {} requests have no success. {remedy}.",
            request.line(),
            count(1 + failed.count() as u64),
            count(list.requests().len() as u64)
        ),
    })
}

fn without_continue(outcome: &Outcome) -> Option<String> {
    let ContinueCounts { timed_out, final_response, .. } = outcome.continues;
    if timed_out > 0 {
        Some(format!(
            "The server did not send 100 Continue for {} requests, so that each waited for a \
             second. Remove --expect-continue.",
            count(timed_out)
        ))
    } else if final_response > 0 {
        Some(format!(
            "The server sent a final response instead of 100 Continue, or together with it, for {} \
             requests, so that their bodies were not sent.",
            count(final_response)
        ))
    } else {
        None
    }
}

fn not_as_learned(outcome: &Outcome) -> Option<String> {
    let failures = [&outcome.failures, &outcome.warm_up_failures];
    let failed = failures.iter().find(|it| it.of(FailureKind::WrongBytes) > 0)?;
    let entry = failed.first_entry(FailureKind::WrongBytes).unwrap_or(0);
    // The bytes of another protocol cannot be compared in part.
    let reference = outcome.references.get(entry as usize).filter(|it| !it.is_text());
    reference.map(|reference| {
        format!(
            "Responses differ from those before the load ({}). If that is right for this server, \
             try --verify body, status or none.",
            reference.checks()
        )
    })
}

fn not_persistent(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let max = MAX_CLOSES_PER_REQUEST * outcome.completed as f64;
    let too_many = outcome.connections_closed_by_server as f64 > max;
    (plan.lifetime.is_persistent() && too_many).then(|| {
        format!(
            "The server closed its connections: {} were opened for {} requests. This is not a \
             load of persistent connections. Try --load {}.",
            count(outcome.connections_opened),
            count(outcome.completed),
            if plan.request.is_http() { "churn" } else { "crr" }
        )
    })
}

fn saturated(outcome: &Outcome) -> Option<String> {
    outcome.client_cpu.is_saturated().then(|| {
        format!(
            "The client was saturated (client CPU {:.0}%), so it may have limited the throughput. \
             Try --threads, or --rate to compare the CPU time per request.",
            outcome.client_cpu.max_thread_utilization * 100.0
        )
    })
}

fn delayed(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let late_ns = outcome.scheduling_delay.value_at_quantile(0.99);
    (late_ns > MAX_SCHEDULING_DELAY_NS).then(|| {
        let cause = if outcome.max_in_flight >= plan.connections {
            "All connections were busy. Try --connections."
        } else if outcome.client_cpu.is_saturated() {
            "The client was saturated. Try --threads."
        } else {
            "The client did not get a CPU in time. Try --cpus with a CPU that is otherwise idle."
        };
        format!("1% of the requests started more than {} late. {cause}", time(late_ns))
    })
}

fn warm_up(outcome: &Outcome) -> Option<String> {
    let failed = outcome.warm_up_failures.total();
    (failed > 0).then(|| {
        format!("{} requests of the warm-up failed; they are not counted above.", count(failed))
    })
}

fn idle_connections(outcome: &Outcome) -> Option<String> {
    let IdleCount { requested, opened, closed_by_server } = outcome.idle;
    if opened < requested {
        Some(format!("Only {opened} of {requested} idle connections could be opened."))
    } else if closed_by_server > 0 {
        Some(format!(
            "The server closed {closed_by_server} of {opened} idle connections. Its timeouts are \
             the likely cause."
        ))
    } else {
        None
    }
}

fn source_addresses(outcome: &Outcome) -> Option<String> {
    let used = outcome.source_addresses;
    (used > 1).then(|| {
        format!("127.0.0.1 had no free port left. Connections used {used} loopback addresses.")
    })
}
