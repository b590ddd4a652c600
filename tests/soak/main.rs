//! Thousands of requests with faults leak nothing, and an idle connection uses little memory.
//! `RINGPOLL_TESTS=full` sends more requests and holds more connections than the default form.
//!
//! The long form serves `RINGPOLL_SOAK_REQUESTS` requests (default: 10 million) on each engine, or
//! on `RINGPOLL_SOAK_BACKEND` only:
//!
//! ```text
//! RINGPOLL_SOAK_REQUESTS=10000000 cargo test --release --test soak -- --ignored --nocapture
//! ```

mod clients;
mod resident;

use std::env;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use ringpoll_backends::Variant;

use clients::Clients;
use common::{
    Client, RESPONSE, ReceivedStream, ServerProcess, engine_is_available,
    wait_for_open_connections, wait_until,
};
use resident::resident_bytes;

/// So few slots that a rare leak soon exhausts them.
const SLOTS: usize = 64;
const MAX_GROWTH_BYTES: u64 = 1 << 20;

#[test]
fn requests_with_faults_leak_nothing() {
    let requests = if common::is_full() { 50_000 } else { 20_000 };
    thread::scope(|scope| {
        for variant in available_engines("requests_with_faults_leak_nothing") {
            scope.spawn(move || soak(variant, requests));
        }
    });
}

#[test]
#[ignore = "the long form: ten million requests on each backend"]
fn millions_of_requests_with_faults_leak_nothing() {
    let requests = match env::var("RINGPOLL_SOAK_REQUESTS") {
        Ok(number) => number.parse().expect("RINGPOLL_SOAK_REQUESTS is a number"),
        Err(_) => 10_000_000,
    };
    let only = env::var("RINGPOLL_SOAK_BACKEND").ok();
    for variant in available_engines("millions_of_requests_with_faults_leak_nothing") {
        if only.as_ref().is_none_or(|only| only == variant.name()) {
            soak(variant, requests);
        }
    }
}

fn available_engines(test: &str) -> impl Iterator<Item = Variant> {
    Variant::ALL.iter().copied().filter(move |&variant| engine_is_available(test, variant))
}

fn soak(variant: Variant, requests: u64) {
    let slots = format!("limits.connections={SLOTS}");
    let server = ServerProcess::start(&["--backend", variant.name(), "--set", &slots]);
    let baseline = descriptors_when_idle(&server);
    let start = Instant::now();
    let clients = Clients::start(server.address, requests);
    let responses = || clients.responses.load(Ordering::Relaxed);
    // Until then, pages of code and buffers are used for the first time.
    let warm_up = (requests / 100).max(10_000);
    while responses() < warm_up && clients.are_running() {
        thread::sleep(Duration::from_millis(1));
    }
    let (early, early_responses) = (resident_bytes(server.id()), responses());
    while clients.are_running() {
        let open = server.descriptors().len();
        assert!(open <= baseline + SLOTS, "{variant}: {open} descriptors, {baseline} before");
        let grown = resident_bytes(server.id()).saturating_sub(early);
        assert!(grown <= MAX_GROWTH_BYTES, "{variant}: {grown} bytes more, {} served", responses());
        thread::sleep(Duration::from_millis(200));
    }
    let (responses, faults) = clients.join();
    let took = start.elapsed();
    wait_until("every connection is closed", || server.descriptors().len() == baseline);
    let late = resident_bytes(server.id());
    println!(
        "{variant}: {responses} requests and {faults} faults in {took:.0?}; resident: {} KiB after \
         {early_responses}, {} KiB at the end; descriptors: {baseline} before and after",
        early / 1024,
        late / 1024,
    );
    assert!(late.saturating_sub(early) <= MAX_GROWTH_BYTES, "{variant}: {early} to {late} bytes");
    let ended = server.stop_and_wait();
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
    let report = ended.report();
    let count = |name: &str| report["total"][name].as_u64().expect("a counter");
    assert_eq!(count("closed"), count("accepted"), "{variant}: {report}");
    // Some faults are complete requests, and some of those peers did not wait for the response.
    assert!(count("requests") >= responses, "{variant}: {report}");
    assert!(count("accepted") >= responses + faults, "{variant}: {report}");
}

/// Returns the number of descriptors after a first request, without any connection.
fn descriptors_when_idle(server: &ServerProcess) -> usize {
    assert_eq!(Client::request(server.address), ReceivedStream::with_fin(RESPONSE));
    wait_for_open_connections(server.address, 0);
    server.descriptors().len()
}
