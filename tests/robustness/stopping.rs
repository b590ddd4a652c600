//! SIGTERM and SIGINT: connections with a request are served, the program exits with 0, and a
//! second signal ends it at once.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use ringpoll_backends::Variant;
use rustix::process::Signal;

use crate::client::{check_served, connect, connect_and_send, read_to_end, wait_until_closed};
use crate::load::Load;
use crate::servers::for_each_variant;
use common::{REQUEST, ServerOutput, ServerProcess, find_tool, response, wait_until};

tests![
    signal_finishes_slow_readers_and_closes_idle_connections,
    drain_timeout_ends_a_stop,
    second_signal_exits_at_once,
    stops_under_load_lose_no_request,
    stops_under_the_load_of_wrk_lose_no_request,
    killed_server_listens_again,
    ;
    long:
    hundred_stops_under_load_lose_no_request,
];

/// Exceeds the buffers of both sides.
const LARGE_BYTES: usize = 512 << 10;
const LARGE: [&str; 6] = [
    "--set",
    "server.response_body_bytes=524288",
    "--set",
    "server.send_buffer_bytes=32768",
    // On a busy machine the readers may be late.
    "--set",
    "deadlines.linger_timeout_ms=0",
];
const NO_DRAIN_TIMEOUT: &str = "server.drain_timeout_ms=3600000";
const READERS: usize = 4;

fn signal_finishes_slow_readers_and_closes_idle_connections() {
    for_each_variant(|variant| {
        for signal in [Signal::TERM, Signal::INT] {
            let server = start(variant, &[&LARGE[..], &["--set", NO_DRAIN_TIMEOUT]].concat());
            let address = server.address;
            let readers = start_readers(address);
            let idle = connect(address);
            server.signal(signal);
            wait_until_closed(&idle);
            assert!(TcpStream::connect(address).is_err(), "the listener is open");
            for reader in readers {
                let got = read_to_end(&reader).expect("a response");
                assert!(got == response(LARGE_BYTES), "{} bytes", got.len());
            }
            let output = server.wait();
            assert_eq!(output.status.code(), Some(0), "{:?}", output.stderr);
            assert_eq!(counter(&output, "drained"), READERS as u64);
            assert_eq!(counter(&output, "force_closed"), 1);
        }
    });
}

fn drain_timeout_ends_a_stop() {
    for_each_variant(|variant| {
        let server =
            start(variant, &[&LARGE[..], &["--set", "server.drain_timeout_ms=1500"]].concat());
        let readers = start_readers(server.address);
        server.signal(Signal::TERM);
        let output = server.wait();
        assert_eq!(output.status.code(), Some(0), "{:?}", output.stderr);
        assert_eq!(counter(&output, "force_closed"), READERS as u64);
        assert_eq!((counter(&output, "drained"), counter(&output, "responses")), (0, 0));
        drop(readers);
    });
}

fn second_signal_exits_at_once() {
    for_each_variant(|variant| {
        for (first, second) in [(Signal::TERM, Signal::INT), (Signal::INT, Signal::TERM)] {
            let server = start(variant, &[&LARGE[..], &["--set", NO_DRAIN_TIMEOUT]].concat());
            let readers = start_readers(server.address);
            server.signal(first);
            wait_until("the listener is closed", || TcpStream::connect(server.address).is_err());
            server.signal(second);
            let output = server.wait();
            assert_eq!(output.status.signal(), Some(second.as_raw()), "{:?}", output.status);
            drop(readers);
        }
    });
}

fn stops_under_load_lose_no_request() {
    let stops = if common::is_full() { 20 } else { 8 };
    for_each_variant(|variant| stops_under_load(variant, stops));
}

fn hundred_stops_under_load_lose_no_request() {
    for_each_variant(|variant| stops_under_load(variant, 100));
}

fn stops_under_the_load_of_wrk_lose_no_request() {
    let Some(wrk) = find_tool("stops_under_the_load_of_wrk_lose_no_request", "wrk") else { return };
    for_each_variant(|variant| {
        for _ in 0..if common::is_full() { 3 } else { 1 } {
            let server = start(variant, &[]);
            let mut load = Command::new(&wrk)
                .args(["-t", "1", "-c", "64", "-d", "60s", &format!("http://{}/", server.address)])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("wrk runs");
            thread::sleep(Duration::from_millis(300));
            server.signal(Signal::TERM);
            let output = server.wait();
            // Killed after the stop, so that wrk closes no connection before.
            load.kill().expect("a child process");
            load.wait().expect("a child process");
            assert_eq!(output.status.code(), Some(0), "{:?}", output.stderr);
            assert!(counter(&output, "requests") > 0, "wrk sent no request");
            assert_eq!(counter(&output, "requests"), counter(&output, "responses"));
            assert_eq!(counter(&output, "connection_errors"), 0, "{}", output.report()["total"]);
        }
    });
}

fn stops_under_load(variant: Variant, stops: u64) {
    for stop in 0..stops {
        let workers = if stop % 4 == 3 { "2" } else { "1" };
        let server = start(variant, &["--workers", workers, "--set", NO_DRAIN_TIMEOUT]);
        let load = Load::start(server.address, 8);
        // Each stop comes at another moment.
        load.wait_for_responses(100 + 17 * stop);
        server.signal(if stop % 2 == 0 { Signal::TERM } else { Signal::INT });
        let output = server.wait();
        let outcomes = load.wait();
        assert_eq!(output.status.code(), Some(0), "{:?}", output.stderr);
        let responses = outcomes.responses.load(Ordering::Relaxed);
        assert_eq!(outcomes.lost.load(Ordering::Relaxed), 0, "stop {stop}: {outcomes:?}");
        assert_eq!(counter(&output, "requests"), responses, "stop {stop}: {outcomes:?}");
        assert_eq!(counter(&output, "responses"), responses, "stop {stop}: {outcomes:?}");
    }
}

fn start(variant: Variant, arguments: &[&str]) -> ServerProcess {
    ServerProcess::start(&[&["--backend", variant.name()], arguments].concat())
}

/// Starts peers that have received the start of a large response.
fn start_readers(address: SocketAddr) -> Vec<TcpStream> {
    let readers: Vec<_> = (0..READERS).map(|_| connect_and_send(address, REQUEST)).collect();
    for reader in &readers {
        reader.peek(&mut [0]).expect("the start of a response");
    }
    readers
}

fn counter(output: &ServerOutput, counter: &str) -> u64 {
    output.report()["total"][counter].as_u64().unwrap_or_else(|| panic!("no counter {counter}"))
}

/// A new server can bind the address of one that was killed with open connections. The kernel keeps
/// an io_uring listener open for some milliseconds, until it has torn down the ring.
fn killed_server_listens_again() {
    for_each_variant(|variant| {
        // No client of another test can use a port of this address.
        let index = Variant::ALL.iter().position(|&it| it == variant).expect("a variant");
        let mut listen = format!("127.0.77.{}:0", 1 + index);
        let mut left_open = Vec::new();
        for round in 0..if common::is_full() { 50 } else { 20 } {
            // Two rounds in a row: with SO_REUSEPORT, two workers share the address with others.
            let workers = if round % 4 >= 2 { "2" } else { "1" };
            let server = start(variant, &["--listen", &listen, "--workers", workers]);
            listen = server.address.to_string();
            // If an old listener were still open, it would get one of these connections.
            (0..8).for_each(|_| check_served(server.address));
            left_open = vec![
                connect(server.address),
                connect_and_send(server.address, b"GET"),
                connect_and_send(server.address, REQUEST),
            ];
            // Dropping it kills it.
        }
        drop(left_open);
    });
}
