//! Errors of the configuration, with their place.

use std::fmt;

use super::{DEFAULT_FILE, KEYS, NO_FILE, Origin};

/// A problem in one line that starts with its place, as in messages of compilers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    place: Option<String>,
    problem: String,
}

impl ConfigError {
    pub(super) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: Some(place.into()), problem: problem.into() }
    }

    pub(super) fn without_place(problem: impl Into<String>) -> Self {
        Self { place: None, problem: problem.into() }
    }

    pub(super) fn at(origin: &Origin, problem: impl Into<String>) -> Self {
        Self { place: origin.place(), problem: problem.into() }
    }

    /// Adds which file was read, why, and the way to ignore it.
    pub(super) fn in_default_file(mut self) -> Self {
        let path = std::path::absolute(DEFAULT_FILE).unwrap_or_else(|_| DEFAULT_FILE.into());
        self.problem += &format!(
            " (this is {}, which is read because it is ./{DEFAULT_FILE} of the current folder; \
             --config {NO_FILE} ignores it, --config FILE reads another)",
            path.display()
        );
        self
    }

    /// Names the arm of a comparison in an error of its own settings.
    pub(crate) fn in_arm(mut self, spec: &str) -> Self {
        if let Some(place) = self.place.as_mut().filter(|place| place.as_str() == "arm") {
            *place = format!("arm {spec}");
        }
        self
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

/// Returns the known name that is most similar to `name`; `None` if none is similar enough.
pub(crate) fn nearest<S: AsRef<str>>(name: &str, known: impl Iterator<Item = S>) -> Option<S> {
    // Found by trial: names with one or two typing errors are above it, other words below.
    const MIN_SIMILARITY: f64 = 0.7;
    let last_part = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    known
        .map(|candidate| {
            let whole = strsim::normalized_damerau_levenshtein(name, candidate.as_ref());
            // The key may be in the wrong table.
            let last = (last_part(name), last_part(candidate.as_ref()));
            let last = strsim::normalized_damerau_levenshtein(&last.0, &last.1);
            (whole.max(last * 0.99), candidate)
        })
        .filter(|&(likeness, _)| likeness >= MIN_SIMILARITY)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_key_is_found_despite_typing_errors_and_wrong_tables() {
        let nearest = |name| nearest(name, KEYS.iter().map(|key| key.name));
        assert_eq!(nearest("server.backlg"), Some("server.backlog"));
        assert_eq!(nearest("backlog"), Some("server.backlog"));
        assert_eq!(nearest("bakend"), Some("backend"));
        assert_eq!(nearest("limits.listen"), Some("server.listen"));
        assert_eq!(nearest("server.colour"), None);
    }
}
