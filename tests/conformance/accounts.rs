//! What a server counted, however it was told: by a report in this process or as JSON.

use std::collections::HashMap;

use ringpoll_backends::Counters;
use serde_json::Value;

/// What became of the connections, as the server counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    pub(crate) requests: u64,
    pub(crate) answered: u64,
    pub(crate) heads_too_large: u64,
    pub(crate) refused: u64,
    pub(crate) ended_early: u64,
    pub(crate) connection_errors: u64,
}

impl Accounts {
    /// So many requests, and an answer to each.
    pub(crate) fn answered(count: u64) -> Self {
        Self { requests: count, answered: count, ..Self::default() }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            answered: self.answered + other.answered,
            heads_too_large: self.heads_too_large + other.heads_too_large,
            refused: self.refused + other.refused,
            ended_early: self.ended_early + other.ended_early,
            connection_errors: self.connection_errors + other.connection_errors,
        }
    }
}

/// The plain counters of a server that has ended, by name.
pub(crate) struct Totals {
    counters: HashMap<String, u64>,
    pub(crate) system_calls: HashMap<String, u64>,
}

impl Totals {
    pub(crate) fn of(&self, name: &str) -> u64 {
        *self.counters.get(name).unwrap_or_else(|| panic!("there is no counter {name}"))
    }

    /// How many system calls there were.
    pub(crate) fn calls(&self) -> u64 {
        self.system_calls.values().sum()
    }

    /// How many of them were of that name.
    pub(crate) fn calls_of(&self, name: &str) -> u64 {
        self.system_calls.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn accounts(&self) -> Accounts {
        Accounts {
            requests: self.of("requests"),
            answered: self.of("answered"),
            heads_too_large: self.of("heads_too_large"),
            refused: self.of("refused"),
            ended_early: self.of("ended_early"),
            connection_errors: self.of("connection_errors"),
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
