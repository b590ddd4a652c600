//! An outcome for machines.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use serde_json::{Map, Value, json};

use super::failures::{FailureKind, Failures};
use super::life::Life;
use super::outcome::{EndedBy, Latencies, Outcome};
use super::pacing::Pace;
use super::plan::Plan;
use super::remarks::remarks;
use super::table::QUANTILES;

/// The form of the document. The number goes up when a key changes its meaning or goes away.
pub const SCHEMA: &str = "ringpoll.load/1";

/// An outcome and the plan that it is of. Times are in nanoseconds where the key says nothing
/// else.
pub fn document(plan: &Plan, outcome: &Outcome) -> Value {
    json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "target": plan.target.to_string(),
        "load": load(plan),
        "answer": answer(outcome),
        "ended_by": match outcome.ended_by {
            EndedBy::Plan => "plan",
            EndedBy::Stop => "stop",
            EndedBy::TimeLimit => "time_limit",
        },
        "duration_ns": outcome.duration.as_nanos() as u64,
        "requests": {
            "begun": outcome.begun,
            "completed": outcome.completed,
            "failed": outcome.failures.total(),
            "unfinished": outcome.unfinished,
            "completed_per_second": outcome.requests_per_second(),
            "most_under_way": outcome.most_under_way,
        },
        "connections": {
            "opened": outcome.connections_opened,
            "ended_by_the_server_between_answers": outcome.connections_ended,
        },
        "failures": failures(&outcome.failures),
        "warm_up_failures": failures(&outcome.warm_up_failures),
        "bytes_sent": outcome.bytes_sent,
        "bytes_received": outcome.bytes_received,
        "latency": {
            "corrected": latency(&outcome.corrected),
            "uncorrected": latency(&outcome.uncorrected),
            "lateness": latency(&outcome.lateness),
        },
        "idle": {
            "asked_for": outcome.idle.asked_for,
            "opened": outcome.idle.opened,
            "lost": outcome.idle.lost,
        },
        "client": client(plan, outcome),
        "remarks": remarks(plan, outcome),
    })
}

fn load(plan: &Plan) -> Value {
    let rate = match plan.pace {
        Pace::Rate(rate) => Some(rate.as_per_second()),
        Pace::AsFastAsAnswered => None,
    };
    json!({
        "kind": match plan.life {
            Life::OneRequest => "one_connection_a_request",
            Life::Persistent { .. } => "persistent_connections",
            Life::Mixed { .. } => "mixed",
        },
        "depth": plan.life.depth(),
        "seed": match plan.life {
            Life::Mixed { seed } => Some(seed),
            Life::OneRequest | Life::Persistent { .. } => None,
        },
        "loop": if rate.is_some() { "open" } else { "closed" },
        "rate_per_second": rate,
        "connections": plan.connections,
        "burst": plan.burst.map(|burst| json!({
            "connections": burst.connections,
            "pause_ms": burst.pause.as_millis() as u64,
        })),
        "idle": plan.idle,
        "request_bytes": plan.request.bytes().len(),
        "fragments": plan.request.fragments(),
        "fragment_pause_ms": plan.request.pause().as_millis() as u64,
        "requests": plan.requests,
        "duration_ms": plan.duration.map(|duration| duration.as_millis() as u64),
        "warm_up_ms": plan.warm_up.as_millis() as u64,
        "timeout_ms": plan.timeout.as_millis() as u64,
    })
}

fn answer(outcome: &Outcome) -> Value {
    json!({
        "status_line": outcome.reference.status_line(),
        "bytes": outcome.reference.bytes().len(),
        "body_bytes": outcome.reference.body_bytes(),
        "date_may_differ": outcome.reference.has_moving_date(),
    })
}

fn failures(failures: &Failures) -> Value {
    let of = |kind| {
        let first = failures.first(kind).map(|first| first.to_string());
        (kind.name().to_owned(), json!({ "count": failures.of(kind), "first": first }))
    };
    Value::Object(FailureKind::ALL.into_iter().map(of).collect())
}

fn latency(latencies: &Latencies) -> Value {
    let mut object = Map::new();
    object.insert("count".to_owned(), latencies.len().into());
    for (name, quantile) in QUANTILES {
        let key = format!("{}_ns", name.replace('.', "_"));
        object.insert(key, latencies.value_at_quantile(quantile).into());
    }
    object.insert("max_ns".to_owned(), latencies.max().into());
    object.insert("mean_ns".to_owned(), latencies.mean().into());
    object.insert("histogram".to_owned(), histogram_text(latencies).into());
    Value::Object(object)
}

/// All of a histogram, in nanoseconds: HdrHistogram's V2 form with DEFLATE, in base64, which its
/// tools in any language read.
pub fn histogram_text(latencies: &Latencies) -> String {
    let mut bytes = Vec::new();
    let result = V2DeflateSerializer::new().serialize(latencies, &mut bytes);
    result.expect("memory takes all that is written");
    STANDARD.encode(bytes)
}

fn client(plan: &Plan, outcome: &Outcome) -> Value {
    let cost = &outcome.own_cost;
    json!({
        "threads": plan.threads,
        "cpus": plan.cpus,
        "user_ns": cost.user.as_nanos() as u64,
        "system_ns": cost.system.as_nanos() as u64,
        "cpu_ns_per_request": outcome.own_cpu_per_request().as_nanos() as u64,
        "busiest_thread": cost.busiest,
        "saturated": cost.is_saturated(),
        "voluntary_switches": cost.voluntary_switches,
        "involuntary_switches": cost.involuntary_switches,
        "source_addresses": outcome.source_addresses,
    })
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;

    use super::*;
    use crate::load::outcome::latencies;

    #[test]
    fn a_histogram_can_be_read_back() {
        let mut histogram = latencies();
        for value in [1, 43_210, 43_210, 2_000_000_000] {
            histogram.record(value).unwrap();
        }
        let bytes = STANDARD.decode(histogram_text(&histogram)).unwrap();
        let read: Latencies = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        assert_eq!(read, histogram);
    }
}
