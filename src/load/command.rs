//! The command `ringpoll load`.

use std::io;
use std::sync::Arc;
use std::thread;

use signal_hook::flag;

use super::arguments::HDR_LOG_INTERVAL;
use super::arguments::LoadArguments;
use super::control::Control;
use super::hdr_log::HdrLog;
use super::outcome::Outcome;
use super::plan::Plan;
use super::progress::Progress;
use super::run::{LoadError, pin, probe_with_message, run};
use super::units::count;
use super::{json, table};
use crate::console::{REDRAW_INTERVAL, print_text};
use crate::failure::Failure;
use crate::output_file::OutputFile;
use crate::stop_signals::stop_signals;

/// Runs the load and prints its outcome. The output file is opened before the first request.
///
/// # Errors
/// Fails if the load cannot start, and, after the outcome has been printed, if a request failed.
pub fn load(arguments: &LoadArguments) -> Result<(), Failure> {
    let plan = arguments.plan().map_err(|problem| usage_failure(&problem))?;
    let output = OutputFile::open_optional("--json", arguments.json.as_ref())?;
    let hdr_log = OutputFile::open_optional("--hdr-log", arguments.hdr_log.as_ref())?;
    OutputFile::check_distinct(&[&output, &hdr_log])?;
    let control = Control::new();
    stop_on_signals(&control)
        .map_err(|error| run_failure(&format!("cannot install signal handlers: {error}")))?;
    let probed = match plan.request.message_bytes() {
        // Otherwise a server of another protocol fails every message, if only in the warm-up.
        Some(_) => plan
            .check()
            .map_err(LoadError::Plan)
            .and_then(|()| probe_with_message(&plan, &Control::new())),
        None => Ok(()),
    };
    let outcome = probed.and_then(|()| run_with_progress(&plan, &control));
    let outcome = outcome.map_err(|error| match error {
        LoadError::Plan(problem) => usage_failure(&problem),
        error => run_failure(&error.to_string()),
    })?;
    let is_taken = [&output, &hdr_log].into_iter().flatten().any(OutputFile::is_standard_output);
    let printed = match is_taken {
        true => Ok(()),
        false => print_text(table::text(&plan, &outcome)),
    };
    let json = || format!("{:#}\n", json::document(&plan, &outcome));
    let log = || HdrLog::of_outcome(&outcome, HDR_LOG_INTERVAL).into_text();
    // Each is written, also if another cannot be.
    let json = output.map_or(Ok(()), |file| file.write_or_rescue(&json()));
    let log = hdr_log.map_or(Ok(()), |file| file.write_or_rescue(&log()));
    json.and(log).and(printed).and_then(|()| exit_result(&outcome))
}

fn usage_failure(problem: &str) -> Failure {
    Failure::Usage(format!("ringpoll load: {problem}"))
}

fn run_failure(problem: &str) -> Failure {
    Failure::Run(format!("ringpoll load: {problem}"))
}

/// The first signal stops the load, whose outcome is still printed. The second ends the program.
fn stop_on_signals(control: &Control) -> io::Result<()> {
    for signal in stop_signals() {
        let stop = control.stop_flag();
        // In this order, so that the first signal does not find the flag set.
        flag::register_conditional_default(signal, Arc::clone(&stop))?;
        flag::register(signal, stop)?;
    }
    Ok(())
}

fn run_with_progress(plan: &Plan, control: &Control) -> Result<Outcome, LoadError> {
    thread::scope(|scope| {
        let drawing = thread::current();
        let work = scope.spawn(move || {
            let result = run(plan, control);
            drawing.unpark();
            result
        });
        // Drawing is work of the client: on a CPU of the server it would slow down the server.
        let _ = pin(&plan.cpus);
        let mut progress = Progress::new(plan, control);
        while !work.is_finished() {
            progress.update();
            thread::park_timeout(REDRAW_INTERVAL);
        }
        work.join().expect("a run does not panic")
    })
}

fn exit_result(outcome: &Outcome) -> Result<(), Failure> {
    let failed = outcome.failures.total() + outcome.warm_up_failures.total();
    if outcome.is_clean() {
        Ok(())
    } else if failed > 0 {
        let total = outcome.completed + failed;
        Err(run_failure(&format!("{} of {} requests failed", count(failed), count(total))))
    } else if outcome.completed == 0 {
        Err(run_failure("no request was completed"))
    } else {
        Err(run_failure("not all idle connections could be opened"))
    }
}
