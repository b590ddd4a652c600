//! A randomised block experiment that compares servers on this machine.
//!
//! The modules in reading order:
//!
//! 1. [`arm`]: the servers to compare; [`arms_file`] and [`command_arm`]: those of other projects.
//!    [`topology`], [`namespace`]: their CPUs and their network. [`supervisor`]: their processes.
//! 2. [`schedule`]: the random order. [`round`]: one server process, measured once.
//!    [`process_usage`], [`kernel_counters`]: what the server used.
//! 3. [`experiment`]: block after block, with interim analyses that may stop it early.
//! 4. [`metrics`], [`statistics`], [`verdict`]: ratios, confidence intervals and verdicts.
//! 5. [`gates`]: conditions that invalidate a verdict, each with a flag to try.
//! 6. [`explanation`]: the sentence of a verdict. [`sweep`]: the crossover map. [`ladder`]: an
//!    incremental ablation. [`condition`]: `--fail-if`.
//! 7. [`comparison`]: the whole experiment, without output.

pub mod arguments;
pub mod arm;
pub mod arms_file;
pub mod calibration;
pub mod captured_output;
pub mod client;
pub mod command_arm;
pub mod comparison;
pub mod condition;
pub mod environment;
pub mod experiment;
pub mod explanation;
pub mod gates;
pub mod hooks;
mod interrupts;
pub mod kernel_counters;
pub mod ladder;
pub mod listener;
pub mod load_client;
pub mod load_shape;
pub mod machine;
pub mod metrics;
pub mod namespace;
pub mod process_tree;
pub mod process_usage;
pub mod progress;
pub mod round;
pub mod schedule;
pub mod server_process;
pub mod server_report;
pub mod statistics;
pub mod summary;
pub mod supervised;
pub mod supervisor;
pub mod sweep;
#[cfg(test)]
mod synthetic;
pub mod topology;
pub mod verdict;

pub use arguments::CompareArguments;
