//! Equal on the wire: whatever a peer does, it gets the same bytes and the same end from every
//! engine, and leaves nothing behind there.
//!
//! Each scenario stands once under `conformance/`, with what is expected of it, and runs for every
//! variant there is, in this process and against the program, closing at once and lingering. The
//! name of a test says all of it: `epoll:edge::binary::lingering::half_close_after_a_part`.
//!
//! The tuned engines run them with sets of their techniques as well (`technique_sets.rs`):
//! `io_uring:tuned+bundles::in_process::at_once::pipelined`. Some of those sets run each time; all
//! the others, each technique alone, take some minutes more, and run with
//! `cargo test --release --test conformance -- --ignored`.

#[path = "conformance/accounts.rs"]
mod accounts;
#[path = "conformance/arm.rs"]
mod arm;
#[path = "conformance/closing.rs"]
mod closing;
mod common;
#[path = "conformance/crowds.rs"]
mod crowds;
#[path = "conformance/cuts.rs"]
mod cuts;
#[path = "conformance/head_limit.rs"]
mod head_limit;
#[path = "conformance/large_answers.rs"]
mod large_answers;
#[path = "conformance/persistent.rs"]
mod persistent;
#[path = "conformance/pieces.rs"]
mod pieces;
#[path = "conformance/resets.rs"]
mod resets;
#[path = "conformance/server.rs"]
mod server;
#[path = "conformance/settings.rs"]
mod settings;
#[path = "conformance/tally.rs"]
mod tally;
#[path = "conformance/technique_sets.rs"]
mod technique_sets;
#[path = "conformance/trailing_bytes.rs"]
mod trailing_bytes;

use std::sync::{Mutex, MutexGuard, PoisonError};

use libtest_mimic::{Arguments, Trial};
use ringpoll_backends::Variant;

use arm::{Arm, Scenario};
use technique_sets::SETS;

/// Most tests wait most of the time, so there are more at once than processors.
const TESTS_AT_ONCE: usize = 24;

/// 1,000 connections, both ends of each in this process, beside the other tests.
const DESCRIPTORS: u64 = 8192;

fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    [
        cuts::SCENARIOS,
        trailing_bytes::SCENARIOS,
        head_limit::SCENARIOS,
        large_answers::SCENARIOS,
        closing::SCENARIOS,
        resets::SCENARIOS,
        crowds::SCENARIOS,
        persistent::SCENARIOS,
    ]
    .into_iter()
    .flatten()
}

/// Several servers whose kernel threads poll leave no processor to anybody.
static POLLS_ALONE: Mutex<()> = Mutex::new(());

/// Until it is dropped, nobody else has this turn; whether the one before has failed is all the
/// same.
fn turn(of: &'static Mutex<()>) -> MutexGuard<'static, ()> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn trials(variant: Variant, ignored: bool) -> impl Iterator<Item = Trial> {
    Arm::all_of(variant).chain(Arm::all_sets_of(variant)).flat_map(move |arm| {
        scenarios().filter(move |scenario| scenario.runs_on(arm)).map(move |scenario| {
            let name = format!("{arm}::{}", scenario.name);
            let test = move || {
                let _alone = arm.burns_a_processor().then(|| turn(&POLLS_ALONE));
                (scenario.run)(arm);
                tally::count_test(variant);
                Ok(())
            };
            Trial::test(name, test).with_ignored_flag(ignored || !arm.runs_always())
        })
    })
}

/// Whether each set of techniques is what it says.
fn trials_of_sets(variant: Variant, ignored: bool) -> impl Iterator<Item = Trial> {
    SETS.iter().filter(move |set| set.variant == variant).map(move |set| {
        let name = format!("{variant}+{}::is_in_force", set.name);
        let test = || {
            set.is_in_force();
            Ok(())
        };
        Trial::test(name, test).with_ignored_flag(ignored)
    })
}

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TESTS_AT_ONCE);
    // A list is of everything, and nothing else may stand in it.
    let refused = |&variant: &Variant| !arguments.list && !common::engine("conformance", variant);
    let all = |it: &Variant| trials(*it, refused(it)).chain(trials_of_sets(*it, refused(it)));
    let trials = Variant::ALL.iter().flat_map(all).collect();
    if !arguments.list {
        common::raise_descriptor_limit(DESCRIPTORS);
        eprintln!("conformance · {}={}", pieces::SEED_VARIABLE, pieces::seed());
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        tally::print();
    }
    conclusion.exit();
}
