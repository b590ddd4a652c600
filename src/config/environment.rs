//! Values from the environment: `RINGPOLL_SERVER_LISTEN` sets `server.listen`.

use std::ffi::OsString;

use super::error::nearest;
use super::{ConfigError, KEYS, Layers, Origin};

const PREFIX: &str = "RINGPOLL_";

/// Selects the form of the test suites, which start this program in their environment.
const TEST_FORM: &str = "RINGPOLL_TESTS";

/// Returns the name of the variable that sets a key.
pub fn environment_variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

pub(super) fn apply(
    environment: &[(OsString, OsString)],
    layers: &mut Layers,
) -> Result<(), ConfigError> {
    let mut ours: Vec<_> = environment
        .iter()
        .map(|(variable, value)| (variable.to_string_lossy().into_owned(), value))
        .filter(|(variable, _)| variable.starts_with(PREFIX) && variable != TEST_FORM)
        .collect();
    // The environment has no order; sorted, the first error is always the same.
    ours.sort();
    for (variable, value) in ours {
        let Some(key) = KEYS.iter().find(|key| environment_variable(key.name) == variable) else {
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
    let known = KEYS.iter().map(|key| environment_variable(key.name));
    let hint = nearest(variable, known).map(|name| format!("; did you mean {name}?"));
    ConfigError::new(variable, format!("unknown variable{}", hint.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn variables_of_keys_are_unique() {
        let variables: BTreeSet<_> =
            KEYS.iter().map(|key| environment_variable(key.name)).collect();
        assert_eq!(variables.len(), KEYS.len());
        let queue = "RINGPOLL_IO_URING_SUBMISSION_QUEUE_ENTRIES";
        assert!(variables.contains(queue), "{variables:?}");
    }

    #[test]
    fn form_of_the_tests_is_not_a_setting() {
        let environment = [(TEST_FORM, "full"), ("RINGPOLL_SERVER_BACKLOG", "7")];
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        let mut layers = Layers::defaults();
        apply(&environment, &mut layers).expect("only the backlog is a setting");
        let unknown = [("RINGPOLL_TESTING".into(), "full".into())];
        assert!(apply(&unknown, &mut layers).is_err());
    }
}
