//! Fails each system call of the epoll event loops with each error that it can return, at its
//! first to its twentieth invocation: the server survives, serves the other connections, and loses
//! only the connection that the call was for.
//!
//! The server serves HTTP, echo, discard or chargen.
//!
//! By default each error of each call occurs once per engine of HTTP, with alternating patterns and
//! ways of closing, and some errors of each class in the other protocols. `RINGPOLL_TESTS=full`
//! runs every combination.

mod clients;
mod errnos;
mod expected;
mod faulty_server;
mod injection;
mod lasting_faults;

use std::panic::resume_unwind;
use std::thread;

use common::{ServedProtocol, find_tool, is_full};
use errnos::Faults;
use faulty_server::{FaultyServer, Subject};
use injection::Fault;
use ringpoll_backends::Variant;

/// The engines whose steps follow the reference programs, so that a trace tells which clients a
/// fault of HTTP costs.
const VARIANTS: [Variant; 2] = [Variant::EpollLevel, Variant::EpollEdge];

const EVERY_EPOLL: [Variant; 3] = [Variant::EpollLevel, Variant::EpollEdge, Variant::EpollTuned];

/// Invocations that fail, and their number: every second one, so that each error is isolated, or
/// twenty in a row. Together they fail each invocation from 1 to 20.
const PATTERNS: [(&str, usize); 3] = [("1..19+2", 10), ("2..20+2", 10), ("1..20", 20)];

/// Lingering close and immediate close. When `shutdown` fails, a peer sees the end of the stream
/// only after the linger timeout.
const CLOSINGS: [&[&str]; 2] = [
    &["--set", "deadlines.linger_timeout_ms=100"],
    &["--preset", "reference", "--set", "server.backlog=4096"],
];

/// Deadlines that end the wait after a false EAGAIN.
const DEADLINES: [&str; 6] = [
    "--set",
    "deadlines.idle_timeout_ms=2000",
    "--set",
    "deadlines.request_head_timeout_ms=2000",
    "--set",
    "deadlines.send_timeout_ms=2000",
];

/// Runs `test` for all cases in parallel and returns the sum of their results.
fn in_parallel<T: Send>(
    cases: impl IntoIterator<Item = T>,
    test: impl Fn(T) -> usize + Sync,
) -> usize {
    thread::scope(|scope| {
        let test = &test;
        let cases = cases.into_iter();
        let threads: Vec<_> = cases.map(|case| scope.spawn(move || test(case))).collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).sum()
    })
}

/// Injects each error of one system call: one server for each error and each way of closing.
fn survives(test: &str, faults: &Faults) {
    let Some(strace) = find_tool(test, "strace") else { return };
    let injected = in_parallel(VARIANTS, |variant| {
        let mut injected = 0;
        for (index, error) in faults.errors.iter().enumerate() {
            let sample = index + usize::from(variant == Variant::EpollEdge);
            let (closings, patterns) = if is_full() {
                (&CLOSINGS[..], &PATTERNS[..])
            } else {
                (&CLOSINGS[sample % 2..][..1], &PATTERNS[sample % 3..][..1])
            };
            for closing in closings {
                let subject =
                    Subject { strace: &strace, variant, protocol: ServedProtocol::Http10 };
                injected += inject_patterns(subject, closing, faults.call, error, patterns);
            }
        }
        injected
    });
    println!("{test}: {injected} faults injected");
}

/// Injects errors of each class into the system calls of a stream, which does not choose a way of
/// closing: the peer ends it, or an error does.
fn survives_in_a_stream(test: &str, protocol: ServedProtocol, calls: &[&Faults]) {
    let Some(strace) = find_tool(test, "strace") else { return };
    let injected = in_parallel(EVERY_EPOLL.into_iter().enumerate(), |(place, variant)| {
        in_parallel(calls, |faults| {
            let subject = Subject { strace: &strace, variant, protocol };
            let inject = |(index, error)| {
                let sample = index + place;
                let patterns = if is_full() { &PATTERNS[..] } else { &PATTERNS[sample % 3..][..1] };
                inject_patterns(subject, &[], faults.call, error, patterns)
            };
            faults.sampled_errors().enumerate().map(inject).sum()
        })
    });
    println!("{test}: {injected} faults injected");
}

fn inject_patterns(
    subject: Subject,
    closing: &[&str],
    calls: &str,
    error: &str,
    patterns: &[(&str, usize)],
) -> usize {
    let deadlines = if error == "EAGAIN" { &DEADLINES[..] } else { &[] };
    let mut server = FaultyServer::start(subject, &[closing, deadlines].concat());
    for &(when, faults) in patterns {
        server.inject(&Fault { calls, error, when }, faults);
    }
    server.finish()
}

#[test]
fn faults_of_accept4() {
    survives("faults_of_accept4", &errnos::ACCEPT4);
}

#[test]
fn faults_of_recvfrom() {
    survives("faults_of_recvfrom", &errnos::RECVFROM);
}

#[test]
fn faults_of_sendto() {
    survives("faults_of_sendto", &errnos::SENDTO);
}

#[test]
fn faults_of_shutdown() {
    survives("faults_of_shutdown", &errnos::SHUTDOWN);
}

#[test]
fn faults_of_close() {
    survives("faults_of_close", &errnos::CLOSE);
}

#[test]
fn faults_of_epoll_ctl() {
    survives("faults_of_epoll_ctl", &errnos::EPOLL_CTL);
}

#[test]
fn faults_of_epoll_wait() {
    survives("faults_of_epoll_wait", &errnos::EPOLL_WAIT);
}

#[test]
fn faults_of_an_echo_server() {
    let calls = [
        &errnos::ACCEPT4,
        &errnos::RECVFROM,
        &errnos::SENDTO,
        &errnos::EPOLL_CTL,
        &errnos::EPOLL_WAIT,
    ];
    survives_in_a_stream("faults_of_an_echo_server", ServedProtocol::Echo, &calls);
}

#[test]
fn faults_of_a_discard_server() {
    let calls = [&errnos::ACCEPT4, &errnos::RECVFROM, &errnos::EPOLL_CTL, &errnos::EPOLL_WAIT];
    survives_in_a_stream("faults_of_a_discard_server", ServedProtocol::Discard, &calls);
}

#[test]
fn faults_of_a_chargen_server() {
    let calls = [&errnos::ACCEPT4, &errnos::SENDTO, &errnos::EPOLL_CTL, &errnos::EPOLL_WAIT];
    survives_in_a_stream("faults_of_a_chargen_server", ServedProtocol::Chargen, &calls);
}

/// Injects one error at a time: each call, each error, each invocation from 1 to 20. Run it with
/// `cargo test --test epoll_faults -- --ignored --nocapture`.
#[test]
#[ignore = "takes some minutes"]
fn each_fault_alone() {
    let Some(strace) = find_tool("each_fault_alone", "strace") else { return };
    let numbers: Vec<_> = (1..=20).map(|number| number.to_string()).collect();
    let patterns: Vec<_> = numbers.iter().map(|number| (number.as_str(), 1)).collect();
    let injected = in_parallel(VARIANTS, |variant| {
        let mut injected = 0;
        for faults in errnos::ALL {
            // When `shutdown` fails, each peer of a lingering close waits for the linger timeout.
            let closing = CLOSINGS[usize::from(faults.call == "shutdown")];
            for error in faults.errors {
                let subject =
                    Subject { strace: &strace, variant, protocol: ServedProtocol::Http10 };
                injected += inject_patterns(subject, closing, faults.call, error, &patterns);
            }
            println!("each_fault_alone: {variant}: {}: done", faults.call);
        }
        injected
    });
    println!("each_fault_alone: {injected} faults injected");
}
