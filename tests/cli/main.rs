//! The command line: output, errors, exit codes, signals.

mod config_file;
mod configuration;
mod descriptors;
mod help;
mod output;
mod printing;
mod privileges;
mod program;
mod refusals;
mod response_file;
mod stopping;
mod workers;
