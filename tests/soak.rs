//! A long life: millions of requests with faults among them leave nothing behind, and a
//! connection that is only held costs little.
//!
//! The long form, of which `RINGPOLL_SOAK_REQUESTS` says how many requests each backend serves (10
//! million unless it is set) and `RINGPOLL_SOAK_BACKEND` which one backend serves them (all of
//! them, one after the other, unless it is set):
//!
//! ```text
//! RINGPOLL_SOAK_REQUESTS=10000000 cargo test --release --test soak -- --ignored --nocapture
//! ```

mod common;

#[path = "soak/clients.rs"]
mod clients;
#[path = "soak/resident.rs"]
mod resident;

use std::env;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use ringpoll_backends::Variant;

use clients::Clients;
use common::{Client, Exchange, RESPONSE, ServerProcess, engine, wait_until, wait_until_held};
use resident::resident_bytes;

/// So few slots and descriptors that a leak of one in a thousand is felt soon.
const SLOTS: usize = 64;
const MOST_GROWTH_BYTES: u64 = 1 << 20;

#[test]
fn fifty_thousand_requests_with_faults_leave_nothing_behind() {
    let test = "fifty_thousand_requests_with_faults_leave_nothing_behind";
    thread::scope(|scope| {
        for variant in allowed(test) {
            scope.spawn(move || soak(variant, 50_000));
        }
    });
}

#[test]
#[ignore = "the long form: ten million requests on each backend"]
fn millions_of_requests_with_faults_leave_nothing_behind() {
    let requests = match env::var("RINGPOLL_SOAK_REQUESTS") {
        Ok(number) => number.parse().expect("RINGPOLL_SOAK_REQUESTS is a number"),
        Err(_) => 10_000_000,
    };
    let only = env::var("RINGPOLL_SOAK_BACKEND").ok();
    for variant in allowed("millions_of_requests_with_faults_leave_nothing_behind") {
        if only.as_ref().is_none_or(|only| only == variant.name()) {
            soak(variant, requests);
        }
    }
}

fn allowed(test: &str) -> impl Iterator<Item = Variant> {
    Variant::ALL.iter().copied().filter(move |&variant| engine(test, variant))
}

fn soak(variant: Variant, requests: u64) {
    let slots = format!("limits.connections={SLOTS}");
    let server = ServerProcess::start(&["--backend", variant.name(), "--set", &slots]);
    let at_first = descriptors_when_quiet(&server);
    let start = Instant::now();
    let clients = Clients::start(server.address, requests);
    let answered = || clients.answered.load(Ordering::Relaxed);
    // Until then, pages of code and buffers are touched for the first time.
    let warm_up = (requests / 100).max(10_000);
    while answered() < warm_up && clients.are_at_work() {
        thread::sleep(Duration::from_millis(1));
    }
    let (early, early_answered) = (resident_bytes(server.id()), answered());
    while clients.are_at_work() {
        let open = server.descriptors().len();
        assert!(open <= at_first + SLOTS, "{variant}: {open} descriptors, {at_first} at first");
        let grown = resident_bytes(server.id()).saturating_sub(early);
        assert!(grown <= MOST_GROWTH_BYTES, "{variant}: {grown} bytes more, {} served", answered());
        thread::sleep(Duration::from_millis(200));
    }
    let (answered, faults) = clients.ended();
    let took = start.elapsed();
    wait_until("all descriptors are back", || server.descriptors().len() == at_first);
    let late = resident_bytes(server.id());
    println!(
        "{variant}: {answered} requests and {faults} faults in {took:.0?}; resident: {} KiB after \
         {early_answered}, {} KiB at the end; descriptors: {at_first} at first and at the end",
        early / 1024,
        late / 1024,
    );
    assert!(late.saturating_sub(early) <= MOST_GROWTH_BYTES, "{variant}: {early} to {late} bytes");
    let ended = server.stopped();
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
    let report = ended.report();
    let count = |name: &str| report["total"][name].as_u64().expect("a counter");
    assert_eq!(count("closed"), count("accepted"), "{variant}: {report}");
    // Of the faults some are requests that came whole; the peer of some of those did not wait.
    assert!(count("requests") >= answered, "{variant}: {report}");
    assert!(count("accepted") >= answered + faults, "{variant}: {report}");
}

/// What is open when all has been opened that serving needs, and nobody is connected.
fn descriptors_when_quiet(server: &ServerProcess) -> usize {
    assert_eq!(Client::request(server.address), Exchange::finished(RESPONSE));
    wait_until_held(server.address, 0);
    server.descriptors().len()
}
