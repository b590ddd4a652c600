//! `ringpoll serve`: starts the workers, runs them until a signal, and reports.

mod descriptors;
mod in_force;
mod pinning;
mod privileges;
mod report;
mod response;
mod signals;
mod worker_plan;
mod workers;

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use ringpoll_backends::{Stop, Variant};

use crate::config::{BackendChoice, Config, Loaded, start_auto};
use crate::console::eprint_line;
use crate::failure::Failure;
use crate::print::StandardOutput;

use descriptors::max_connections;
pub use in_force::InForce;
use report::RunReport;
use worker_plan::WorkerPlan;
use workers::{RunningEngine, WorkerPool};

/// Maximum time for writing the report to standard output.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// The format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatisticsFormat {
    /// Text, on standard error.
    Text,
    /// One JSON object, on standard output.
    Json,
}

/// Serves until a signal requests the stop, and reports.
///
/// # Errors
/// A worker cannot start, the chosen backend is refused, or a worker ends with an error; only in
/// the last case is there a report.
pub fn serve(loaded: &Loaded, statistics: StatisticsFormat) -> Result<(), Failure> {
    let config = &loaded.config;
    let stop = Stop::new()?;
    signals::stop_on_signal(stop.clone(), config.server.drain_timeout_ms)
        .map_err(|error| run_failure("signals", &error))?;
    descriptors::raise_limit(config);
    let output = standard_output(config)
        .map_err(|error| run_failure("standard output cannot be made non-blocking", &error))?;
    let plan = Arc::new(WorkerPlan::new(config.clone(), stop, Arc::clone(&output))?);

    let pool = start(&plan, config.backend)?;
    // Privileges are no longer needed: the ports are bound, and the rings have their memory.
    privileges::drop_privileges(&config.server.user)?;
    eprint_line(start_line(&pool, loaded));
    privileges::warn_if_root();
    let run = pool.run();

    let report = RunReport { engine: &run.engine, reports: &run.reports };
    // All workers and their printers have ended, so this is the last user of the output.
    let output = std::mem::replace(
        &mut *output.lock().unwrap_or_else(PoisonError::into_inner),
        StandardOutput::unchanged(),
    );
    let last = match statistics {
        StatisticsFormat::Text => String::new(),
        StatisticsFormat::Json => report.json(),
    };
    let written = output.finish(last.as_bytes(), REPORT_TIMEOUT);
    if statistics == StatisticsFormat::Text {
        eprint_line(report.text());
    }
    run.failure.map_or(Ok(()), Err)?;
    let Err(error) = written else { return Ok(()) };
    let failure = run_failure("not all output could be written to standard output", &error);
    // A reader that has left or does not read may lose the report, but a full disk may not.
    let is_reader = matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::TimedOut);
    if statistics == StatisticsFormat::Json && !is_reader {
        return Err(failure);
    }
    eprint_line(failure);
    Ok(())
}

fn run_failure(what: &str, error: &io::Error) -> Failure {
    Failure::Run(format!("ringpoll: {what}: {error}"))
}

fn standard_output(config: &Config) -> io::Result<Arc<Mutex<StandardOutput>>> {
    let output = if config.server.print_requests {
        StandardOutput::nonblocking(config.limits.print_line_bytes)?
    } else {
        StandardOutput::unchanged()
    };
    Ok(Arc::new(Mutex::new(output)))
}

/// Starts the workers on the chosen engine. Only `auto` falls back, and reports it.
fn start(plan: &Arc<WorkerPlan>, choice: BackendChoice) -> Result<WorkerPool, Failure> {
    match choice {
        BackendChoice::Named(variant) => Ok(WorkerPool::start(plan, variant)?),
        BackendChoice::Auto => {
            let taken = start_auto(|variant| WorkerPool::start(plan, variant))?;
            if let Some(refused) = taken.refused {
                eprint_line(format_args!(
                    "backend auto uses epoll, because io_uring is refused: {refused:#}"
                ));
            }
            Ok(taken.started)
        }
    }
}

/// Returns `listening on 127.0.0.1:8080 · epoll, level-triggered · 1 worker`, with the techniques
/// in force and the configuration file, if any.
fn start_line(pool: &WorkerPool, loaded: &Loaded) -> String {
    let workers = worker_count(loaded.config.server.workers);
    let RunningEngine { variant, name, techniques, address } = &pool.engine;
    let mut line = format!("listening on {address} · {name} · {workers}");
    if !techniques.is_empty() {
        line += &format!(" · {}", techniques.join(", "));
    } else if *variant == Variant::IoUringTuned {
        // It then works like io_uring:single_shot, which its name does not show.
        line += " · no techniques in force";
    }
    if let Some(file) = &loaded.file {
        line += &format!(" · config {}", file.display());
    }
    line
}

fn worker_count(workers: usize) -> String {
    if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") }
}
