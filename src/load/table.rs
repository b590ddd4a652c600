//! The outcome as a table for a terminal.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::failures::FailureKind;
use super::lifetime::{LONG_LIFETIME_REQUESTS, Lifetime};
use super::message::Direction;
use super::outcome::{ContinueCounts, Latencies, Outcome};
use super::pacing::Pace;
use super::plan::Plan;
use super::request::Request;
use super::response::{Closer, Reference};
use super::response_summary::{ResponseSummary, counts_text, range_text};
use super::units::{bytes, count, duration, time};
use super::warnings::warnings;

/// Columns of a table of latencies, and their quantiles.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Returns the whole text, which ends with a newline.
pub(super) fn text(plan: &Plan, outcome: &Outcome) -> String {
    let mut text = format!("{} · {}\n\n", plan.target, load(plan));
    let _ = writeln!(text, "{}", payload(plan, outcome));
    let _ = writeln!(text, "requests     {}", requests(outcome));
    if let Some(stream) = stream(plan, outcome) {
        let _ = writeln!(text, "stream       {stream}");
    }
    if plan.lifetime.is_persistent() {
        let _ = writeln!(text, "connections  {}", connections(outcome));
    }
    let _ = writeln!(text, "client       {}", client(outcome));
    let _ = write!(text, "\n{}\n", latencies(plan, outcome));
    if outcome.failures.total() > 0 {
        let _ = write!(text, "\n{}\n", failures(plan, outcome));
    }
    for warning in warnings(plan, outcome) {
        let _ = write!(text, "\nwarning: {warning}");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Describes the load.
fn load(plan: &Plan) -> String {
    let mut text = match plan.lifetime {
        Lifetime::OneRequest => "one request per connection · ".to_owned(),
        Lifetime::Persistent { depth: 1 } => "persistent connections · ".to_owned(),
        Lifetime::Persistent { depth } => {
            format!("persistent connections, {depth} requests in flight on each · ")
        }
        Lifetime::Mixed { .. } => {
            format!(
                "4 of 5 connections with one request, the fifth with {LONG_LIFETIME_REQUESTS} · "
            )
        }
    };
    let connections = count(plan.connections as u64);
    let _ = match (plan.pace, plan.burst) {
        (Pace::ClosedLoop, None) => write!(text, "closed loop, {connections} connections"),
        (Pace::ClosedLoop, Some(burst)) => {
            let pause = duration(burst.pause);
            write!(text, "closed loop, bursts of {} with pauses of {pause}", burst.connections)
        }
        (Pace::OpenLoop(rate), None) if plan.lifetime.is_persistent() => {
            write!(text, "open loop, {rate} requests/s, {connections} connections")
        }
        (Pace::OpenLoop(rate), None) => write!(text, "open loop, {rate} requests/s"),
        (Pace::OpenLoop(rate), Some(burst)) => {
            write!(text, "open loop, {rate} requests/s in bursts of {}", burst.connections)
        }
    };
    if plan.request.fragments() > 1 {
        let pause = duration(plan.request.pause());
        let _ = write!(text, " · {} fragments with pauses of {pause}", plan.request.fragments());
    }
    text.push_str(&requests_text(plan));
    if plan.idle > 0 {
        let _ = write!(text, " · {} idle connections", count(plan.idle as u64));
    }
    text
}

/// Describes requests that are not GET requests without a body.
fn requests_text(plan: &Plan) -> String {
    let request = &plan.request;
    let mut text = match &plan.list {
        _ if request.message_bytes().is_some() => return String::new(),
        Some(list) => {
            let lines = count(list.line_count() as u64);
            format!(" · {lines} requests of {}, seed {}", list.name(), list.seed())
        }
        None if request.bytes().starts_with(b"GET ") => String::new(),
        None => format!(" · {}", request.line()),
    };
    let bodies = plan.requests().iter().map(Request::body_bytes);
    let longest = bodies.max().unwrap_or(0);
    if longest > 0 {
        let _ = write!(text, " · request bodies of {} bytes", count(longest as u64));
    }
    text
}

fn payload(plan: &Plan, outcome: &Outcome) -> String {
    let Some(summary) = ResponseSummary::of(&outcome.references) else {
        let length = count(plan.request.message_bytes().unwrap_or(0) as u64);
        return format!(
            "messages     {length} bytes · {}",
            match plan.request.direction() {
                None | Some(Direction::Both) => "every byte of every echo verified",
                Some(Direction::Recv) => "every byte received verified",
                Some(Direction::Send) => "sent to a discard server",
            }
        );
    };
    let mut text = format!(
        "response     {} · {} bytes, body {} · {}",
        counts_text(&summary.status_lines),
        range_text(summary.bytes),
        range_text(summary.body_bytes),
        counts_text(&summary.checks)
    );
    if !plan.lifetime.is_persistent() {
        let _ = match &summary.closers[..] {
            [(side, _)] => {
                write!(text, "\nclosing      by the {side}, so TIME_WAIT is on its side")
            }
            sides => write!(text, "\nclosing      {} of the responses", counts_text(sides)),
        };
    }
    if plan.requests().iter().any(Request::expects_continue) {
        let ContinueCounts { continued, timed_out, final_response } = outcome.continues;
        let _ = write!(
            text,
            "\ncontinue     {} bodies sent after 100 Continue · {} after a second without it · {} \
             not sent",
            count(continued),
            count(timed_out),
            count(final_response)
        );
    }
    text
}

fn requests(outcome: &Outcome) -> String {
    let seconds = outcome.duration.as_secs_f64().max(f64::MIN_POSITIVE);
    format!(
        "{} in {} · {} requests/s · {}/s received · {} failed",
        count(outcome.completed),
        duration(outcome.duration),
        count(outcome.requests_per_second().round() as u64),
        bytes(outcome.bytes_received as f64 / seconds),
        count(outcome.failures.total()),
    )
}

fn stream(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let (direction, length) = (plan.request.direction()?, plan.request.message_bytes()?);
    Some(format!(
        "{} · {:.3} GB/s · {:.3} s of client CPU time per GiB",
        direction.name(),
        outcome.gigabytes_per_second(length),
        outcome.client_cpu_seconds_per_gib(length),
    ))
}

fn connections(outcome: &Outcome) -> String {
    format!(
        "{} opened · {} closed by the server between two responses",
        count(outcome.connections_opened),
        count(outcome.connections_closed_by_server),
    )
}

fn client(outcome: &Outcome) -> String {
    let started = outcome.started.max(1) as f64;
    let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6 / started;
    let cpu = &outcome.client_cpu;
    format!(
        "{:.1} µs of CPU time per request ({:.1} user, {:.1} system) · CPU utilization {:.0}%",
        micros(cpu.total()),
        micros(cpu.user),
        micros(cpu.system),
        cpu.max_thread_utilization * 100.0
    )
}

fn latencies(plan: &Plan, outcome: &Outcome) -> Table {
    let mut table = plain_table();
    let names = QUANTILES.iter().map(|&(name, _)| name);
    table.set_header(["latency"].into_iter().chain(names).chain(["max"]));
    if matches!(plan.pace, Pace::OpenLoop(_)) {
        table.add_row(latency_row("corrected for coordinated omission", &outcome.corrected));
        table.add_row(latency_row("uncorrected", &outcome.uncorrected));
        table.add_row(latency_row("scheduling delay", &outcome.scheduling_delay));
    } else {
        let closer = outcome.reference().map(Reference::closer);
        let name = match plan.lifetime {
            Lifetime::OneRequest if closer == Some(Closer::Client) => "connect to end of response",
            Lifetime::OneRequest => "connect to end of stream",
            Lifetime::Persistent { .. } | Lifetime::Mixed { .. } => "request to end of response",
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

fn failures(plan: &Plan, outcome: &Outcome) -> Table {
    let mut table = plain_table();
    table.set_header(["failures", "", "first"]);
    for kind in FailureKind::ALL {
        let failures = &outcome.failures;
        if let Some(first) = failures.first_text(kind, plan) {
            table.add_row([kind.to_string(), count(failures.of(kind)), first]);
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
