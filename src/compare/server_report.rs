//! What our own server says that it did: the object that `serve --stats json` prints at its end.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::report::result::{BatchSize, ServerCounters};

/// The report of one server process.
#[derive(Clone, Debug)]
pub struct ServerReport {
    /// The engine in force, by the name under which it is asked for.
    pub backend: String,
    /// What it uses of the kernel beyond what every engine of its kind does, if it tells.
    pub kernel_features: Vec<String>,
    /// What it counted, all workers together.
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
    answered: u64,
    system_calls: BTreeMap<String, u64>,
    events_per_wait: Option<f64>,
    batch_sizes: Vec<RawBatchSize>,
    /// Every plain counter, and what this does not know.
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
struct RawBatchSize {
    events_from: u64,
    waits: u64,
}

impl ServerReport {
    /// Reads it.
    ///
    /// # Errors
    /// When it is not such an object.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        let raw: Raw = serde_json::from_str(text)?;
        let total = raw.total;
        let plain = total.others.into_iter().filter_map(|(name, it)| Some((name, it.as_u64()?)));
        let batch = |it: RawBatchSize| BatchSize { at_least: it.events_from, waits: it.waits };
        let counters = ServerCounters {
            answered: total.answered,
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
    fn a_report_is_read() {
        let text = r#"{"backend": "epoll:level", "engine": "epoll, level triggered", "workers": 1,
            "techniques": ["multishot_accept"],
            "total": {"accepted": 3, "answered": 2, "completion_queue_overflows": 0,
                      "system_calls": {"sendto": 2, "close": 3},
                      "system_calls_per_request": 2.5, "events_per_wait": 1.5,
                      "batch_sizes": [{"events_from": 0, "waits": 1}]},
            "each_worker": []}"#;
        let report = ServerReport::read(text).unwrap();
        assert_eq!(report.backend, "epoll:level");
        assert_eq!(report.kernel_features, ["multishot_accept"]);
        assert_eq!(report.counters.answered, 2);
        assert_eq!(report.counters.system_calls["close"], 3);
        assert_eq!(report.counters.counters["accepted"], 3);
        assert_eq!(report.counters.batch_sizes, [BatchSize { at_least: 0, waits: 1 }]);
        assert!(ServerReport::read("").is_err());
    }
}
