//! Counters of a server that has ended: from the report in this process, or from its JSON report.

use std::collections::HashMap;

use ringpoll_backends::Counters;
use serde_json::Value;

/// Outcomes of the connections, as the server counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub(crate) requests: u64,
    pub(crate) responses: u64,
    pub(crate) request_heads_too_large: u64,
    pub(crate) refused: u64,
    pub(crate) premature_eof: u64,
    pub(crate) connection_errors: u64,
}

impl Outcomes {
    /// Returns `count` requests with their responses.
    pub(crate) fn responses(count: u64) -> Self {
        Self { requests: count, responses: count, ..Self::default() }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            responses: self.responses + other.responses,
            request_heads_too_large: self.request_heads_too_large + other.request_heads_too_large,
            refused: self.refused + other.refused,
            premature_eof: self.premature_eof + other.premature_eof,
            connection_errors: self.connection_errors + other.connection_errors,
        }
    }
}

/// All counters, by name.
pub(crate) struct Totals {
    counters: HashMap<String, u64>,
    pub(crate) system_calls: HashMap<String, u64>,
}

impl Totals {
    pub(crate) fn count(&self, name: &str) -> u64 {
        *self.counters.get(name).unwrap_or_else(|| panic!("there is no counter {name}"))
    }

    pub(crate) fn all_calls(&self) -> u64 {
        self.system_calls.values().sum()
    }

    pub(crate) fn count_calls(&self, name: &str) -> u64 {
        self.system_calls.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn outcomes(&self) -> Outcomes {
        Outcomes {
            requests: self.count("requests"),
            responses: self.count("responses"),
            request_heads_too_large: self.count("request_heads_too_large"),
            refused: self.count("refused"),
            premature_eof: self.count("premature_eof"),
            connection_errors: self.count("connection_errors"),
        }
    }
}

impl From<Counters> for Totals {
    fn from(counters: Counters) -> Self {
        let calls = counters.system_calls.iter();
        let system_calls = calls.map(|(name, count)| (name.to_owned(), count)).collect();
        let counters = counters.iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { counters, system_calls }
    }
}

impl From<&Value> for Totals {
    fn from(total: &Value) -> Self {
        let numbers = |object: &Value| -> HashMap<String, u64> {
            let object = object.as_object().expect("an object");
            let number = |(name, value): (&String, &Value)| Some((name.clone(), value.as_u64()?));
            object.iter().filter_map(number).collect()
        };
        let system_calls = numbers(&total["system_calls"]);
        Self { counters: numbers(total), system_calls }
    }
}
