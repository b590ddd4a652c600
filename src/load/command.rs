//! `ringpoll load`: from the flags to the figures.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::arguments::LoadArguments;
use super::control::Control;
use super::figures::count;
use super::outcome::Outcome;
use super::plan::Plan;
use super::progress::{self, Progress};
use super::run::{LoadError, run};
use super::{json, table};
use crate::console::show;
use crate::failure::Failure;

/// Puts the load on the server, and shows what came of it.
///
/// # Errors
/// When it could not begin, and when anything failed; the figures have been shown then.
pub fn load(arguments: &LoadArguments) -> Result<(), Failure> {
    let plan = arguments.plan().map_err(|problem| usage(&problem))?;
    let control = Control::new();
    stop_on_signals(&control).map_err(|error| broken(&format!("signals: {error}")))?;
    let outcome = run_with_progress(&plan, &control).map_err(|error| match error {
        LoadError::Plan(problem) => usage(&problem),
        error => broken(&error.to_string()),
    })?;
    let json = arguments.json.as_deref();
    if json != Some(Path::new("-")) {
        show(table::text(&plan, &outcome));
    }
    if let Some(file) = json {
        write_json(file, &plan, &outcome)?;
    }
    verdict(&outcome)
}

fn usage(problem: &str) -> Failure {
    Failure::Usage(format!("ringpoll load: {problem}"))
}

fn broken(problem: &str) -> Failure {
    Failure::Run(format!("ringpoll load: {problem}"))
}

/// The first signal ends the run with the figures so far, the second one the program.
fn stop_on_signals(control: &Control) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        let stop = control.stop_flag();
        // In this order: the first signal finds the flag down and raises it.
        flag::register_conditional_default(signal, Arc::clone(&stop))?;
        flag::register(signal, stop)?;
    }
    Ok(())
}

fn run_with_progress(plan: &Plan, control: &Control) -> Result<Outcome, LoadError> {
    if !io::stderr().is_terminal() {
        return run(plan, control);
    }
    thread::scope(|scope| {
        let drawer = thread::current();
        let work = scope.spawn(move || {
            let result = run(plan, control);
            drawer.unpark();
            result
        });
        let mut progress = Progress::new(plan, control);
        while !work.is_finished() {
            progress.draw();
            thread::park_timeout(progress::INTERVAL);
        }
        progress.clear();
        work.join().expect("a run does not panic")
    })
}

fn write_json(file: &Path, plan: &Plan, outcome: &Outcome) -> Result<(), Failure> {
    let text = format!("{:#}\n", json::document(plan, outcome));
    if file == Path::new("-") {
        show(text);
        return Ok(());
    }
    std::fs::write(file, text).map_err(|error| broken(&format!("{}: {error}", file.display())))
}

fn verdict(outcome: &Outcome) -> Result<(), Failure> {
    let failed = outcome.failures.total() + outcome.warm_up_failures.total();
    if outcome.is_clean() {
        Ok(())
    } else if failed > 0 {
        let all = outcome.completed + failed;
        Err(broken(&format!("{} of {} requests failed", count(failed), count(all))))
    } else if outcome.completed == 0 {
        Err(broken("no request was completed"))
    } else {
        Err(broken("not all idle connections could be opened"))
    }
}
