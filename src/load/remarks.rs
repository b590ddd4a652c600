//! What whoever reads the figures must know about them: the symptom, and the flag to try.

use super::figures::{count, time};
use super::outcome::{EndedBy, Outcome};
use super::plan::Plan;

/// How late requests may be begun in the open loop before it is worth a remark.
const LATE_NS: u64 = 1_000_000;

/// How many connections a server may end, for each request, where they are to persist.
const MOST_ENDS_A_REQUEST: f64 = 0.1;

/// One line each.
pub(super) fn remarks(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    [
        stopped(outcome),
        not_a_success(outcome),
        does_not_persist(plan, outcome),
        saturated(outcome),
        late(plan, outcome),
        warm_up(outcome),
        idle(outcome),
        sources(outcome),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn stopped(outcome: &Outcome) -> Option<String> {
    match outcome.ended_by {
        EndedBy::Plan => None,
        EndedBy::Stop => Some(format!(
            "it was stopped; the {} requests under way then are not in the figures",
            count(outcome.unfinished)
        )),
        EndedBy::TimeLimit => {
            Some("the time was over before all requests were begun; try --duration".to_owned())
        }
    }
}

fn not_a_success(outcome: &Outcome) -> Option<String> {
    let line = outcome.reference.status_line()?;
    (outcome.reference.is_success() == Some(false))
        .then(|| format!("every answer is `{line}`, which is no success; try --path"))
}

fn does_not_persist(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let bearable = MOST_ENDS_A_REQUEST * outcome.completed as f64;
    let too_many = outcome.connections_ended as f64 > bearable;
    (plan.life.is_persistent() && too_many).then(|| {
        format!(
            "the server ended its connections: {} were opened for {} requests, so this is hardly \
             the load that was asked for",
            count(outcome.connections_opened),
            count(outcome.completed)
        )
    })
}

fn saturated(outcome: &Outcome) -> Option<String> {
    outcome.own_cost.is_saturated().then(|| {
        format!(
            "the client was saturated ({:.0} % of a processor): the requests a second are its \
             limit, not the server's; try --threads, or --rate to compare what a request costs",
            outcome.own_cost.busiest * 100.0
        )
    })
}

fn late(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let late_ns = outcome.lateness.value_at_quantile(0.99);
    (late_ns > LATE_NS).then(|| {
        let why = if outcome.most_under_way >= plan.connections {
            "all connections were busy; try --connections"
        } else if outcome.own_cost.is_saturated() {
            "the client could not keep up; try --threads"
        } else {
            "the client was not let run in time; try --cpus with one that is not used otherwise"
        };
        format!("1 % of the requests were begun more than {} late: {why}", time(late_ns))
    })
}

fn warm_up(outcome: &Outcome) -> Option<String> {
    let failed = outcome.warm_up_failures.total();
    (failed > 0).then(|| format!("{} failures in the warm-up, not counted above", count(failed)))
}

fn idle(outcome: &Outcome) -> Option<String> {
    let idle = outcome.idle;
    let (asked_for, opened, lost) = (idle.asked_for, idle.opened, idle.lost);
    if opened < asked_for {
        Some(format!("only {opened} of {asked_for} idle connections could be opened"))
    } else if lost > 0 {
        Some(format!("the server closed {lost} of {opened} idle connections: its deadlines do it"))
    } else {
        None
    }
}

fn sources(outcome: &Outcome) -> Option<String> {
    let used = outcome.source_addresses;
    (used > 1).then(|| {
        format!("127.0.0.1 had no port left, so connections came from {used} addresses of loopback")
    })
}
