//! An outcome on a terminal.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::failures::FailureKind;
use super::figures::{bytes, count, duration, time};
use super::life::{LONG_LIFE, Life};
use super::outcome::{Latencies, Outcome};
use super::pacing::Pace;
use super::plan::Plan;
use super::remarks::remarks;

/// The columns of a table of latencies, and where in the histogram they stand.
pub(super) const QUANTILES: [(&str, f64); 4] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Everything, with a newline at the end.
pub(super) fn text(plan: &Plan, outcome: &Outcome) -> String {
    let mut text = format!("{} · {}\n\n", plan.target, load(plan));
    let _ = writeln!(text, "answer    {}", answer(outcome));
    let _ = writeln!(text, "requests  {}", requests(outcome));
    if plan.life.is_persistent() {
        let _ = writeln!(text, "opened    {}", connections(outcome));
    }
    let _ = writeln!(text, "client    {}", client(outcome));
    let _ = write!(text, "\n{}\n", latencies(plan, outcome));
    if outcome.failures.total() > 0 {
        let _ = write!(text, "\n{}\n", failures(outcome));
    }
    for remark in remarks(plan, outcome) {
        let _ = write!(text, "\nnote: {remark}");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The load, in words.
fn load(plan: &Plan) -> String {
    let mut text = match plan.life {
        Life::OneRequest => "one connection a request · ".to_owned(),
        Life::Persistent { depth: 1 } => "persistent connections · ".to_owned(),
        Life::Persistent { depth } => {
            format!("persistent connections, {depth} requests under way on each · ")
        }
        Life::Mixed { .. } => {
            format!("mixed, one request a connection and {LONG_LIFE}, four to one · ")
        }
    };
    let connections = count(plan.connections as u64);
    let _ = match (plan.pace, plan.burst) {
        (Pace::AsFastAsAnswered, None) => write!(text, "closed loop, {connections} connections"),
        (Pace::AsFastAsAnswered, Some(burst)) => {
            let pause = duration(burst.pause);
            write!(text, "closed loop, bursts of {} after {pause}", burst.connections)
        }
        (Pace::Rate(rate), None) if plan.life.is_persistent() => {
            write!(text, "open loop, {rate} a second, {connections} connections")
        }
        (Pace::Rate(rate), None) => write!(text, "open loop, {rate} a second"),
        (Pace::Rate(rate), Some(burst)) => {
            write!(text, "open loop, {rate} a second in bursts of {}", burst.connections)
        }
    };
    if plan.request.fragments() > 1 {
        let pause = duration(plan.request.pause());
        let _ = write!(text, " · {} fragments {pause} apart", plan.request.fragments());
    }
    if plan.idle > 0 {
        let _ = write!(text, " · {} idle beside it", count(plan.idle as u64));
    }
    text
}

fn answer(outcome: &Outcome) -> String {
    let reference = &outcome.reference;
    let mut text = reference.status_line().unwrap_or("no HTTP").to_owned();
    let (length, body) = (reference.bytes().len() as u64, reference.body_bytes() as u64);
    let _ = write!(text, " · {} bytes, {} of them body · ", count(length), count(body));
    text.push_str(match reference.has_moving_date() {
        true => "every byte verified, except that Date may go on",
        false => "every byte verified",
    });
    text
}

fn requests(outcome: &Outcome) -> String {
    let seconds = outcome.duration.as_secs_f64().max(f64::MIN_POSITIVE);
    format!(
        "{} in {} · {}/s · {}/s received · {} failed",
        count(outcome.completed),
        duration(outcome.duration),
        count(outcome.requests_per_second().round() as u64),
        bytes(outcome.bytes_received as f64 / seconds),
        count(outcome.failures.total()),
    )
}

fn connections(outcome: &Outcome) -> String {
    format!(
        "{} connections · {} ended by the server between two answers",
        count(outcome.connections_opened),
        count(outcome.connections_ended),
    )
}

fn client(outcome: &Outcome) -> String {
    let begun = outcome.begun.max(1) as f64;
    let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6 / begun;
    let cost = &outcome.own_cost;
    format!(
        "{:.1} µs of CPU a request ({:.1} user, {:.1} system) · {:.0} % of a processor",
        micros(cost.cpu()),
        micros(cost.user),
        micros(cost.system),
        cost.busiest * 100.0
    )
}

fn latencies(plan: &Plan, outcome: &Outcome) -> Table {
    let mut table = plain_table();
    let names = QUANTILES.iter().map(|&(name, _)| name);
    table.set_header(["latency"].into_iter().chain(names).chain(["max"]));
    if matches!(plan.pace, Pace::Rate(_)) {
        table.add_row(latency_row("from when due", &outcome.corrected));
        table.add_row(latency_row("from when begun", &outcome.uncorrected));
        table.add_row(latency_row("begun late by", &outcome.lateness));
    } else {
        let name = match plan.life {
            Life::OneRequest => "from connect to end",
            Life::Persistent { .. } | Life::Mixed { .. } => "from request to end",
        };
        table.add_row(latency_row(name, &outcome.uncorrected));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn latency_row(name: &str, latencies: &Latencies) -> Vec<String> {
    let shown = |value: u64| if latencies.is_empty() { "-".to_owned() } else { time(value) };
    let quantiles = QUANTILES.iter().map(|&(_, at)| shown(latencies.value_at_quantile(at)));
    [name.to_owned()].into_iter().chain(quantiles).chain([shown(latencies.max())]).collect()
}

fn failures(outcome: &Outcome) -> Table {
    let mut table = plain_table();
    table.set_header(["failures", "", "the first"]);
    for kind in FailureKind::ALL {
        let failures = &outcome.failures;
        if let Some(first) = failures.first(kind) {
            table.add_row([kind.to_string(), count(failures.of(kind)), first.to_string()]);
        }
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}
