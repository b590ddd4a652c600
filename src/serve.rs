//! Serving: workers are started, run until a signal, and reported on.

mod descriptors;
mod pinning;
mod privileges;
mod report;
mod response;
mod signals;
mod worker_plan;
mod workers;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use ringpoll_backends::{Stop, Variant};

use crate::config::{BackendChoice, Config, Loaded, automatic};
use crate::console::say;
use crate::failure::Failure;
use crate::print::StandardOutput;

pub use descriptors::connections_in_force;
use report::RunReport;
use worker_plan::WorkerPlan;
use workers::{StartError, Team};

/// How long a report waits for whoever reads standard output.
const REPORT_PATIENCE: Duration = Duration::from_secs(1);

/// How the report at the end is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatisticsFormat {
    /// Lines for people, on standard error.
    Text,
    /// One JSON object, on standard output.
    Json,
}

/// Serves until a signal asks for the stop, and reports what was done.
///
/// # Errors
/// When a worker cannot start, the backend that was asked for is refused, or a worker ends with
/// an error; in this last case what was done is reported all the same.
pub fn serve(loaded: &Loaded, statistics: StatisticsFormat) -> Result<(), Failure> {
    let config = &loaded.config;
    let stop = Stop::new()?;
    signals::watch(stop.clone(), config.server.drain_timeout_ms)
        .map_err(|error| run_failure("signals", &error))?;
    descriptors::raise_limit(config);
    let output = standard_output(config)
        .map_err(|error| run_failure("standard output cannot be made not to wait", &error))?;
    let plan = Arc::new(WorkerPlan::new(config.clone(), stop, Arc::clone(&output))?);

    let team = start(&plan, config.backend)?;
    // What needs privileges has been done: the ports are bound, and the rings have their memory.
    privileges::give_up(&config.server.user)?;
    say(start_line(&team, loaded));
    privileges::warn_if_root();
    let run = team.run();

    let report = RunReport {
        backend: run.variant,
        engine: run.engine,
        techniques: &run.techniques,
        reports: &run.reports,
    };
    // Every worker and its printer are gone, so nobody else holds it.
    let output = std::mem::replace(
        &mut *output.lock().unwrap_or_else(PoisonError::into_inner),
        StandardOutput::as_it_is(),
    );
    let last = match statistics {
        StatisticsFormat::Text => String::new(),
        StatisticsFormat::Json => report.json(),
    };
    if let Err(error) = output.finish(last.as_bytes(), REPORT_PATIENCE) {
        say(format_args!("ringpoll: standard output did not take everything: {error}"));
    }
    if statistics == StatisticsFormat::Text {
        say(report.text());
    }
    run.failure.map_or(Ok(()), Err)
}

fn run_failure(what: &str, error: &io::Error) -> Failure {
    Failure::Run(format!("ringpoll: {what}: {error}"))
}

fn standard_output(config: &Config) -> io::Result<Arc<Mutex<StandardOutput>>> {
    let output = if config.server.print_requests {
        StandardOutput::without_waiting(config.limits.print_line_bytes)?
    } else {
        StandardOutput::as_it_is()
    };
    Ok(Arc::new(Mutex::new(output)))
}

/// Starts the workers on the engine that was asked for. Only `auto` may take another, and says
/// so.
fn start(plan: &Arc<WorkerPlan>, choice: BackendChoice) -> Result<Team, Failure> {
    match choice {
        BackendChoice::Named(variant) => Ok(Team::start(plan, variant)?),
        BackendChoice::Auto => {
            let taken = automatic(|variant| Team::start(plan, variant), StartError::refusal)?;
            if let Some(refused) = taken.refused {
                say(format_args!("backend auto takes epoll, since io_uring is refused: {refused}"));
            }
            Ok(taken.started)
        }
    }
}

/// `listening on 127.0.0.1:8080 · epoll, level triggered · 1 worker`, and the techniques in force
/// where there are any to choose from.
fn start_line(team: &Team, loaded: &Loaded) -> String {
    let workers = workers_in_words(loaded.config.server.workers);
    let mut line = format!("listening on {} · {} · {workers}", team.address(), team.engine());
    if !team.techniques().is_empty() {
        line += &format!(" · {}", team.techniques().join(", "));
    } else if team.variant() == Variant::IoUringTuned {
        // It is the same as its mirror then, which nobody would guess from its name.
        line += " · no techniques in force";
    }
    if let Some(file) = &loaded.file {
        line += &format!(" · config {}", file.display());
    }
    line
}

fn workers_in_words(workers: usize) -> String {
    if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") }
}
