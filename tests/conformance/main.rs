//! All engines are equal on the wire: whatever a peer does, every engine sends the same bytes, ends
//! the stream in the same way, and leaks nothing.
//!
//! Each scenario runs on every engine, in this process and against the program, with both close
//! modes: `epoll:edge::child_process::lingering::half_close_after_partial_request`. The tuned
//! engines also run them with sets of their techniques (`technique_sets.rs`):
//! `io_uring:tuned+all::in_process::at_once::pipelined_requests`.
//!
//! The default form chooses combinations by coverage (`Configuration::is_sampled`) and sends fewer
//! streams. `RINGPOLL_TESTS=full` runs the whole product, and so does a filter on the command line.
//! Each technique alone takes some minutes more:
//! `cargo test --release --test conformance -- --ignored`.

mod case_counts;
mod closing;
mod configuration;
mod head_limit;
mod keep_alive;
mod large_responses;
mod many_connections;
mod outcomes;
mod pieces;
mod resets;
mod server;
mod settings;
mod splits;
mod technique_sets;
mod test_services;
mod trailing_bytes;

use std::sync::{Mutex, MutexGuard, PoisonError};

use libtest_mimic::{Arguments, Trial};
use ringpoll_backends::Variant;

use configuration::{Configuration, Scenario};
use technique_sets::SETS;

/// More tests than CPUs, since most tests wait most of the time.
const MAX_CONCURRENT_TESTS: usize = 40;

/// Enough for both ends of 1,000 connections in this process, and for the other tests.
const DESCRIPTORS: u64 = 8192;

fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    [
        splits::SCENARIOS,
        trailing_bytes::SCENARIOS,
        head_limit::SCENARIOS,
        large_responses::SCENARIOS,
        closing::SCENARIOS,
        resets::SCENARIOS,
        many_connections::SCENARIOS,
        keep_alive::SCENARIOS,
        test_services::SCENARIOS,
    ]
    .into_iter()
    .flatten()
}

/// Held by a test whose server uses SQPOLL: several polling kernel threads would take all CPUs.
static SQPOLL_LOCK: Mutex<()> = Mutex::new(());

/// Locks a mutex that protects no data, so a failed test does not matter to the next one.
fn lock(mutex: &'static Mutex<()>) -> MutexGuard<'static, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn trials(variant: Variant, every: bool, ignored: bool) -> impl Iterator<Item = Trial> {
    Configuration::all_of(variant).flat_map(move |configuration| {
        let runs = move |&(index, scenario): &(usize, &Scenario)| {
            let is_sampled = scenario.in_process_only || configuration.is_sampled(index);
            scenario.runs_on(configuration) && (every || is_sampled)
        };
        scenarios().enumerate().filter(runs).map(move |(_, scenario)| {
            let name = format!("{configuration}::{}", scenario.name);
            let test = move || {
                let _exclusive = configuration.occupies_a_cpu().then(|| lock(&SQPOLL_LOCK));
                (scenario.run)(configuration);
                case_counts::count_test(variant);
                Ok(())
            };
            Trial::test(name, test).with_ignored_flag(ignored || !configuration.is_regular())
        })
    })
}

fn technique_set_trials(variant: Variant, ignored: bool) -> impl Iterator<Item = Trial> {
    SETS.iter().filter(move |set| set.variant == variant).map(move |set| {
        let name = format!("{variant}+{}::is_in_force", set.name);
        let test = || {
            set.check_in_force();
            Ok(())
        };
        Trial::test(name, test).with_ignored_flag(ignored)
    })
}

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(MAX_CONCURRENT_TESTS);
    let every = common::is_full() || arguments.filter.is_some();
    let trials = Variant::ALL.iter().flat_map(|&variant| {
        // `--list` prints nothing but names.
        let is_available = arguments.list || common::engine_is_available("conformance", variant);
        trials(variant, every, !is_available).chain(technique_set_trials(variant, !is_available))
    });
    let trials = trials.collect();
    if !arguments.list {
        common::raise_descriptor_limit(DESCRIPTORS);
        eprintln!("conformance · {}={}", pieces::SEED_VARIABLE, pieces::seed());
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        case_counts::print();
    }
    conclusion.exit();
}
