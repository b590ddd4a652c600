//! The command line: parses it and runs the command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::compare::{CompareArguments, supervisor};
use crate::config::{self, BackendChoice, FlagSetting, Preset, ProtocolChoice, Sources};
use crate::console::{check_printed, eprint_line, print_text};
use crate::doctor::{self, DoctorArguments};
use crate::failure::Failure;
use crate::load::{self, LoadArguments};
use crate::manual;
use crate::report::{self, ReportArguments};
use crate::serve::{self, StatisticsFormat};

mod compare;
mod config_text;

const EXIT_CODES: &str = "\
Exit codes:
  0  success; also a server that a signal has stopped
  1  the command failed, for example because the address is in use
  2  the command line or the configuration is invalid
  3  the kernel refuses the chosen backend";

const COMPARE_EXIT_CODES: &str = "
  4  compare --fail-if: a condition holds
  5  compare --fail-if: a condition is inconclusive, not compared or invalid";

/// One small server on epoll and io_uring, and the benchmark that compares them.
#[derive(Debug, Parser)]
#[command(name = "ringpoll", version, disable_help_subcommand = true)]
#[command(after_help = format!("{}\n{EXIT_CODES}{COMPARE_EXIT_CODES}", manual::list()))]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGINT or SIGTERM; a second signal stops immediately.
    #[command(after_help = EXIT_CODES, after_long_help = config_text::serve_help(EXIT_CODES))]
    Serve(ServeArguments),
    /// Generate load on any HTTP, echo, discard or chargen server, and measure it.
    #[command(after_help = load::EXIT_CODES)]
    Load(Box<LoadArguments>),
    /// Compare servers: which is better here, by how much, how certain, and why.
    Compare(Box<CompareArguments>),
    /// Show the results of earlier comparisons, or several side by side.
    Report(ReportArguments),
    /// Report what this kernel, user and sandbox allow, and how to get the rest.
    #[command(after_help = doctor::EXIT_CODES)]
    Doctor(DoctorArguments),
    /// Show or check the configuration, without serving.
    #[command(subcommand, disable_help_subcommand = true)]
    Config(ConfigCommand),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print a topic of the manual, or the help of a command.
    #[command(after_help = manual::list())]
    Help {
        /// A topic or a command; without one, all are listed.
        #[arg(value_name = "TOPIC")]
        words: Vec<String>,
    },
    /// Write the man pages of all commands (section 1) and topics (section 7).
    Man {
        /// The directory, in which `man1` and `man7` are created.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every value, its origin, and whether it is in force; the output is a valid file.
    #[command(mut_arg("stats", |argument| argument.hide(true)))]
    Show(ServeArguments),
    /// Check whether a file is a valid configuration.
    Check {
        /// The file to check.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct ServeArguments {
    /// Read this file instead of ./config.toml; `none` reads no file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set several keys at once; everything else overrides a preset.
    #[arg(long)]
    preset: Option<Preset>,
    /// The engine: `auto` uses io_uring if the kernel allows it; a named one is used or refused.
    #[arg(long, value_name = "SPEC", value_parser = backend_names())]
    backend: Option<String>,
    /// The protocol: HTTP, or echo, discard or chargen (RFC 862, 863, 864).
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(ProtocolChoice::NAMES))]
    protocol: Option<String>,
    /// Address to listen on; port 0 lets the kernel choose a port.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Number of worker threads, each with its own listener and engine.
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Switch to this user after setup; needs root.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Set any key; the last --set of a key wins, and overrides the flags above.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Format of the report at the end: text on standard error, json on standard output.
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
            ("--protocol", "server.protocol", &self.protocol),
            ("--listen", "server.listen", &self.listen),
            ("--workers", "server.workers", &self.workers),
            ("--user", "server.user", &self.user),
        ];
        let mut flags: Vec<_> = named
            .into_iter()
            .filter_map(|(flag, key, value)| Some(FlagSetting::new(flag, key, value.as_ref()?)))
            .collect();
        for set in &self.set {
            flags.push(FlagSetting::parse_set(set).map_err(Failure::Usage)?);
        }
        let environment = std::env::vars_os().collect();
        Ok(Sources { flags, environment, file: self.config.clone(), preset: self.preset })
    }
}

/// Runs the command; reports an error on standard error.
pub fn main() -> ExitCode {
    if let Some(code) = supervisor::run_if_requested() {
        return code;
    }
    let result = match CommandLine::try_parse() {
        Ok(line) => run(line.command),
        Err(message) => print_message(&message).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            eprint_line(&failure);
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
            print_text(config_text::shown(&config::load(&arguments.sources()?)?))?;
        }
        Command::Config(ConfigCommand::Check { file }) => {
            config::check_file(&file)?;
            print_text(format!("{}: valid\n", file.display()))?;
        }
        Command::Completions { shell } => {
            // The generator panics if it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "ringpoll", &mut script);
            print_text(script)?;
        }
        Command::Help { words } => help(&words)?,
        Command::Man { dir } => manual::write_man_pages(CommandLine::command(), &dir)
            .map_err(|error| Failure::Run(format!("ringpoll man: {}: {error}", dir.display())))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a topic of the manual, or the help of a command.
fn help(words: &[String]) -> Result<(), Failure> {
    if let [word, rest @ ..] = words
        && let Some(topic) = manual::topic(word)
    {
        if let Some(extra) = rest.first() {
            let problem = format!("ringpoll help: {word} is a topic; {extra} cannot follow it.");
            return Err(Failure::Usage(problem));
        }
        return print_text(topic.plain_text());
    }
    let command = CommandLine::command();
    if let Some(word) = words.first()
        && command.find_subcommand(word).is_none()
    {
        let commands: Vec<_> =
            command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        return Err(Failure::Usage(manual::unknown_topic(word, &commands)));
    }
    let words = words.iter().map(String::as_str);
    match CommandLine::try_parse_from(["ringpoll"].into_iter().chain(words).chain(["--help"])) {
        Ok(_) => Ok(()),
        Err(message) => print_message(&message),
    }
}

/// Prints help or the version. Exits with a usage error.
fn print_message(message: &clap::Error) -> Result<(), Failure> {
    if message.use_stderr() {
        message.exit();
    }
    check_printed(message.print())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
