//! Compares ringpoll's engines with the competitors, all with the same socket options, by
//! `ringpoll compare`, and checks which targets are reached.

mod benchmarks;
mod comparisons;
mod equal_responses;
mod idle_memory;
mod measurement;
mod programs;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use comparisons::Results;
use programs::Programs;

/// Compares ringpoll with the competitors and checks which targets are reached.
#[derive(Parser)]
struct Arguments {
    /// Time for each comparison, such as 60s.
    #[arg(long, value_name = "TIME", default_value = "40s")]
    budget: String,
    /// Measure this ringpoll instead of building it.
    #[arg(long, value_name = "FILE")]
    ringpoll: Option<PathBuf>,
    /// Run only comparisons whose name contains TEXT.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Keep the results of each comparison as a JSON file in DIRECTORY.
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("benchmark: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let programs = Programs::build(arguments.ringpoll.clone())?;
    equal_responses::check(&programs)?;
    let results = Results::measure(&programs, arguments)?;
    println!("{}", table::table(&results, &programs, &arguments.only));
    Ok(())
}
