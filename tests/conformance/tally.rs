//! How many cases were checked on each engine. A case is one connection whose bytes and end were
//! what they had to be.

use std::collections::HashMap;
use std::sync::Mutex;

use ringpoll_backends::Variant;

#[derive(Clone, Copy, Default)]
struct Counts {
    tests: u64,
    cases: u64,
}

static TALLY: Mutex<Option<HashMap<Variant, Counts>>> = Mutex::new(None);

fn change(variant: Variant, change: impl FnOnce(&mut Counts)) {
    let mut tally = TALLY.lock().expect("counting does not panic");
    change(tally.get_or_insert_default().entry(variant).or_default());
}

pub(crate) fn count_cases(variant: Variant, cases: usize) {
    change(variant, |counts| counts.cases += cases as u64);
}

/// A test has passed.
pub(crate) fn count_test(variant: Variant) {
    change(variant, |counts| counts.tests += 1);
}

pub(crate) fn print() {
    let tally = TALLY.lock().expect("counting does not panic");
    for variant in Variant::ALL {
        let counts = tally.as_ref().and_then(|tally| tally.get(variant));
        let Some(Counts { tests, cases }) = counts else { continue };
        let name = variant.name();
        println!("conformance · {name:<20} · {cases:>6} cases in {tests:>3} tests that passed");
    }
}
