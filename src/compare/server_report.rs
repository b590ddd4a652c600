//! The report of a ringpoll server: the JSON that `serve --stats json` prints when it stops.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::result::ServerCounters;

/// The report of one server process.
#[derive(Clone, Debug, Deserialize)]
pub struct ServerReport {
    /// The engine, by its name in `--backend`.
    pub backend: String,
    /// The optional kernel features in force; empty if the server does not report them.
    #[serde(default, rename = "techniques")]
    pub kernel_features: Vec<String>,
    /// The counters of all workers together.
    #[serde(rename = "total", deserialize_with = "counters")]
    pub counters: ServerCounters,
}

impl ServerReport {
    /// Parses a report.
    ///
    /// # Errors
    /// Returns the error of the JSON parser.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// Reads the counters. Plain ones, and fields of newer versions, are next to the others.
fn counters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ServerCounters, D::Error> {
    let mut total = Map::deserialize(deserializer)?;
    let is_plain = |(name, value): &(&String, &Value)| value.is_u64() && *name != "responses";
    let plain = total.iter().filter(is_plain).map(|(name, value)| (name.clone(), value.clone()));
    let plain: Map<String, Value> = plain.collect();
    total.insert("counters".to_owned(), plain.into());
    serde_json::from_value(total.into()).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::BatchSize;

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
