//! More clients than slots, or than descriptors: all are served in the end, and nobody spins
//! meanwhile.

use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::thread;
use std::time::{Duration, Instant};

use ringpoll_backends::Variant;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit, setrlimit};

use crate::client::{connect, connect_and_send, read_to_end, wait_until_received};
use crate::common::{
    REQUEST, RESPONSE, ServerProcess, connections_held, engine, wait_until, wait_until_held,
};
use crate::serving::{on_every_variant, serve, stopped};

const SLOTS: usize = 4;
const DESCRIPTORS: usize = 64;
const CLIENTS: usize = 500;
/// What a connection can bring from its accept to its close, with room to spare.
const EVENTS_OF_A_LIFE: u64 = 10;

#[test]
fn five_hundred_clients_share_four_slots() {
    on_every_variant(|variant| {
        let server = serve(variant, |worker| worker.limits.connections = SLOTS);
        let address = server.address;
        // These take their time, so that nobody can be served to its end before the next is in.
        let slow: Vec<_> = (0..SLOTS).map(|_| connect_and_send(address, b"GET /")).collect();
        wait_until_held(address, SLOTS);
        let quick: Vec<_> = (SLOTS..CLIENTS).map(|_| connect_and_send(address, REQUEST)).collect();
        for mut client in &slow {
            client.write_all(b" HTTP/1.0\r\n\r\n").expect("room for so little");
        }
        for client in slow.iter().chain(&quick) {
            assert_eq!(read_to_end(client).expect("an answer"), RESPONSE);
        }
        let counters = stopped(server);
        assert_eq!((counters.answered, counters.closed), (CLIENTS as u64, CLIENTS as u64));
        assert!(counters.accept_pauses > 0, "{variant}: the slots were never full");
        assert_eq!((counters.accept_errors, counters.connection_errors), (0, 0));
    });
}

#[test]
fn while_all_slots_are_held_nothing_happens() {
    const QUEUED: usize = 20;
    on_every_variant(|variant| {
        let start = Instant::now();
        let server = serve(variant, |worker| worker.limits.connections = SLOTS);
        let address = server.address;
        let held: Vec<_> = (0..SLOTS).map(|_| connect(address)).collect();
        wait_until_held(address, SLOTS);
        let queued: Vec<_> = (0..QUEUED).map(|_| connect_and_send(address, REQUEST)).collect();
        queued.iter().for_each(wait_until_received);
        thread::sleep(Duration::from_secs(3));
        assert_eq!(connections_held(address), SLOTS, "nobody else got in");
        drop(held);
        for client in &queued {
            assert_eq!(read_to_end(client).expect("an answer"), RESPONSE);
        }
        let counters = stopped(server);
        assert_eq!(counters.answered, QUEUED as u64);
        let ticks = start.elapsed().as_secs() + 2;
        let most = ticks + EVENTS_OF_A_LIFE * (SLOTS + QUEUED) as u64;
        assert!(counters.waits <= most, "{variant}: {} waits, not {most}", counters.waits);
    });
}

/// The limit is the process's, so it takes a process of its own.
#[test]
fn out_of_descriptors_it_waits_and_then_serves_all() {
    on_every_variant(|variant| {
        let start = Instant::now();
        let server = server_with_descriptors(variant, DESCRIPTORS);
        let address = server.address;
        let held: Vec<_> = (0..DESCRIPTORS).map(|_| connect(address)).collect();
        wait_until("it is out of descriptors", || is_out_of_descriptors(&server));
        let queued: Vec<_> = (0..CLIENTS).map(|_| connect_and_send(address, REQUEST)).collect();
        queued.iter().for_each(wait_until_received);
        thread::sleep(Duration::from_secs(3));
        assert!(is_out_of_descriptors(&server));
        drop(held);
        for client in queued {
            assert_eq!(read_to_end(&client).expect("an answer"), RESPONSE);
        }
        wait_until_held(address, 0);
        let ended = server.stopped();
        assert!(ended.status.success(), "{:?}", ended.stderr);
        let report = ended.report();
        let count = |name: &str| report["total"][name].as_u64().expect("a counter");
        assert_eq!(count("answered"), CLIENTS as u64);
        // An attempt for each tick and for each descriptor that came back.
        let ticks = start.elapsed().as_secs() + 2;
        let most = ticks + count("closed");
        assert!((1..=most).contains(&count("accept_errors")), "{variant}: {report}");
        let most = ticks + EVENTS_OF_A_LIFE * count("closed");
        assert!(count("waits") <= most, "{variant}: {report}");
    });
}

/// The silent hold every descriptor when the stop comes, and the queue is full of requests.
#[test]
fn out_of_descriptors_a_stop_serves_the_queue_all_the_same() {
    on_every_variant(|variant| {
        let server = server_with_descriptors(variant, DESCRIPTORS);
        let address = server.address;
        let silent: Vec<_> = (0..DESCRIPTORS).map(|_| connect(address)).collect();
        wait_until("it is out of descriptors", || is_out_of_descriptors(&server));
        let queued: Vec<_> = (0..CLIENTS).map(|_| connect_and_send(address, REQUEST)).collect();
        queued.iter().for_each(wait_until_received);
        server.signal(Signal::TERM);
        for client in queued {
            assert_eq!(read_to_end(&client).expect("an answer"), RESPONSE);
        }
        let ended = server.ended();
        assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
        let report = ended.report();
        let count = |name: &str| report["total"][name].as_u64().expect("a counter");
        assert_eq!((count("answered"), count("requests")), (CLIENTS as u64, CLIENTS as u64));
        assert_eq!((count("cut_off"), count("closed")), (DESCRIPTORS as u64, count("accepted")));
        drop(silent);
    });
}

/// Nobody is connected whose end could bring a descriptor back; time alone must be enough.
#[test]
fn a_shortage_of_descriptors_that_others_end_is_over_with_the_next_tick() {
    on_every_variant(|variant| {
        let start = Instant::now();
        let server = server_with_descriptors(variant, DESCRIPTORS);
        let address = server.address;
        // An ACCEPT of io_uring's goes by the limit of when it was asked for. When all descriptors
        // are in use none is in flight, and those that are asked for from then on fail.
        let held: Vec<_> = (0..DESCRIPTORS).map(|_| connect(address)).collect();
        wait_until("it is out of descriptors", || is_out_of_descriptors(&server));
        limit_descriptors(&server, 3);
        drop(held);
        wait_until_held(address, 0);
        let clients = [connect_and_send(address, REQUEST), connect_and_send(address, REQUEST)];
        thread::sleep(Duration::from_secs(2));
        for client in &clients {
            client.set_nonblocking(true).expect("a socket");
            let answer = client.peek(&mut [0]).expect_err("it was not short of any");
            assert_eq!(answer.kind(), ErrorKind::WouldBlock, "{variant}");
            client.set_nonblocking(false).expect("a socket");
        }
        limit_descriptors(&server, DESCRIPTORS as u64);
        for client in &clients {
            assert_eq!(read_to_end(client).expect("an answer"), RESPONSE, "{variant}");
        }
        let report = server.stopped().report();
        let count = |name: &str| report["total"][name].as_u64().expect("a counter");
        let most = start.elapsed().as_secs() + 2 + count("closed");
        assert!((1..=most).contains(&count("accept_errors")), "{variant}: {report}");
        let most = start.elapsed().as_secs() + 2 + EVENTS_OF_A_LIFE * count("closed");
        assert!(count("waits") <= most, "{variant}: {report}");
    });
}

/// The ring's table of connections has no more entries than the process may have descriptors. An
/// ACCEPT that finds it full would lose somebody, so none is asked for.
#[test]
fn a_table_of_connections_as_small_as_the_limit_of_descriptors_loses_nobody() {
    let variant = Variant::IoUringTuned;
    if !engine("a_table_of_connections_as_small_as_the_limit_of_descriptors", variant) {
        return;
    }
    let start = Instant::now();
    let directly = ["io_uring.direct_descriptors=true", "io_uring.shutdown=ring"];
    let server = server_with_descriptors_and(variant, DESCRIPTORS, &directly);
    let address = server.address;
    assert!(server.start_line.contains("direct_descriptors"), "{}", server.start_line);
    let held: Vec<_> = (0..DESCRIPTORS).map(|_| connect(address)).collect();
    wait_until_held(address, DESCRIPTORS);
    let queued: Vec<_> = (0..CLIENTS).map(|_| connect_and_send(address, REQUEST)).collect();
    queued.iter().for_each(wait_until_received);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(connections_held(address), DESCRIPTORS, "nobody else got in");
    drop(held);
    for client in queued {
        assert_eq!(read_to_end(&client).expect("an answer"), RESPONSE);
    }
    wait_until_held(address, 0);
    let report = server.stopped().report();
    let count = |name: &str| report["total"][name].as_u64().expect("a counter");
    assert_eq!((count("answered"), count("accept_errors")), (CLIENTS as u64, 0), "{report}");
    let most = start.elapsed().as_secs() + 2 + EVENTS_OF_A_LIFE * count("closed");
    assert!(count("waits") <= most, "{report}");
}

/// Only the soft limit, so that it can be raised again.
fn limit_descriptors(server: &ServerProcess, most: u64) {
    let process = Pid::from_raw(server.id() as i32);
    let limit = Rlimit { current: Some(most), maximum: Some(DESCRIPTORS as u64) };
    prlimit(process, Resource::Nofile, limit).expect("a child of ours");
}

/// Every number below the limit is in use; what it inherited may lie above.
fn is_out_of_descriptors(server: &ServerProcess) -> bool {
    let open = server.descriptors();
    (0..DESCRIPTORS as i32).all(|number| open.contains_key(&number))
}

fn server_with_descriptors(variant: Variant, most: usize) -> ServerProcess {
    server_with_descriptors_and(variant, most, &[])
}

fn server_with_descriptors_and(variant: Variant, most: usize, keys: &[&str]) -> ServerProcess {
    let limit = Some(most as u64);
    let lower = move || Ok(setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })?);
    let mut arguments = vec!["--backend", variant.name(), "--set", "limits.connections=1000"];
    arguments.extend(keys.iter().flat_map(|key| ["--set", key]));
    ServerProcess::start_with(&arguments, |command| {
        // SAFETY: between fork and exec it makes one system call, and allocates nothing.
        unsafe { command.pre_exec(lower) };
    })
}
