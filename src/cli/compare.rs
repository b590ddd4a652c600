//! `ringpoll compare`: runs the comparison and writes its outputs.

use crate::compare::condition::{Condition, Evaluation};
use crate::compare::server_process::RingpollExecutable;
use crate::compare::{CompareArguments, comparison};
use crate::console::{eprint_line, print_text, terminal_width};
use crate::failure::Failure;
use crate::output_file::OutputFile;
use crate::report::{hdr_log, html, terminal};
use crate::result::ComparisonResult;

/// Runs the comparison, writes its result and returns the exit code: 0, or with `--fail-if` 4 if a
/// condition holds and 5 if one is inconclusive.
///
/// # Errors
/// Returns a failure if an output cannot be opened or written, or if there is no result.
pub(super) fn compare(arguments: &CompareArguments) -> Result<u8, Failure> {
    let outputs = Outputs::open(arguments)?;
    let result = comparison::run(arguments, &RingpollExecutable::running())?;
    outputs.write(&result)?;
    Ok(exit_code(&result, arguments))
}

/// The files of the outputs, open for writing.
struct Outputs {
    json: Option<OutputFile>,
    html: Option<OutputFile>,
    hdr_log: Option<OutputFile>,
}

impl Outputs {
    /// Opens the outputs, before anything is measured.
    ///
    /// # Errors
    /// Returns a usage failure if a file cannot be opened, or if two are the same file.
    fn open(arguments: &CompareArguments) -> Result<Self, Failure> {
        let json = OutputFile::open_optional("--json", arguments.json.as_ref())?;
        let html = OutputFile::open_optional("--html", arguments.html.as_ref())?;
        let hdr_log = OutputFile::open_optional("--hdr-log", arguments.hdr_log.as_ref())?;
        OutputFile::check_distinct(&[&json, &html, &hdr_log])?;
        Ok(Self { json, html, hdr_log })
    }

    /// Writes the table to standard output, or to standard error if another output goes to
    /// standard output; then the files.
    ///
    /// # Errors
    /// Returns the first failure to write an output, after all outputs have been tried.
    fn write(self, result: &ComparisonResult) -> Result<(), Failure> {
        let table = terminal::render(result, terminal_width());
        let files = [&self.json, &self.html, &self.hdr_log];
        let is_taken = files.into_iter().flatten().any(OutputFile::is_standard_output);
        let printed = if is_taken {
            eprint_line(table.trim_end());
            Ok(())
        } else {
            print_text(table)
        };
        let written = [
            Some(printed),
            self.json.map(|file| json(result).and_then(|text| file.write_or_rescue(&text))),
            self.html.map(|file| file.write_or_rescue(&html::page(result))),
            self.hdr_log.map(|file| file.write_or_rescue(&hdr_log::log(result))),
        ];
        let mut failures = written.into_iter().flatten().filter_map(Result::err);
        let first = failures.next();
        failures.for_each(eprint_line);
        first.map_or(Ok(()), Err)
    }
}

fn json(result: &ComparisonResult) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(result);
    text.map(|text| text + "\n")
        .map_err(|error| Failure::Run(format!("ringpoll compare: JSON: {error}")))
}

/// Evaluates the conditions of `--fail-if`: 4 if one holds, else 5 if one is inconclusive, else 0.
fn exit_code(result: &ComparisonResult, arguments: &CompareArguments) -> u8 {
    let code_of = |condition: &Condition| {
        let (outcome, code) = match condition.evaluate(result) {
            Evaluation::DoesNotHold => return 0,
            Evaluation::Holds => ("holds", 4),
            Evaluation::Unknown if arguments.allow_inconclusive => ("is inconclusive, allowed", 0),
            Evaluation::Unknown => ("is inconclusive", 5),
        };
        eprint_line(format_args!("ringpoll compare: --fail-if `{condition}` {outcome}"));
        code
    };
    let codes: Vec<u8> = arguments.fail_if.iter().map(code_of).collect();
    if codes.contains(&4) { 4 } else { codes.into_iter().max().unwrap_or(0) }
}
