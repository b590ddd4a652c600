//! Reading result files. They are untrusted input: the schema version and the indices of arms are
//! checked, and control characters are escaped, so that no text can control the terminal.

use std::cmp::Ordering;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;
use crate::result::{ComparisonResult, Experiment, Outcome, SCHEMA_VERSION};

/// Reads a result from a file, or from standard input for `-`.
///
/// # Errors
/// Returns a failure if the file cannot be read or is not a result of this schema version.
pub fn read(path: &Path) -> Result<ComparisonResult, Failure> {
    let failure = |problem: String| Failure::Run(format!("ringpoll report: {problem}"));
    let name = path.display();
    let text = read_text(path).map_err(|error| failure(format!("cannot read {name}: {error}")))?;
    parse(&text).map_err(|problem| failure(format!("{name} {problem}")))
}

fn read_text(path: &Path) -> io::Result<String> {
    if path != Path::new("-") {
        return fs::read_to_string(path);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Parses a result.
///
/// # Errors
/// Returns the problem as a message that continues the name of the file: `is not JSON: …`.
pub fn parse(text: &str) -> Result<ComparisonResult, String> {
    let mut value: Value =
        serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    check_version(&value)?;
    escape_controls(&mut value);
    let result: ComparisonResult = serde_json::from_value(value)
        .map_err(|error| format!("is not a result of ringpoll compare: {error}"))?;
    check_arm_indices(&result)?;
    Ok(result)
}

fn check_version(value: &Value) -> Result<(), String> {
    let Some(version) = value.get("schema_version").and_then(Value::as_u64) else {
        return Err("is not a result of ringpoll compare: it has no schema_version".to_owned());
    };
    let advice = match version.cmp(&u64::from(SCHEMA_VERSION)) {
        Ordering::Equal => return Ok(()),
        Ordering::Less => "Run the comparison again.",
        Ordering::Greater => "Use a newer ringpoll.",
    };
    Err(format!(
        "has schema version {version}; this ringpoll reads only {SCHEMA_VERSION}. {advice}"
    ))
}

/// Escapes control characters in all strings and object keys.
fn escape_controls(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(char::is_control) => *text = escaped(text),
        Value::Array(values) => values.iter_mut().for_each(escape_controls),
        Value::Object(entries) => {
            if entries.keys().any(|key| key.contains(char::is_control)) {
                let old = std::mem::take(entries);
                entries.extend(old.into_iter().map(|(key, value)| (escaped(&key), value)));
            }
            entries.values_mut().for_each(escape_controls);
        }
        _ => {}
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Checks all indices into the list of arms.
fn check_arm_indices(result: &ComparisonResult) -> Result<(), String> {
    let indices = result.experiments.iter().flat_map(arm_indices).chain(winner(result.outcome));
    let cells = result.crossover.iter().flat_map(|map| &map.cells);
    let mut indices = indices.chain(cells.filter_map(|cell| cell.winner));
    let arms = result.arms.len();
    match indices.find(|&arm| arm >= arms) {
        Some(arm) => Err(format!("is invalid: it refers to arm {arm}, but has only {arms} arms")),
        None if arms == 0 => Err("is invalid: it has no arms".to_owned()),
        None => Ok(()),
    }
}

fn arm_indices(experiment: &Experiment) -> impl Iterator<Item = usize> {
    let comparisons = experiment.comparisons.iter().flat_map(|it| [it.baseline, it.candidate]);
    let steps = experiment.ladder.iter().flat_map(|it| &it.steps);
    let steps = steps.flat_map(|it| [Some(it.arm), it.previous]).flatten();
    let gates = experiment.gates.iter().flat_map(|it| it.arms.iter().copied());
    comparisons
        .chain(gates)
        .chain(steps)
        .chain(experiment.summaries.iter().map(|it| it.arm))
        .chain(experiment.rounds.iter().map(|it| it.arm))
        .chain(winner(experiment.outcome))
}

fn winner(outcome: Outcome) -> Option<usize> {
    match outcome {
        Outcome::Winner { arm } => Some(arm),
        _ => None,
    }
}
