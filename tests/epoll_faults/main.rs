//! Fails each system call of the epoll event loops with each error that it can return, at its
//! first to its twentieth invocation: the server survives, serves the other connections, and loses
//! only the connection that the call was for.
//!
//! By default each error of each call occurs once per engine, with alternating patterns and ways
//! of closing; `RINGPOLL_TESTS=full` runs every combination.

mod clients;
mod errnos;
mod expected;
mod faulty_server;
mod injection;
mod lasting_faults;

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use common::{find_tool, is_full};
use errnos::Faults;
use faulty_server::FaultyServer;
use injection::Fault;
use ringpoll_backends::Variant;

const VARIANTS: [Variant; 2] = [Variant::EpollLevel, Variant::EpollEdge];

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
                injected +=
                    inject_patterns(&strace, variant, closing, faults.call, error, patterns);
            }
        }
        injected
    });
    println!("{test}: {injected} faults injected");
}

fn inject_patterns(
    strace: &Path,
    variant: Variant,
    closing: &[&str],
    calls: &str,
    error: &str,
    patterns: &[(&str, usize)],
) -> usize {
    let deadlines = if error == "EAGAIN" { &DEADLINES[..] } else { &[] };
    let mut server = FaultyServer::start(strace, variant, &[closing, deadlines].concat());
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
                injected +=
                    inject_patterns(&strace, variant, closing, faults.call, error, &patterns);
            }
            println!("each_fault_alone: {variant}: {}: done", faults.call);
        }
        injected
    });
    println!("each_fault_alone: {injected} faults injected");
}
