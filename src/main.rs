//! The program `ringpoll`. Its modules are compiled as a library only so that tests can use them;
//! the server engines are the crate `ringpoll_backends`.
//!
//! # The map
//!
//! - `cli.rs`, `cli/`: the command line. Start here: it calls one module for each command.
//! - `serve.rs`, `serve/`: `ringpoll serve`: workers, signals, privileges, the report.
//! - `load.rs`, `load/`: `ringpoll load`: the load generator.
//! - `report.rs`, `report/`: `ringpoll report`: result files, as tables and as a page.
//! - `compare.rs`, `compare/`: the experiment of `ringpoll compare`, its statistics and verdicts.
//! - `result.rs`, `result/`: the model of results, which `compare` fills and `report` shows.
//! - `doctor.rs`, `doctor/`: `ringpoll doctor`: what this kernel, user and sandbox allow.
//! - `manual.rs`, `manual/`: `ringpoll help TOPIC` and `ringpoll man`: the manual.
//! - `config.rs`, `config/`: the configuration: keys, layers, errors.
//! - `print.rs`, `print/`: requests on standard output, without blocking.
//! - `output_file.rs`: files that commands write.
//! - `stop_signals.rs`: signals that stop a measurement.
//! - `console.rs`, `console/`: messages on the terminal, and the live view of a measurement.
//! - `failure.rs`: errors and exit codes.
//! - `build.rs`: the commit in the version.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ringpoll::cli::main()
}
