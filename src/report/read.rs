//! Results from files. Anybody may have written them, so nothing in them is taken on trust: the
//! version, the places that point elsewhere, and text that would do something to a terminal.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use super::result::{ComparisonResult, Experiment, Outcome, SCHEMA_VERSION};
use crate::failure::Failure;

/// Reads a result; `-` is standard input.
///
/// # Errors
/// When there is no such file, or no result of this version in it.
pub fn read(path: &Path) -> Result<ComparisonResult, Failure> {
    let failure =
        |problem: String| Failure::Run(format!("ringpoll report: {}: {}", path.display(), problem));
    let text = text_of(path).map_err(|error| failure(error.to_string()))?;
    parse(&text).map_err(failure)
}

fn text_of(path: &Path) -> io::Result<String> {
    if path != Path::new("-") {
        return fs::read_to_string(path);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Reads a result from text.
///
/// # Errors
/// What keeps it from being a result of this version, in words.
pub fn parse(text: &str) -> Result<ComparisonResult, String> {
    let mut value: Value =
        serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))?;
    match value.get("schema_version").and_then(Value::as_u64) {
        Some(version) if version == u64::from(SCHEMA_VERSION) => {}
        Some(version) => {
            return Err(format!(
                "schema version {version}; this program reads version {SCHEMA_VERSION}"
            ));
        }
        None => return Err("this is no result of ringpoll compare: no schema_version".to_owned()),
    }
    make_harmless(&mut value);
    let result: ComparisonResult = serde_json::from_value(value)
        .map_err(|error| format!("this is no result of ringpoll compare: {error}"))?;
    check_places(&result)?;
    Ok(result)
}

/// Writes control characters out, in all texts.
fn make_harmless(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(char::is_control) => *text = written_out(text),
        Value::Array(values) => values.iter_mut().for_each(make_harmless),
        Value::Object(entries) => {
            if entries.keys().any(|key| key.contains(char::is_control)) {
                let taken = std::mem::take(entries);
                entries.extend(taken.into_iter().map(|(key, value)| (written_out(&key), value)));
            }
            entries.values_mut().for_each(make_harmless);
        }
        _ => {}
    }
}

fn written_out(text: &str) -> String {
    let mut harmless = String::new();
    for character in text.chars() {
        if character.is_control() {
            harmless.extend(character.escape_default());
        } else {
            harmless.push(character);
        }
    }
    harmless
}

/// Arms are named by their place in the list of arms, everywhere.
fn check_places(result: &ComparisonResult) -> Result<(), String> {
    let named = result.experiments.iter().flat_map(places).chain(winner(result.outcome));
    let cells = result.crossover.iter().flat_map(|map| &map.cells);
    let named = named.chain(cells.filter_map(|cell| cell.winner));
    let arms = result.arms.len();
    match named.into_iter().find(|&arm| arm >= arms) {
        Some(arm) => Err(format!("arm {arm} is named, and there are only {arms}, from 0 on")),
        None if arms == 0 => Err("there are no arms in it".to_owned()),
        None => Ok(()),
    }
}

fn places(experiment: &Experiment) -> impl Iterator<Item = usize> {
    let comparisons = experiment.comparisons.iter().flat_map(|it| [it.baseline, it.contender]);
    let rungs = experiment.ladder.iter().flat_map(|it| &it.rungs);
    let rungs = rungs.flat_map(|it| [Some(it.arm), it.below]).flatten();
    let gates = experiment.gates.iter().flat_map(|it| it.arms.iter().copied());
    comparisons
        .chain(gates)
        .chain(rungs)
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
