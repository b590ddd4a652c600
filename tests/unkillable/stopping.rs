//! SIGTERM and SIGINT: whoever has asked is answered, the program ends with 0, and a second
//! signal ends it at once.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use ringpoll_backends::Variant;
use rustix::process::Signal;

use crate::client::{connect, connect_and_send, is_ended, is_served, read_to_end};
use crate::common::{Ended, REQUEST, ServerProcess, response, tool, wait_until};
use crate::load::Load;
use crate::serving::on_every_variant;

/// Far more than the buffers of both sides hold together, while nobody reads.
const LARGE_BYTES: usize = 512 << 10;
const LARGE: [&str; 6] = [
    "--set",
    "server.response_body_bytes=524288",
    "--set",
    "server.send_buffer_bytes=32768",
    // On a busy machine the readers have their turn late.
    "--set",
    "deadlines.linger_timeout_ms=0",
];
const FOR_EVER: &str = "server.drain_timeout_ms=3600000";
const READERS: usize = 4;

#[test]
fn a_signal_lets_slow_readers_finish_and_cuts_off_the_silent() {
    on_every_variant(|variant| {
        for signal in [Signal::TERM, Signal::INT] {
            let server = start(variant, &[&LARGE[..], &["--set", FOR_EVER]].concat());
            let address = server.address;
            let readers = readers(address);
            let silent = connect(address);
            server.signal(signal);
            is_ended(&silent);
            assert!(TcpStream::connect(address).is_err(), "nobody new gets in");
            for reader in readers {
                let answer = read_to_end(&reader).expect("an answer");
                assert!(answer == response(LARGE_BYTES), "{} bytes", answer.len());
            }
            let ended = server.ended();
            assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
            assert_eq!(counted(&ended, "drained"), READERS as u64);
            assert_eq!(counted(&ended, "cut_off"), 1);
        }
    });
}

#[test]
fn the_drain_has_an_end() {
    on_every_variant(|variant| {
        let server =
            start(variant, &[&LARGE[..], &["--set", "server.drain_timeout_ms=1500"]].concat());
        let readers = readers(server.address);
        server.signal(Signal::TERM);
        let ended = server.ended();
        assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
        assert_eq!(counted(&ended, "cut_off"), READERS as u64);
        assert_eq!((counted(&ended, "drained"), counted(&ended, "answered")), (0, 0));
        drop(readers);
    });
}

#[test]
fn a_second_signal_ends_it_at_once() {
    on_every_variant(|variant| {
        for (first, second) in [(Signal::TERM, Signal::INT), (Signal::INT, Signal::TERM)] {
            let server = start(variant, &[&LARGE[..], &["--set", FOR_EVER]].concat());
            let readers = readers(server.address);
            server.signal(first);
            wait_until("the first is heard", || TcpStream::connect(server.address).is_err());
            server.signal(second);
            let ended = server.ended();
            assert_eq!(ended.status.signal(), Some(second.as_raw()), "{:?}", ended.status);
            drop(readers);
        }
    });
}

#[test]
fn twenty_stops_under_load_lose_no_request() {
    on_every_variant(|variant| stops_under_load(variant, 20));
}

#[test]
#[ignore = "the long form of twenty_stops_under_load_lose_no_request"]
fn a_hundred_stops_under_load_lose_no_request() {
    on_every_variant(|variant| stops_under_load(variant, 100));
}

#[test]
fn stops_under_the_load_of_wrk_lose_no_request() {
    let Some(wrk) = tool("stops_under_the_load_of_wrk_lose_no_request", "wrk") else { return };
    on_every_variant(|variant| {
        for _ in 0..3 {
            let server = start(variant, &[]);
            let mut load = Command::new(&wrk)
                .args(["-t", "1", "-c", "64", "-d", "60s", &format!("http://{}/", server.address)])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("it is installed");
            thread::sleep(Duration::from_millis(300));
            server.signal(Signal::TERM);
            let ended = server.ended();
            // Only now, so that no connection ends for this.
            load.kill().expect("a child of ours");
            load.wait().expect("a child of ours");
            assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
            assert!(counted(&ended, "requests") > 0, "wrk did not ask for anything");
            assert_eq!(counted(&ended, "requests"), counted(&ended, "answered"));
            assert_eq!(counted(&ended, "connection_errors"), 0, "{}", ended.report()["total"]);
        }
    });
}

fn stops_under_load(variant: Variant, stops: u64) {
    for stop in 0..stops {
        let workers = if stop % 4 == 3 { "2" } else { "1" };
        let server = start(variant, &["--workers", workers, "--set", FOR_EVER]);
        let load = Load::start(server.address, 8);
        // Each time at another moment.
        load.wait_until_answered(100 + 17 * stop);
        server.signal(if stop % 2 == 0 { Signal::TERM } else { Signal::INT });
        let ended = server.ended();
        let fates = load.ended();
        assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
        let answered = fates.answered.load(Ordering::Relaxed);
        assert_eq!(fates.lost.load(Ordering::Relaxed), 0, "stop {stop}: {fates:?}");
        assert_eq!(counted(&ended, "requests"), answered, "stop {stop}: {fates:?}");
        assert_eq!(counted(&ended, "answered"), answered, "stop {stop}: {fates:?}");
    }
}

fn start(variant: Variant, arguments: &[&str]) -> ServerProcess {
    ServerProcess::start(&[&["--backend", variant.name()], arguments].concat())
}

/// Peers that have begun to get a large answer.
fn readers(address: SocketAddr) -> Vec<TcpStream> {
    let readers: Vec<_> = (0..READERS).map(|_| connect_and_send(address, REQUEST)).collect();
    for reader in &readers {
        reader.peek(&mut [0]).expect("the beginning of an answer");
    }
    readers
}

fn counted(ended: &Ended, counter: &str) -> u64 {
    ended.report()["total"][counter].as_u64().unwrap_or_else(|| panic!("no counter {counter}"))
}

/// Killed with everything open, its place is taken at once. io_uring's listener is held by its
/// ring for some milliseconds more.
#[test]
fn killed_fifty_times_it_is_listening_again_each_time() {
    on_every_variant(|variant| {
        // An address of its own: no client of another test can have its ports.
        let index = Variant::ALL.iter().position(|&it| it == variant).expect("it is one of them");
        let mut listen = format!("127.0.77.{}:0", 1 + index);
        let mut left_open = Vec::new();
        for round in 0..50 {
            // Twice in a row, since workers that share an address do so with strangers as well.
            let workers = if round % 4 >= 2 { "2" } else { "1" };
            let server = start(variant, &["--listen", &listen, "--workers", workers]);
            listen = server.address.to_string();
            // Of several, one would meet a listener that is still held, if there were one.
            (0..8).for_each(|_| is_served(server.address));
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
