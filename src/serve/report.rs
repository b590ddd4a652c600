//! The report of a run, as text and as JSON.

use std::fmt::Write;

use ringpoll_backends::{Counters, Report};
use serde_json::{Map, Value, json};

use super::worker_count;
use super::workers::RunningEngine;

/// The reports of all workers of one run.
pub(super) struct RunReport<'run> {
    pub(super) engine: &'run RunningEngine,
    pub(super) reports: &'run [Report],
}

/// Counters that the text shows first, even if zero, each with its name there.
const SUMMARY_COUNTERS: [(&str, &str); 4] = [
    ("accepted", "connections"),
    ("requests", "requests"),
    ("received_bytes", "received_bytes"),
    ("sent_bytes", "sent_bytes"),
];

impl RunReport<'_> {
    fn total(&self) -> Counters {
        let mut total = Counters::default();
        for report in self.reports {
            total += &report.counters;
        }
        total
    }

    /// Returns one line per non-zero counter, summed over the workers; no final newline.
    pub(super) fn text(&self) -> String {
        let total = self.total();
        let mut text = format!("{} · {}", self.engine.name, worker_count(self.reports.len()));
        for (counter, name) in SUMMARY_COUNTERS {
            let value = total.iter().find(|&(name, _)| name == counter).map_or(0, |it| it.1);
            line(&mut text, name, value);
        }
        line(&mut text, "system_calls_per_request", ratio(total.system_calls_per_request()));
        let responses = total.responses.max(1) as f64;
        for (name, count) in total.system_calls.iter() {
            line(&mut text, &format!("  {name}"), ratio(Some(count as f64 / responses)));
        }
        line(&mut text, "events_per_wait", ratio(total.events_per_wait()));
        let shown = |name: &str| SUMMARY_COUNTERS.iter().any(|&(counter, _)| counter == name);
        for (name, value) in total.iter().filter(|&(name, value)| value > 0 && !shown(name)) {
            line(&mut text, name, value);
        }
        text
    }

    /// Returns one JSON object and a newline.
    pub(super) fn json(&self) -> String {
        let object = json!({
            "backend": self.engine.variant.name(),
            "engine": self.engine.name,
            "techniques": self.engine.techniques,
            "workers": self.reports.len(),
            "total": counters(&self.total()),
            "each_worker":
                self.reports.iter().map(|report| counters(&report.counters)).collect::<Vec<_>>(),
        });
        format!("{object}\n")
    }
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(text, "\n  {name:<28} {value:>12}");
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

fn counters(counters: &Counters) -> Value {
    let mut object: Map<_, _> =
        counters.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let calls: Map<_, _> =
        counters.system_calls.iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
    object.insert("system_calls".to_owned(), calls.into());
    let each_request = json!(counters.system_calls_per_request());
    object.insert("system_calls_per_request".to_owned(), each_request);
    object.insert("events_per_wait".to_owned(), json!(counters.events_per_wait()));
    let batch_sizes: Vec<_> = counters
        .batch_sizes
        .iter()
        .map(|(least, waits)| json!({"events_from": least, "waits": waits}))
        .collect();
    object.insert("batch_sizes".to_owned(), batch_sizes.into());
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use ringpoll_backends::Variant;

    use super::*;

    #[test]
    fn run_without_requests_has_a_report() {
        let reports = [Report::default(), Report::default()];
        let engine = RunningEngine {
            variant: Variant::EpollLevel,
            name: "epoll, level-triggered",
            techniques: Vec::new(),
            address: "127.0.0.1:0".parse().unwrap(),
        };
        let run = RunReport { engine: &engine, reports: &reports };
        let text = run.text();
        assert!(text.starts_with("epoll, level-triggered · 2 workers\n"), "{text}");
        assert!(text.contains("requests"), "{text}");
        let json: Value = serde_json::from_str(&run.json()).unwrap();
        assert_eq!(json["each_worker"][1]["requests"], 0);
        assert_eq!(json["total"]["system_calls_per_request"], Value::Null);
    }
}
