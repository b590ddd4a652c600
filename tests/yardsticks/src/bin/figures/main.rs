//! Measures the figures that are to be reached, and says which of them are: ringpoll's engines
//! against the yardsticks, all with the same socket options, by `ringpoll compare`, which runs them
//! in turns.

mod comparisons;
mod figures;
mod idle_memory;
mod measured;
mod programs;
mod rows;
mod same_answers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use comparisons::Results;
use programs::Programs;

/// Measures the figures that are to be reached, and says which of them are.
#[derive(Parser)]
struct Arguments {
    /// The time for each of the comparisons, such as 60s.
    #[arg(long, value_name = "TIME", default_value = "40s")]
    budget: String,
    /// Take this program, instead of building the one that these sources are.
    #[arg(long, value_name = "FILE")]
    ringpoll: Option<PathBuf>,
    /// Only the comparisons with this in their name; the other figures are not measured.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Keep the whole results there, a JSON file for each comparison.
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("figures: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let programs = Programs::build(arguments.ringpoll.clone())?;
    same_answers::check(&programs)?;
    let results = Results::measure(&programs, arguments)?;
    println!("{}", rows::table(&results, &programs, &arguments.only));
    Ok(())
}
