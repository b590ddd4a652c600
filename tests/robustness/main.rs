//! Limits, deadlines, overload, closing and stopping, on every engine: no peer ends the server,
//! keeps it from serving others, or makes it lose a response that it could have sent.
//!
//! `RINGPOLL_TESTS=full` repeats more stops and restarts than the default form.

/// Lists tests by the names of their functions. Long ones run only with `--ignored`.
macro_rules! tests {
    ($($run:ident,)* $(; long: $($long:ident,)*)?) => {
        pub(crate) const TESTS: &[$crate::Test] = &[
            $($crate::Test::new(module_path!(), stringify!($run), $run, false),)*
            $($($crate::Test::new(module_path!(), stringify!($long), $long, true),)*)?
        ];
    };
}

mod accept_queue;
mod client;
mod closing;
mod deadline_keys;
mod deadlines;
mod draining;
mod fairness;
mod load;
mod overload;
mod seam;
mod servers;
mod stopping;
mod streams;

use libtest_mimic::{Arguments, Trial};

/// More tests than CPUs, since most tests wait most of the time.
const MAX_CONCURRENT_TESTS: usize = 8;

/// Enough for the clients of all tests that run at the same time, and for their servers.
const DESCRIPTORS: u64 = 16_384;

pub(crate) struct Test {
    module: &'static str,
    name: &'static str,
    run: fn(),
    is_long: bool,
}

impl Test {
    const fn new(module: &'static str, name: &'static str, run: fn(), is_long: bool) -> Self {
        Self { module, name, run, is_long }
    }
}

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(MAX_CONCURRENT_TESTS);
    if !arguments.list {
        common::raise_descriptor_limit(DESCRIPTORS);
    }
    let tests = [
        accept_queue::TESTS,
        closing::TESTS,
        deadline_keys::TESTS,
        deadlines::TESTS,
        draining::TESTS,
        fairness::TESTS,
        overload::TESTS,
        seam::TESTS,
        stopping::TESTS,
        streams::TESTS,
    ];
    let trials = tests.into_iter().flatten().map(|test| {
        let module = test.module.trim_start_matches("robustness::");
        let run = || {
            (test.run)();
            Ok(())
        };
        Trial::test(format!("{module}::{}", test.name), run).with_ignored_flag(test.is_long)
    });
    let trials = trials.collect();
    libtest_mimic::run(&arguments, trials).exit();
}
