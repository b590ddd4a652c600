//! The report of a ringpoll server: the JSON that `serve --stats json` prints when it stops.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::result::{BatchSize, ServerCounters};

/// The report of one server process.
#[derive(Clone, Debug)]
pub struct ServerReport {
    /// The engine, by its name in `--backend`.
    pub backend: String,
    /// The optional kernel features in force; empty if the server does not report them.
    pub kernel_features: Vec<String>,
    /// The counters of all workers together.
    pub counters: ServerCounters,
}

#[derive(Deserialize)]
struct Raw {
    backend: String,
    #[serde(default, rename = "techniques")]
    kernel_features: Vec<String>,
    total: RawCounters,
}

#[derive(Deserialize)]
struct RawCounters {
    responses: u64,
    system_calls: BTreeMap<String, u64>,
    events_per_wait: Option<f64>,
    batch_sizes: Vec<RawBatchSize>,
    /// Plain counters, and fields of newer versions.
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
struct RawBatchSize {
    events_from: u64,
    waits: u64,
}

impl ServerReport {
    /// Parses a report.
    ///
    /// # Errors
    /// Returns the error of the JSON parser.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let raw: Raw = serde_json::from_str(text)?;
        let total = raw.total;
        let plain = total.others.into_iter().filter_map(|(name, it)| Some((name, it.as_u64()?)));
        let batch = |it: RawBatchSize| BatchSize { min_events: it.events_from, waits: it.waits };
        let counters = ServerCounters {
            responses: total.responses,
            system_calls: total.system_calls,
            counters: plain.collect(),
            events_per_wait: total.events_per_wait,
            batch_sizes: total.batch_sizes.into_iter().map(batch).collect(),
        };
        Ok(Self { backend: raw.backend, kernel_features: raw.kernel_features, counters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_parsed() {
        let text = r#"{"backend": "epoll:level", "engine": "epoll, level-triggered", "workers": 1,
            "techniques": ["multishot_accept"],
            "total": {"accepted": 3, "responses": 2, "completion_queue_overflows": 0,
                      "system_calls": {"sendto": 2, "close": 3},
                      "system_calls_per_request": 2.5, "events_per_wait": 1.5,
                      "batch_sizes": [{"events_from": 0, "waits": 1}]},
            "each_worker": []}"#;
        let report = ServerReport::parse(text).unwrap();
        assert_eq!(report.backend, "epoll:level");
        assert_eq!(report.kernel_features, ["multishot_accept"]);
        assert_eq!(report.counters.responses, 2);
        assert_eq!(report.counters.system_calls["close"], 3);
        assert_eq!(report.counters.counters["accepted"], 3);
        assert_eq!(report.counters.batch_sizes, [BatchSize { min_events: 0, waits: 1 }]);
        assert!(ServerReport::parse("").is_err());
    }
}
