//! The layer of the environment: `RINGPOLL_SERVER_LISTEN` is `server.listen`.

use std::ffi::OsString;

use super::error::nearest;
use super::{ConfigError, KEYS, Layers, Origin};

const PREFIX: &str = "RINGPOLL_";

/// The variable that sets the key of this name.
pub fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

pub(super) fn apply(
    environment: &[(OsString, OsString)],
    layers: &mut Layers,
) -> Result<(), ConfigError> {
    let mut ours: Vec<_> = environment
        .iter()
        .map(|(variable, value)| (variable.to_string_lossy().into_owned(), value))
        .filter(|(variable, _)| variable.starts_with(PREFIX))
        .collect();
    // The environment has no order of its own, and which error comes first should not vary.
    ours.sort();
    for (variable, value) in ours {
        let Some(key) = KEYS.iter().find(|key| variable_of(key.name) == variable) else {
            return Err(unknown(&variable));
        };
        let Some(value) = value.to_str() else {
            return Err(ConfigError::new(variable, "the value is not valid UTF-8"));
        };
        layers.set_text(&Origin::Environment(variable), key.name, value)?;
    }
    Ok(())
}

fn unknown(variable: &str) -> ConfigError {
    let known = KEYS.iter().map(|key| variable_of(key.name));
    let hint = nearest(variable, known).map(|name| format!("; did you mean {name}?"));
    ConfigError::new(variable, format!("unknown variable{}", hint.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_has_a_variable_of_its_own() {
        let variables: BTreeSet<_> = KEYS.iter().map(|key| variable_of(key.name)).collect();
        assert_eq!(variables.len(), KEYS.len());
        let queue = "RINGPOLL_IO_URING_SUBMISSION_QUEUE_ENTRIES";
        assert!(variables.contains(queue), "{variables:?}");
    }
}
