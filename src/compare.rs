//! The experiment: which of several servers is better here, by how much, how sure, and why.
//!
//! Read in this order:
//!
//! 1. [`arm`]: what is compared. [`topology`], [`namespace`]: where.
//! 2. [`schedule`]: in which order. [`round`]: one server process, measured once.
//! 3. [`experiment`]: block after block, with a few looks at the data, until it is decided.
//! 4. [`metrics`], [`statistics`], [`judgement`]: from rounds to ratios, intervals and verdicts.
//! 5. [`gates`]: what makes a verdict worthless, and which flag to try.
//! 6. [`words`]: the sentence; [`sweep`]: the map; [`ladder`]: rung by rung; [`condition`]:
//!    `--fail-if`.
//! 7. [`comparison`]: all of it together.

pub mod arguments;
pub mod arm;
pub mod calibration;
pub mod client;
pub mod comparison;
pub mod condition;
pub mod environment;
pub mod experiment;
pub mod gates;
mod interrupts;
pub mod judgement;
pub mod ladder;
pub mod listening;
pub mod load_client;
pub mod load_shape;
pub mod machine;
pub mod metrics;
pub mod namespace;
pub mod output;
pub mod process_use;
pub mod progress;
pub mod round;
pub mod schedule;
pub mod server_process;
pub mod server_report;
pub mod statistics;
pub mod summary;
pub mod sweep;
#[cfg(test)]
mod synthetic;
pub mod terminal;
pub mod topology;
pub mod words;

pub use arguments::CompareArguments;

use crate::failure::Failure;
use server_process::OwnProgram;

/// Compares, reports, and returns the exit code: 0, or with `--fail-if` 4 when a condition holds
/// and 5 when that cannot be told.
///
/// # Errors
/// When there is nothing to report.
pub fn compare(arguments: &CompareArguments) -> Result<u8, Failure> {
    let result = comparison::run(arguments, &OwnProgram::running())?;
    output::write(&result, arguments)?;
    Ok(output::exit_code(&result, arguments))
}
