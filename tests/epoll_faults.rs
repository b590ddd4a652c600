//! Every system call of the epoll engines' loops with every error that it can give, at its first,
//! its second… its twentieth time: the server lives, goes on serving the others, and loses nobody
//! but the connection that is concerned.

#[path = "epoll_faults/catalogue.rs"]
mod catalogue;
mod common;
#[path = "epoll_faults/crowd.rs"]
mod crowd;
#[path = "epoll_faults/expected.rs"]
mod expected;
#[path = "epoll_faults/faulty_server.rs"]
mod faulty_server;
#[path = "epoll_faults/injection.rs"]
mod injection;
mod strace;
#[path = "epoll_faults/stretches.rs"]
mod stretches;

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use catalogue::Faults;
use common::tool;
use faulty_server::FaultyServer;
use injection::What;
use ringpoll_backends::Variant;

const VARIANTS: [Variant; 2] = [Variant::EpollLevel, Variant::EpollEdge];

/// Every second call, so that each fault stands alone, and twenty in a row; and how many that
/// makes. Together they fail at each number from 1 to 20.
const PATTERNS: [(&str, usize); 3] = [("1..19+2", 10), ("2..20+2", 10), ("1..20", 20)];

/// Connections that linger for their peers' ends, and connections that are closed at once. Where
/// the end of the stream cannot be told, a peer learns of it only when the lingering is over.
const CLOSINGS: [&[&str]; 2] = [
    &["--set", "deadlines.linger_timeout_ms=100"],
    &["--preset", "documents", "--set", "server.backlog=4096"],
];

/// For what nothing but time can help against: an untrue EAGAIN.
const DEADLINES: [&str; 6] = [
    "--set",
    "deadlines.idle_timeout_ms=2000",
    "--set",
    "deadlines.request_head_timeout_ms=2000",
    "--set",
    "deadlines.send_timeout_ms=2000",
];

/// Runs for both variants at the same time, and adds up what they say.
fn on_both_variants(test: impl Fn(Variant) -> usize + Sync) -> usize {
    thread::scope(|scope| {
        let test = &test;
        let threads = VARIANTS.map(|variant| scope.spawn(move || test(variant)));
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).sum()
    })
}

/// One server for each error and each way of closing, and on it each pattern.
fn survives(test: &str, faults: &Faults) {
    let Some(strace) = tool(test, "strace") else { return };
    let injected = on_both_variants(|variant| {
        let mut injected = 0;
        for error in faults.errors {
            for closing in CLOSINGS {
                injected += suffer(&strace, variant, closing, faults.call, error, &PATTERNS);
            }
        }
        injected
    });
    println!("{test}: {injected} faults injected");
}

fn suffer(
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
        server.suffer(&What { calls, error, when }, faults);
    }
    server.finish()
}

#[test]
fn faults_of_accept4() {
    survives("faults_of_accept4", &catalogue::ACCEPT4);
}

#[test]
fn faults_of_recvfrom() {
    survives("faults_of_recvfrom", &catalogue::RECVFROM);
}

#[test]
fn faults_of_sendto() {
    survives("faults_of_sendto", &catalogue::SENDTO);
}

#[test]
fn faults_of_shutdown() {
    survives("faults_of_shutdown", &catalogue::SHUTDOWN);
}

#[test]
fn faults_of_close() {
    survives("faults_of_close", &catalogue::CLOSE);
}

#[test]
fn faults_of_epoll_ctl() {
    survives("faults_of_epoll_ctl", &catalogue::EPOLL_CTL);
}

#[test]
fn faults_of_epoll_wait() {
    survives("faults_of_epoll_wait", &catalogue::EPOLL_WAIT);
}

/// One fault at a time: each call, each error, each number from 1 to 20. It takes some minutes:
/// `cargo test --test epoll_faults -- --ignored --nocapture`.
#[test]
#[ignore = "takes some minutes"]
fn each_fault_alone() {
    let Some(strace) = tool("each_fault_alone", "strace") else { return };
    let numbers: Vec<_> = (1..=20).map(|number| number.to_string()).collect();
    let patterns: Vec<_> = numbers.iter().map(|number| (number.as_str(), 1)).collect();
    let injected = on_both_variants(|variant| {
        let mut injected = 0;
        for faults in catalogue::ALL {
            // Who cannot be told the end waits for it in a lingering close, second after second.
            let closing = CLOSINGS[usize::from(faults.call == "shutdown")];
            for error in faults.errors {
                injected += suffer(&strace, variant, closing, faults.call, error, &patterns);
            }
            println!("each_fault_alone: {variant}: {}: done", faults.call);
        }
        injected
    });
    println!("each_fault_alone: {injected} faults injected");
}
