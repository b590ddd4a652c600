//! Where a result goes, and the exit code that it comes to.

use std::path::Path;

use super::arguments::CompareArguments;
use super::condition::{Answer, Condition};
use super::terminal;
use crate::console::{say, show};
use crate::failure::Failure;
use crate::report::result::ComparisonResult;
use crate::report::{arguments as report, html};

/// Writes the table to standard output, and the JSON and the page where they were asked for. With
/// `--json -` or `--html -` the standard output is for that alone.
///
/// # Errors
/// When a file cannot be written.
pub fn write(result: &ComparisonResult, arguments: &CompareArguments) -> Result<(), Failure> {
    let table = terminal::render(result, report::terminal_width());
    let files = [&arguments.json, &arguments.html];
    if files.into_iter().flatten().any(|path| path == Path::new("-")) {
        say(table.trim_end());
    } else {
        show(table);
    }
    if let Some(path) = &arguments.json {
        report::write(path, &json(result)?)?;
    }
    if let Some(path) = &arguments.html {
        report::write(path, &html::page(result))?;
    }
    Ok(())
}

fn json(result: &ComparisonResult) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(result);
    text.map(|text| text + "\n")
        .map_err(|error| Failure::Run(format!("ringpoll compare: JSON: {error}")))
}

/// 4 if a condition of `--fail-if` holds, else 5 if one cannot be told, else 0.
pub fn exit_code(result: &ComparisonResult, arguments: &CompareArguments) -> u8 {
    let code_of = |condition: &Condition| {
        let (word, code) = match condition.ask(result) {
            Answer::DoesNotHold => return 0,
            Answer::Holds => ("it is so", 4),
            Answer::Unknown if arguments.allow_inconclusive => ("it cannot be told", 0),
            Answer::Unknown => ("it cannot be told", 5),
        };
        say(format_args!("ringpoll compare: --fail-if {condition}: {word}"));
        code
    };
    let codes: Vec<u8> = arguments.fail_if.iter().map(code_of).collect();
    if codes.contains(&4) { 4 } else { codes.into_iter().max().unwrap_or(0) }
}
