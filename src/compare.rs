//! `ringpoll compare`: a randomised block experiment that compares servers on this machine.
//!
//! The modules in reading order:
//!
//! 1. [`arm`]: the servers to compare. [`topology`], [`namespace`]: their CPUs and their network.
//! 2. [`schedule`]: the random order. [`round`]: one server process, measured once.
//! 3. [`experiment`]: block after block, with interim analyses that may stop it early.
//! 4. [`metrics`], [`statistics`], [`verdict`]: ratios, confidence intervals and verdicts.
//! 5. [`gates`]: conditions that invalidate a verdict, each with a flag to try.
//! 6. [`explanation`]: the sentence of a verdict. [`sweep`]: the crossover map. [`ladder`]: an
//!    incremental ablation. [`condition`]: `--fail-if`.
//! 7. [`comparison`]: the whole command.

pub mod arguments;
pub mod arm;
pub mod calibration;
pub mod client;
pub mod comparison;
pub mod condition;
pub mod environment;
pub mod experiment;
pub mod explanation;
pub mod gates;
mod interrupts;
pub mod ladder;
pub mod listener;
pub mod load_client;
pub mod load_shape;
pub mod machine;
pub mod metrics;
pub mod namespace;
pub mod output;
pub mod process_usage;
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
pub mod verdict;

pub use arguments::CompareArguments;

use crate::failure::Failure;
use output::Outputs;
use server_process::RingpollExecutable;

/// Runs the comparison, writes its result and returns the exit code: 0, or with `--fail-if` 4 if a
/// condition holds and 5 if one is inconclusive.
///
/// # Errors
/// Returns a failure if an output cannot be opened or written, or if there is no result.
pub fn compare(arguments: &CompareArguments) -> Result<u8, Failure> {
    let outputs = Outputs::open(arguments)?;
    let result = comparison::run(arguments, &RingpollExecutable::running())?;
    outputs.write(&result)?;
    Ok(output::exit_code(&result, arguments))
}
