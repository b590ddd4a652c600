//! The outcome as JSON.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use serde_json::{Map, Value, json};

use super::failures::{FailureCounts, FailureKind};
use super::framing::Framing;
use super::lifetime::Lifetime;
use super::outcome::{ContinueCounts, EndedBy, Latencies, Outcome};
use super::pacing::Pace;
use super::plan::Plan;
use super::request::Request;
use super::response::Closer;
use super::response_summary::ResponseSummary;
use super::warnings::warnings;

/// The schema of the document. Its number is raised when a key is removed or changes its meaning.
pub const SCHEMA: &str = "ringpoll.load/3";

const QUANTILES: [(&str, f64); 5] = [
    ("p50_ns", 0.5),
    ("p90_ns", 0.9),
    ("p99_ns", 0.99),
    ("p99_9_ns", 0.999),
    ("p99_99_ns", 0.9999),
];

/// Returns the document of a plan and its outcome. Keys name the units of their values.
pub fn document(plan: &Plan, outcome: &Outcome) -> Value {
    json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "target": plan.target.to_string(),
        "load": load(plan),
        "response": response(plan, outcome),
        "responses": responses(plan, outcome),
        "stream": stream(plan, outcome),
        "ended_by": match outcome.ended_by {
            EndedBy::Plan => "plan",
            EndedBy::Stop => "stop",
            EndedBy::TimeLimit => "time_limit",
        },
        "duration_ns": outcome.duration.as_nanos() as u64,
        "requests": {
            "started": outcome.started,
            "completed": outcome.completed,
            "failed": outcome.failures.total(),
            "unfinished": outcome.unfinished,
            "completed_per_second": outcome.requests_per_second(),
            "max_in_flight": outcome.max_in_flight,
        },
        "connections": {
            "opened": outcome.connections_opened,
            "closed_by_server_between_responses": outcome.connections_closed_by_server,
        },
        "interim_responses": outcome.interim_responses,
        "expect_continue": expect_continue(plan, outcome),
        "failures": failures(plan, &outcome.failures),
        "warm_up_failures": failures(plan, &outcome.warm_up_failures),
        "bytes_sent": outcome.bytes_sent,
        "bytes_received": outcome.bytes_received,
        "latency": {
            "corrected": latency(&outcome.corrected),
            "uncorrected": latency(&outcome.uncorrected),
            "scheduling_delay": latency(&outcome.scheduling_delay),
        },
        "idle": {
            "requested": outcome.idle.requested,
            "opened": outcome.idle.opened,
            "closed_by_server": outcome.idle.closed_by_server,
        },
        "client": client(plan, outcome),
        "warnings": warnings(plan, outcome),
    })
}

fn load(plan: &Plan) -> Value {
    let rate = match plan.pace {
        Pace::OpenLoop(rate) => Some(rate.as_per_second()),
        Pace::ClosedLoop => None,
    };
    json!({
        "kind": match plan.lifetime {
            Lifetime::OneRequest => "one_request_per_connection",
            Lifetime::Persistent { .. } => "persistent_connections",
            Lifetime::Mixed { .. } => "mixed",
        },
        "depth": plan.lifetime.depth(),
        "seed": match (plan.lifetime, &plan.list) {
            (Lifetime::Mixed { seed }, _) => Some(seed),
            (_, Some(list)) => Some(list.seed()),
            (Lifetime::OneRequest | Lifetime::Persistent { .. }, None) => None,
        },
        "loop": if rate.is_some() { "open" } else { "closed" },
        "rate_per_second": rate,
        "connections": plan.connections,
        "burst": plan.burst.map(|burst| json!({
            "connections": burst.connections,
            "pause_ms": burst.pause.as_millis() as u64,
        })),
        "idle": plan.idle,
        "request_bytes": plan.request.message_bytes().unwrap_or(plan.request.bytes().len()),
        "request": plan.request.message_bytes().is_none().then(|| plan.request.line()),
        "request_body_bytes": plan.request.body_bytes(),
        "expect_continue": plan.requests().iter().any(Request::expects_continue),
        "requests_from": plan.list.as_ref().map(|list| json!({
            "file": list.name(),
            "lines": list.line_count(),
            "distinct": list.requests().len(),
        })),
        "messages": !plan.request.is_http(),
        "fragments": plan.request.fragments(),
        "fragment_pause_ms": plan.request.pause().as_millis() as u64,
        "requests": plan.requests,
        "duration_ms": plan.duration.map(|duration| duration.as_millis() as u64),
        "warm_up_ms": plan.warm_up.as_millis() as u64,
        "timeout_ms": plan.timeout.as_millis() as u64,
    })
}

fn stream(plan: &Plan, outcome: &Outcome) -> Value {
    let request = (plan.request.direction(), plan.request.message_bytes());
    let (Some(direction), Some(length)) = request else { return Value::Null };
    json!({
        "direction": direction.name(),
        "gigabytes_per_second": outcome.gigabytes_per_second(length),
        "client_cpu_seconds_per_gib": outcome.client_cpu_seconds_per_gib(length),
    })
}

fn response(plan: &Plan, outcome: &Outcome) -> Value {
    outcome.reference().map_or(Value::Null, |reference| {
        let closer = (!plan.lifetime.is_persistent()).then(|| reference.closer());
        json!({
            "status_line": reference.status_line(),
            "bytes": reference.bytes().len(),
            "body_bytes": reference.body().len(),
            "framing": match reference.framing() {
                Framing::Length(_) => "length",
                Framing::Chunked => "chunked",
                Framing::UntilClose => "until_close",
            },
            "verified": reference.checks_text(),
            "varying_fields": reference.checks().varying_fields(),
            "closed_first_by": closer.map(|closer| match closer {
                Closer::Server => "server",
                Closer::Client => "client",
            }),
        })
    })
}

/// The responses to a list of requests. `response` is that to its first one.
fn responses(plan: &Plan, outcome: &Outcome) -> Value {
    let summary = ResponseSummary::of(&outcome.references).filter(|_| plan.list.is_some());
    let object = |counts: &[(String, usize)]| {
        let entries = counts.iter().map(|(value, count)| (value.clone(), (*count).into()));
        Value::Object(entries.collect())
    };
    summary.map_or(Value::Null, |summary| {
        json!({
            "status_lines": object(&summary.status_lines),
            "verified": object(&summary.checks),
            "closed_first_by":
                (!plan.lifetime.is_persistent()).then(|| object(&summary.closers)),
            "min_body_bytes": summary.body_bytes.0,
            "max_body_bytes": summary.body_bytes.1,
        })
    })
}

fn expect_continue(plan: &Plan, outcome: &Outcome) -> Value {
    if !plan.requests().iter().any(Request::expects_continue) {
        return Value::Null;
    }
    let ContinueCounts { continued, timed_out, final_response } = outcome.continues;
    json!({
        "continued": continued,
        "body_sent_after_timeout": timed_out,
        "final_response_without_continue": final_response,
    })
}

fn failures(plan: &Plan, failures: &FailureCounts) -> Value {
    let of = |kind| {
        let first = failures.first(kind).map(|first| first.to_string());
        let entry = failures.first_entry(kind).filter(|_| plan.list.is_some());
        let request = entry.map(|entry| plan.requests()[entry as usize].line());
        (kind, json!({ "count": failures.of(kind), "first": first, "first_request": request }))
    };
    json!(BTreeMap::from(FailureKind::ALL.map(of)))
}

fn latency(latencies: &Latencies) -> Value {
    let mut object = Map::new();
    object.insert("count".to_owned(), latencies.len().into());
    for (key, quantile) in QUANTILES {
        object.insert(key.to_owned(), latencies.value_at_quantile(quantile).into());
    }
    object.insert("max_ns".to_owned(), latencies.max().into());
    object.insert("mean_ns".to_owned(), latencies.mean().into());
    object.insert("histogram".to_owned(), histogram_text(latencies).into());
    Value::Object(object)
}

/// Encodes a histogram of nanoseconds: HdrHistogram V2 with DEFLATE, in base64, which the
/// HdrHistogram tools of other languages read.
pub fn histogram_text(latencies: &Latencies) -> String {
    let mut bytes = Vec::new();
    let result = V2DeflateSerializer::new().serialize(latencies, &mut bytes);
    result.expect("writing to memory does not fail");
    STANDARD.encode(bytes)
}

fn client(plan: &Plan, outcome: &Outcome) -> Value {
    let cpu = &outcome.client_cpu;
    json!({
        "threads": plan.threads,
        "cpus": plan.cpus,
        "user_ns": cpu.user.as_nanos() as u64,
        "system_ns": cpu.system.as_nanos() as u64,
        "cpu_ns_per_request": outcome.client_cpu_per_request().as_nanos() as u64,
        "max_thread_utilization": cpu.max_thread_utilization,
        "saturated": cpu.is_saturated(),
        "voluntary_switches": cpu.voluntary_switches,
        "involuntary_switches": cpu.involuntary_switches,
        "source_addresses": outcome.source_addresses,
    })
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;

    use super::*;
    use crate::load::outcome::new_latencies;

    #[test]
    fn encoded_histogram_can_be_decoded() {
        let mut histogram = new_latencies();
        for value in [1, 43_210, 43_210, 2_000_000_000] {
            histogram.record(value).unwrap();
        }
        let bytes = STANDARD.decode(histogram_text(&histogram)).unwrap();
        let read: Latencies = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        assert_eq!(read, histogram);
    }
}
