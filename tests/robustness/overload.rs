//! More clients than slots or descriptors: all are served in the end, and the server does not spin.

use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::thread;
use std::time::{Duration, Instant};

use ringpoll_backends::Variant;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit, setrlimit};

use crate::client::{connect, connect_and_send, read_to_end, wait_until_acknowledged};
use crate::servers::{for_each_variant, serve, stop_and_count};
use common::{REQUEST, RESPONSE, ServerProcess, wait_for_open_connections, wait_until};

tests![
    five_hundred_clients_share_four_slots,
    server_sleeps_while_all_slots_are_in_use,
    out_of_descriptors_queued_clients_are_served_later,
    out_of_descriptors_stop_serves_the_accept_queue,
    descriptor_shortage_ends_with_the_next_tick,
];

const SLOTS: usize = 4;
const DESCRIPTORS: usize = 64;
const CLIENTS: usize = 500;
/// Events of a connection from accept to close, with a margin.
const MAX_EVENTS_PER_CONNECTION: u64 = 10;

fn five_hundred_clients_share_four_slots() {
    for_each_variant(|variant| {
        let server = serve(variant, |worker| worker.limits.connections = SLOTS);
        let address = server.address;
        // Slow requests keep all slots in use until every client has connected.
        let slow: Vec<_> = (0..SLOTS).map(|_| connect_and_send(address, b"GET /")).collect();
        wait_for_open_connections(address, SLOTS);
        let quick: Vec<_> = (SLOTS..CLIENTS).map(|_| connect_and_send(address, REQUEST)).collect();
        for mut client in &slow {
            client.write_all(b" HTTP/1.0\r\n\r\n").expect("room in the send buffer");
        }
        for client in slow.iter().chain(&quick) {
            assert_eq!(read_to_end(client).expect("a response"), RESPONSE);
        }
        let counters = stop_and_count(server);
        assert_eq!((counters.responses, counters.closed), (CLIENTS as u64, CLIENTS as u64));
        assert!(counters.accept_pauses > 0, "{variant}: the slots were never full");
        assert_eq!((counters.accept_errors, counters.connection_errors), (0, 0));
    });
}

fn server_sleeps_while_all_slots_are_in_use() {
    const QUEUED: usize = 20;
    for_each_variant(|variant| {
        let start = Instant::now();
        let server = serve(variant, |worker| worker.limits.connections = SLOTS);
        let address = server.address;
        let in_use: Vec<_> = (0..SLOTS).map(|_| connect(address)).collect();
        wait_for_open_connections(address, SLOTS);
        let queued: Vec<_> = (0..QUEUED).map(|_| connect_and_send(address, REQUEST)).collect();
        queued.iter().for_each(wait_until_acknowledged);
        thread::sleep(Duration::from_secs(2));
        wait_for_open_connections(address, SLOTS);
        drop(in_use);
        for client in &queued {
            assert_eq!(read_to_end(client).expect("a response"), RESPONSE);
        }
        let counters = stop_and_count(server);
        assert_eq!(counters.responses, QUEUED as u64);
        let ticks = start.elapsed().as_secs() + 2;
        let max = ticks + MAX_EVENTS_PER_CONNECTION * (SLOTS + QUEUED) as u64;
        assert!(counters.waits <= max, "{variant}: {} waits, at most {max}", counters.waits);
    });
}

/// The limit applies to a process, so the server is a child process.
fn out_of_descriptors_queued_clients_are_served_later() {
    for_each_variant(|variant| {
        let start = Instant::now();
        let server = server_with_descriptors(variant, DESCRIPTORS);
        let address = server.address;
        let in_use: Vec<_> = (0..DESCRIPTORS).map(|_| connect(address)).collect();
        wait_until("the server is out of descriptors", || is_out_of_descriptors(&server));
        let queued: Vec<_> = (0..CLIENTS).map(|_| connect_and_send(address, REQUEST)).collect();
        queued.iter().for_each(wait_until_acknowledged);
        thread::sleep(Duration::from_secs(2));
        assert!(is_out_of_descriptors(&server));
        drop(in_use);
        for client in queued {
            assert_eq!(read_to_end(&client).expect("a response"), RESPONSE);
        }
        wait_for_open_connections(address, 0);
        let ended = server.stop_and_wait();
        assert!(ended.status.success(), "{:?}", ended.stderr);
        let report = ended.report();
        let count = |name: &str| report["total"][name].as_u64().expect("a counter");
        assert_eq!(count("responses"), CLIENTS as u64);
        // One attempt for each tick and for each released descriptor.
        let ticks = start.elapsed().as_secs() + 2;
        let max = ticks + count("closed");
        assert!((1..=max).contains(&count("accept_errors")), "{variant}: {report}");
        let max = ticks + MAX_EVENTS_PER_CONNECTION * count("closed");
        assert!(count("waits") <= max, "{variant}: {report}");
    });
}

/// At the stop, idle connections use every descriptor and the accept queue is full of requests.
fn out_of_descriptors_stop_serves_the_accept_queue() {
    for_each_variant(|variant| {
        let server = server_with_descriptors(variant, DESCRIPTORS);
        let address = server.address;
        let idle: Vec<_> = (0..DESCRIPTORS).map(|_| connect(address)).collect();
        wait_until("the server is out of descriptors", || is_out_of_descriptors(&server));
        let queued: Vec<_> = (0..CLIENTS).map(|_| connect_and_send(address, REQUEST)).collect();
        queued.iter().for_each(wait_until_acknowledged);
        server.signal(Signal::TERM);
        for client in queued {
            assert_eq!(read_to_end(&client).expect("a response"), RESPONSE);
        }
        let ended = server.wait();
        assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
        let report = ended.report();
        let count = |name: &str| report["total"][name].as_u64().expect("a counter");
        assert_eq!((count("responses"), count("requests")), (CLIENTS as u64, CLIENTS as u64));
        assert_eq!(
            (count("force_closed"), count("closed")),
            (DESCRIPTORS as u64, count("accepted"))
        );
        drop(idle);
    });
}

/// There is no connection whose close could trigger another accept, so the tick has to.
fn descriptor_shortage_ends_with_the_next_tick() {
    for_each_variant(|variant| {
        let start = Instant::now();
        let server = server_with_descriptors(variant, DESCRIPTORS);
        let address = server.address;
        // io_uring checks the limit when an ACCEPT is submitted. With all descriptors in use, none
        // is in flight, and those submitted from now on fail.
        let in_use: Vec<_> = (0..DESCRIPTORS).map(|_| connect(address)).collect();
        wait_until("the server is out of descriptors", || is_out_of_descriptors(&server));
        limit_descriptors(&server, 3);
        drop(in_use);
        wait_for_open_connections(address, 0);
        let clients = [connect_and_send(address, REQUEST), connect_and_send(address, REQUEST)];
        thread::sleep(Duration::from_secs(2));
        for client in &clients {
            client.set_nonblocking(true).expect("a socket");
            let error = client.peek(&mut [0]).expect_err("no descriptor for the connection");
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{variant}");
            client.set_nonblocking(false).expect("a socket");
        }
        limit_descriptors(&server, DESCRIPTORS as u64);
        for client in &clients {
            assert_eq!(read_to_end(client).expect("a response"), RESPONSE, "{variant}");
        }
        let report = server.stop_and_wait().report();
        let count = |name: &str| report["total"][name].as_u64().expect("a counter");
        let max = start.elapsed().as_secs() + 2 + count("closed");
        assert!((1..=max).contains(&count("accept_errors")), "{variant}: {report}");
        let max = start.elapsed().as_secs() + 2 + MAX_EVENTS_PER_CONNECTION * count("closed");
        assert!(count("waits") <= max, "{variant}: {report}");
    });
}

/// Sets the soft limit alone, so that it can be raised again.
fn limit_descriptors(server: &ServerProcess, max: u64) {
    let process = Pid::from_raw(server.id() as i32);
    let limit = Rlimit { current: Some(max), maximum: Some(DESCRIPTORS as u64) };
    prlimit(process, Resource::Nofile, limit).expect("a child process");
}

/// Returns whether every number below the limit is in use. Inherited descriptors may be above.
fn is_out_of_descriptors(server: &ServerProcess) -> bool {
    let open = server.descriptors();
    (0..DESCRIPTORS as i32).all(|number| open.contains_key(&number))
}

fn server_with_descriptors(variant: Variant, max: usize) -> ServerProcess {
    let limit = Some(max as u64);
    let lower = move || Ok(setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })?);
    let arguments = ["--backend", variant.name(), "--set", "limits.connections=1000"];
    ServerProcess::start_with(&arguments, |command| {
        // SAFETY: between fork and exec the closure makes one system call and does not allocate.
        unsafe { command.pre_exec(lower) };
    })
}
