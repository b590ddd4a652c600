//! The command line: what can be asked for, and who does it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::compare::{self, CompareArguments};
use crate::config::{self, BackendChoice, FlagSetting, Preset, Sources};
use crate::console::{say, show};
use crate::doctor::{self, DoctorArguments};
use crate::failure::Failure;
use crate::load::{self, LoadArguments};
use crate::report::{self, ReportArguments};
use crate::serve::{self, StatisticsFormat};

mod config_text;

const EXIT_CODES: &str = "\
Exit codes:
  0  it did what it was asked for; a server that was told to stop did
  1  it could not listen on the address, or could not go on
  2  the command line or the configuration makes no sense
  3  the kernel refuses the backend that was asked for";

/// One small server with two engines, epoll and io_uring, chosen at startup.
#[derive(Debug, Parser)]
#[command(name = "ringpoll", version, after_help = EXIT_CODES)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGINT or SIGTERM; a second one ends it at once.
    #[command(after_help = EXIT_CODES, after_long_help = config_text::serve_help(EXIT_CODES))]
    Serve(ServeArguments),
    /// Put a load on a server, ours or any other, and measure it.
    #[command(after_help = load::EXIT_CODES)]
    Load(LoadArguments),
    /// Say which server is better here, by how much, how sure, and why.
    Compare(Box<CompareArguments>),
    /// Show results of comparisons again, or several of them side by side.
    Report(ReportArguments),
    /// Say what this kernel, this user and this sandbox allow, and what can be done about the rest.
    #[command(after_help = doctor::EXIT_CODES)]
    Doctor(DoctorArguments),
    /// Look at the configuration without serving.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell.
    Completions {
        /// The shell that it is for.
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every value in force and where it came from; the output is a valid file.
    #[command(mut_arg("stats", |argument| argument.hide(true)))]
    Show(ServeArguments),
    /// Say whether a file is a valid configuration.
    Check {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct ServeArguments {
    /// Read this file instead of ./config.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Start from these values instead of the defaults.
    #[arg(long)]
    preset: Option<Preset>,
    /// The engine: `auto` takes io_uring if the kernel allows it; a name is used or refused.
    #[arg(long, value_name = "SPEC", value_parser = backend_names())]
    backend: Option<String>,
    /// Where to listen; port 0 lets the kernel choose.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// How many threads serve, each with its own listener and engine.
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Become this user once everything is set up; only root can.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Set any key of the configuration; the last one wins, over the flags above too.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How the report at the end is written: text on standard error, json on standard output.
    #[arg(long, value_enum, default_value_t = StatisticsFormat::Text, value_name = "FORMAT")]
    stats: StatisticsFormat,
}

fn backend_names() -> PossibleValuesParser {
    PossibleValuesParser::new(BackendChoice::names().map(|name| {
        let value = clap::builder::PossibleValue::new(name);
        if name == "io_uring" { value.alias("io-uring") } else { value }
    }))
}

impl ServeArguments {
    fn sources(&self) -> Result<Sources, Failure> {
        let named = [
            ("--backend", "backend", &self.backend),
            ("--listen", "server.listen", &self.listen),
            ("--workers", "server.workers", &self.workers),
            ("--user", "server.user", &self.user),
        ];
        let mut flags: Vec<_> = named
            .into_iter()
            .filter_map(|(flag, key, value)| {
                let value = value.clone()?;
                Some(FlagSetting { flag, key: key.to_owned(), value })
            })
            .collect();
        for set in &self.set {
            let Some((key, value)) = set.split_once('=') else {
                return Err(Failure::Usage(format!("--set: KEY=VALUE is expected, not {set}")));
            };
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            flags.push(FlagSetting { flag: "--set", key, value });
        }
        let environment = std::env::vars_os().collect();
        Ok(Sources { flags, environment, file: self.config.clone(), preset: self.preset })
    }
}

/// Does what the command line asks for, and says what went wrong on standard error.
pub fn main() -> ExitCode {
    match run(CommandLine::parse().command) {
        Ok(code) => code,
        Err(failure) => {
            say(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(arguments) => {
            serve::serve(&config::load(&arguments.sources()?)?, arguments.stats)?;
        }
        Command::Load(arguments) => load::load(&arguments)?,
        Command::Compare(arguments) => return compare::compare(&arguments).map(ExitCode::from),
        Command::Report(arguments) => report::run(&arguments)?,
        Command::Doctor(arguments) => return doctor::doctor(&arguments).map(ExitCode::from),
        Command::Config(ConfigCommand::Show(arguments)) => {
            show(config_text::shown(&config::load(&arguments.sources()?)?));
        }
        Command::Config(ConfigCommand::Check { file }) => {
            config::check_file(&file)?;
            show(format!("{}: valid\n", file.display()));
        }
        Command::Completions { shell } => {
            // Into memory first: the generator panics when its reader goes away.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "ringpoll", &mut script);
            show(script);
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
