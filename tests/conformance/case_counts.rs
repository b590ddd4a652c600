//! Counts the checked cases of each engine. A case is one connection whose bytes and end of stream
//! were as expected.

use std::collections::HashMap;
use std::sync::Mutex;

use ringpoll_backends::Variant;

#[derive(Clone, Copy, Default)]
struct Counts {
    tests: u64,
    cases: u64,
}

static COUNTS: Mutex<Option<HashMap<Variant, Counts>>> = Mutex::new(None);

fn change(variant: Variant, change: impl FnOnce(&mut Counts)) {
    let mut counts = COUNTS.lock().expect("counting does not panic");
    change(counts.get_or_insert_default().entry(variant).or_default());
}

pub(crate) fn count_cases(variant: Variant, cases: usize) {
    change(variant, |counts| counts.cases += cases as u64);
}

/// Counts a test that has passed.
pub(crate) fn count_test(variant: Variant) {
    change(variant, |counts| counts.tests += 1);
}

pub(crate) fn print() {
    let counts = COUNTS.lock().expect("counting does not panic");
    for variant in Variant::ALL {
        let counts = counts.as_ref().and_then(|counts| counts.get(variant));
        let Some(Counts { tests, cases }) = counts else { continue };
        let name = variant.name();
        println!("conformance · {name:<20} · {cases:>6} cases in {tests:>3} tests that passed");
    }
}
