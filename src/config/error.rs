//! What is wrong with a configuration, and where.

use std::fmt;

use super::{KEYS, Origin};

/// One problem, in one line that starts with its place, as compilers write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    place: Option<String>,
    problem: String,
}

impl ConfigError {
    pub(super) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: Some(place.into()), problem: problem.into() }
    }

    pub(super) fn nowhere(problem: impl Into<String>) -> Self {
        Self { place: None, problem: problem.into() }
    }

    pub(super) fn at(origin: &Origin, problem: impl Into<String>) -> Self {
        Self { place: origin.place(), problem: problem.into() }
    }

    pub(super) fn unknown_key(origin: &Origin, name: &str) -> Self {
        let known = KEYS.iter().map(|key| key.name);
        let hint = nearest(name, known).map(|name| format!("; did you mean {name}?"));
        Self::at(origin, format!("unknown key {name}{}", hint.unwrap_or_default()))
    }
}

impl fmt::Display for ConfigError {
    /// `config.toml:7: the problem`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(formatter, "{place}: {}", self.problem),
            None => formatter.write_str(&self.problem),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The known name that `name` was most likely meant to be; `None` if it is like none of them.
pub(super) fn nearest<S: AsRef<str>>(name: &str, known: impl Iterator<Item = S>) -> Option<S> {
    // Found by trial: one or two slips in a name stay above it, other words stay below.
    const ALIKE: f64 = 0.7;
    let last_part = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    known
        .map(|candidate| {
            let whole = strsim::normalized_damerau_levenshtein(name, candidate.as_ref());
            // A key that was put under the wrong table is still the same key.
            let last = (last_part(name), last_part(candidate.as_ref()));
            let last = strsim::normalized_damerau_levenshtein(&last.0, &last.1);
            (whole.max(last * 0.99), candidate)
        })
        .filter(|&(likeness, _)| likeness >= ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_through_slips_and_under_the_wrong_table() {
        let nearest = |name| nearest(name, KEYS.iter().map(|key| key.name));
        assert_eq!(nearest("server.backlg"), Some("server.backlog"));
        assert_eq!(nearest("backlog"), Some("server.backlog"));
        assert_eq!(nearest("bakend"), Some("backend"));
        assert_eq!(nearest("limits.listen"), Some("server.listen"));
        assert_eq!(nearest("server.colour"), None);
    }
}
