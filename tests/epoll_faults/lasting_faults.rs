//! Lasting faults: accept errors for a while, a stop during them, failing calls of a stop, and an
//! `epoll_wait` that fails for good.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Instant;

use ringpoll_backends::Variant;
use rustix::process::Signal;

use crate::clients::{ClientOutcomes, Endpoint, StallAction, run_clients};
use crate::errnos::FATAL_EPOLL_WAIT_ERRORS;
use crate::faulty_server::{Subject, assert_ended_well};
use crate::injection::{Fault, Injection, start_server};
use crate::{EVERY_EPOLL, VARIANTS, in_parallel};
use common::{
    Client, REQUEST, RESPONSE, ReceivedStream, ServedProtocol, ServerProcess, chargen_byte,
    find_tool, wait_until,
};

const EVERY_ACCEPT: Fault = Fault { calls: "accept4", error: "EMFILE", when: "1+" };

fn start(variant: Variant) -> ServerProcess {
    // A stop whose `shutdown` fails lasts until the drain timeout.
    let drain_timeout = ["--set", "server.drain_timeout_ms=3000"];
    start_server(&[&["--backend", variant.name()], &drain_timeout[..]].concat())
}

/// Returns an idle client that has been accepted.
fn connect_and_wait(server: &ServerProcess) -> Client {
    let sockets = || server.descriptors().values().filter(|it| it.contains("socket:")).count();
    let before = sockets();
    let client = Client::connect(server.address);
    wait_until("it is accepted", || sockets() > before);
    client
}

fn count(injection: &Injection, name: &str) -> usize {
    injection.calls().iter().filter(|call| call.name == name).count()
}

#[test]
fn accepting_resumes_after_a_period_of_accept_errors() {
    let test = "accepting_resumes_after_a_period_of_accept_errors";
    let Some(strace) = find_tool(test, "strace") else { return };
    let injected = in_parallel(VARIANTS, |variant| {
        // ECONNABORTED concerns one connection, so accept is retried at once, 64 times in a row.
        let fail = |(error, retries)| fail_accepts(&strace, variant, error, retries);
        in_parallel([("EMFILE", 0), ("ECONNABORTED", 64)], fail)
    });
    println!("{test}: {injected} faults injected");
}

fn fail_accepts(strace: &Path, variant: Variant, error: &str, immediate_retries: usize) -> usize {
    const CLIENTS: usize = 32;
    let server = start(variant);
    let mut early = connect_and_wait(&server);
    let fault = Fault { error, ..EVERY_ACCEPT };
    let injection = Injection::attach(strace, &server, &fault);
    let start = Instant::now();
    let (served, faults) = thread::scope(|scope| {
        let endpoint = Endpoint { address: server.address, protocol: ServedProtocol::Http10 };
        let clients =
            scope.spawn(move || run_clients(endpoint, CLIENTS, CLIENTS, || StallAction::Wait));
        wait_until("accept fails", || count(&injection, "accept4") > 0);
        early.send(REQUEST);
        assert_eq!(
            early.read_to_end(),
            ReceivedStream::with_fin(RESPONSE),
            "it is served meanwhile"
        );
        drop(early);
        let tries = immediate_retries + 5;
        wait_until("accept is retried", || count(&injection, "accept4") >= tries);
        let calls = injection.detach();
        let seconds = start.elapsed().as_secs() as usize;
        let count = |name: &str| calls.iter().filter(|call| call.name == name).count();
        // One when the clients connect, one when a connection ends, and one a tick.
        let max_tries = seconds + 3 + immediate_retries;
        assert!(count("accept4") <= max_tries, "{variant}: {} in {seconds} s", count("accept4"));
        // Two for each try, five for the client that is served, and with edge-triggered epoll one
        // for each client that connects.
        let max_waits = 2 * max_tries + 5 + CLIENTS;
        let waits = count("epoll_wait");
        assert!(waits <= max_waits, "{variant}: {waits} waits in {seconds} s");
        let faults = calls.iter().filter(|call| call.is_injected()).count();
        (clients.join().expect("no panic"), faults)
    });
    assert_all_served(&served, CLIENTS);
    assert_ended_well(&server.stop_and_wait());
    faults
}

fn assert_all_served(served: &ClientOutcomes, clients: usize) {
    assert_eq!((served.served, served.lost.len()), (clients, 0));
}

#[test]
fn a_stop_during_accept_errors_serves_the_accept_queue() {
    let test = "a_stop_during_accept_errors_serves_the_accept_queue";
    let Some(strace) = find_tool(test, "strace") else { return };
    let injected = in_parallel(VARIANTS, |variant| stop_with_a_queue(&strace, variant));
    println!("{test}: {injected} faults injected");
}

fn stop_with_a_queue(strace: &Path, variant: Variant) -> usize {
    const CLIENTS: usize = 8;
    let server = start(variant);
    // All clients are in the accept queue before the stop.
    let injection = Injection::attach(strace, &server, &EVERY_ACCEPT);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
    clients.iter_mut().for_each(|client| client.send(REQUEST));
    server.signal(Signal::TERM);
    wait_until("the stop is handled", || {
        injection.calls().iter().any(|call| call.argument(1) == "EPOLL_CTL_DEL")
    });
    let faults = injection.detach().iter().filter(|call| call.is_injected()).count();
    for mut client in clients {
        assert_eq!(client.read_to_end(), ReceivedStream::with_fin(RESPONSE), "{variant}");
    }
    assert_ended_well(&server.wait());
    faults
}

#[test]
fn a_stop_survives_failures_of_its_own_system_calls() {
    let test = "a_stop_survives_failures_of_its_own_system_calls";
    let Some(strace) = find_tool(test, "strace") else { return };
    let injected = in_parallel(VARIANTS, |variant| {
        let stop = |calls| stop_with_faults(&strace, variant, calls);
        in_parallel(["setsockopt", "ioctl", "shutdown", "close"], stop)
    });
    println!("{test}: {injected} faults injected");
}

fn stop_with_faults(strace: &Path, variant: Variant, calls: &str) -> usize {
    let server = start(variant);
    let mut idle = connect_and_wait(&server);
    let mut late = connect_and_wait(&server);
    let (request, rest) = REQUEST.split_at(REQUEST.len() - 1);
    late.send(request);
    let fault = Fault { calls, error: "ENOMEM", when: "1+" };
    let injection = Injection::attach(strace, &server, &fault);
    server.signal(Signal::TERM);
    late.send(rest);
    assert_eq!(late.read_to_end(), ReceivedStream::with_fin(RESPONSE), "{variant} {calls}");
    drop(late);
    assert!(idle.read_to_end().bytes.is_empty(), "{variant} {calls}");
    drop(idle);
    assert_ended_well(&server.wait());
    let faults = injection.detach().iter().filter(|call| call.is_injected()).count();
    assert!(faults > 0, "{variant}: a stop does not call {calls}");
    faults
}

/// A correct program does not get these errors. The server reports them and ends; it must not keep
/// running without serving.
#[test]
fn a_fatal_epoll_wait_error_ends_the_server() {
    let test = "a_fatal_epoll_wait_error_ends_the_server";
    let Some(strace) = find_tool(test, "strace") else { return };
    let protocols = [
        ServedProtocol::Http10,
        ServedProtocol::Echo,
        ServedProtocol::Discard,
        ServedProtocol::Chargen,
    ];
    let injected = in_parallel(EVERY_EPOLL, |variant| {
        in_parallel(protocols, |protocol| {
            let subject = Subject { strace: &strace, variant, protocol };
            FATAL_EPOLL_WAIT_ERRORS.into_iter().map(|error| fail_epoll_wait(subject, error)).sum()
        })
    });
    println!("{test}: {injected} faults injected");
}

fn fail_epoll_wait(subject: Subject, (error, number): (&str, i32)) -> usize {
    let Subject { strace, variant, protocol } = subject;
    let server = start_server(&["--backend", variant.name(), "--protocol", protocol.key()]);
    let mut client = connect_and_wait(&server);
    let fault = Fault { calls: "epoll_wait", error, when: "1" };
    let injection = Injection::attach(strace, &server, &fault);
    // The client of chargen has received a part of the stream, the others have sent nothing.
    let received = client.read_to_end().bytes;
    assert_eq!(received.is_empty(), !protocol.is_endless(), "{variant} {protocol:?}");
    let sent = (0..received.len()).map(chargen_byte);
    assert!(received.into_iter().eq(sent), "{variant} {protocol:?}");
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(1), "{variant} {protocol:?} {error}");
    let expected = format!("epoll_wait: {}", io::Error::from_raw_os_error(number));
    let messages = ended.stderr.iter().filter(|line| line.contains(&expected)).count();
    assert_eq!(messages, 1, "{variant}: {:?}", ended.stderr);
    injection.detach().iter().filter(|call| call.is_injected()).count()
}
