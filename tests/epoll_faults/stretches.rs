//! Faults that last: no descriptor for a while, a stop at the worst of times, and the one call
//! without which no loop can go on.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Instant;

use ringpoll_backends::Variant;
use rustix::process::Signal;

use crate::catalogue::FATAL_ERRORS_OF_EPOLL_WAIT;
use crate::common::{Client, Exchange, REQUEST, RESPONSE, ServerProcess, tool, wait_until};
use crate::crowd::{Remedy, Served, send_crowd};
use crate::faulty_server::assert_ended_well;
use crate::injection::{Injection, What, start_server};
use crate::on_both_variants;

const EVERY_ACCEPT: What = What { calls: "accept4", error: "EMFILE", when: "1+" };

fn start(variant: Variant) -> ServerProcess {
    start_server(&["--backend", variant.name()])
}

/// A client that has been accepted, and says nothing.
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
fn a_stretch_without_descriptors_is_waited_out() {
    let test = "a_stretch_without_descriptors_is_waited_out";
    let Some(strace) = tool(test, "strace") else { return };
    let injected = on_both_variants(|variant| {
        // The second is about one connection, so the next is tried at once, 64 times in a row.
        let wait_out = |(error, at_once)| wait_out(&strace, variant, error, at_once);
        [("EMFILE", 0), ("ECONNABORTED", 64)].into_iter().map(wait_out).sum()
    });
    println!("{test}: {injected} faults injected");
}

fn wait_out(strace: &Path, variant: Variant, error: &str, at_once: usize) -> usize {
    const CLIENTS: usize = 32;
    let server = start(variant);
    let mut early = connect_and_wait(&server);
    let what = What { error, ..EVERY_ACCEPT };
    let injection = Injection::attach(strace, &server, &what);
    let start = Instant::now();
    let (served, faults) = thread::scope(|scope| {
        let address = server.address;
        let crowd = scope.spawn(move || send_crowd(address, CLIENTS, CLIENTS, || Remedy::Wait));
        wait_until("the queue cannot be served", || count(&injection, "accept4") > 0);
        early.send(REQUEST);
        assert_eq!(early.read_to_end(), Exchange::finished(RESPONSE), "it is served meanwhile");
        drop(early);
        wait_until("it is tried again", || count(&injection, "accept4") >= at_once + 5);
        let calls = injection.detach();
        let seconds = start.elapsed().as_secs() as usize;
        let count = |name: &str| calls.iter().filter(|call| call.name == name).count();
        // Once when the crowd comes, once when somebody goes, and on each tick.
        let most_tries = seconds + 3 + at_once;
        assert!(count("accept4") <= most_tries, "{variant}: {} in {seconds} s", count("accept4"));
        // Twice for each of them, five times for the one who is served, and edge triggered once
        // for each who comes.
        let most_waits = 2 * most_tries + 5 + CLIENTS;
        let waits = count("epoll_wait");
        assert!(waits <= most_waits, "{variant}: {waits} waits in {seconds} s");
        let faults = calls.iter().filter(|call| call.is_injected()).count();
        (crowd.join().expect("no panic"), faults)
    });
    assert_all_answered(&served, CLIENTS);
    assert_ended_well(&server.stopped());
    faults
}

fn assert_all_answered(served: &Served, clients: usize) {
    assert_eq!((served.answered, served.lost.len()), (clients, 0));
}

#[test]
fn a_stop_while_nobody_can_be_accepted_serves_the_queue() {
    let test = "a_stop_while_nobody_can_be_accepted_serves_the_queue";
    let Some(strace) = tool(test, "strace") else { return };
    let injected = on_both_variants(|variant| stop_with_a_queue(&strace, variant));
    println!("{test}: {injected} faults injected");
}

fn stop_with_a_queue(strace: &Path, variant: Variant) -> usize {
    const CLIENTS: usize = 8;
    let server = start(variant);
    // They wait in the queue, all of them, before the stop comes.
    let injection = Injection::attach(strace, &server, &EVERY_ACCEPT);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
    clients.iter_mut().for_each(|client| client.send(REQUEST));
    server.signal(Signal::TERM);
    wait_until("the stop is heard", || {
        injection.calls().iter().any(|call| call.argument(1) == "EPOLL_CTL_DEL")
    });
    let faults = injection.detach().iter().filter(|call| call.is_injected()).count();
    for mut client in clients {
        assert_eq!(client.read_to_end(), Exchange::finished(RESPONSE), "{variant}");
    }
    assert_ended_well(&server.ended());
    faults
}

/// What only a stop calls, and what it calls more than others.
#[test]
fn a_stop_gets_by_with_what_fails() {
    let test = "a_stop_gets_by_with_what_fails";
    let Some(strace) = tool(test, "strace") else { return };
    let injected = on_both_variants(|variant| {
        let stop = |calls| stop_with_faults(&strace, variant, calls);
        ["setsockopt", "ioctl", "shutdown", "close"].into_iter().map(stop).sum()
    });
    println!("{test}: {injected} faults injected");
}

fn stop_with_faults(strace: &Path, variant: Variant, calls: &str) -> usize {
    let server = start(variant);
    let mut silent = connect_and_wait(&server);
    let mut late = connect_and_wait(&server);
    let (request, rest) = REQUEST.split_at(REQUEST.len() - 1);
    late.send(request);
    let what = What { calls, error: "ENOMEM", when: "1+" };
    let injection = Injection::attach(strace, &server, &what);
    server.signal(Signal::TERM);
    late.send(rest);
    assert_eq!(late.read_to_end(), Exchange::finished(RESPONSE), "{variant} {calls}");
    drop(late);
    assert!(silent.read_to_end().bytes.is_empty(), "{variant} {calls}");
    drop(silent);
    assert_ended_well(&server.ended());
    let faults = injection.detach().iter().filter(|call| call.is_injected()).count();
    assert!(faults > 0, "{variant}: a stop does not call {calls}");
    faults
}

/// It cannot happen on a healthy kernel. Where it does the server says so and ends, instead of
/// looking alive and serving nobody.
#[test]
fn a_wait_that_cannot_be_ends_the_server() {
    let test = "a_wait_that_cannot_be_ends_the_server";
    let Some(strace) = tool(test, "strace") else { return };
    let injected = on_both_variants(|variant| {
        let end = |(error, number)| end_by_a_wait(&strace, variant, error, number);
        FATAL_ERRORS_OF_EPOLL_WAIT.into_iter().map(end).sum()
    });
    println!("{test}: {injected} faults injected");
}

fn end_by_a_wait(strace: &Path, variant: Variant, error: &str, number: i32) -> usize {
    let server = start(variant);
    let mut client = connect_and_wait(&server);
    let what = What { calls: "epoll_wait", error, when: "1" };
    let injection = Injection::attach(strace, &server, &what);
    assert!(client.read_to_end().bytes.is_empty(), "nobody waits for ever");
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(1), "{variant} {error}");
    let expected = format!("epoll_wait: {}", io::Error::from_raw_os_error(number));
    let said = ended.stderr.iter().filter(|line| line.contains(&expected)).count();
    assert_eq!(said, 1, "{variant}: {:?}", ended.stderr);
    injection.detach().iter().filter(|call| call.is_injected()).count()
}
