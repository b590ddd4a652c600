//! The load stream, against discard, chargen and echo servers, correct and misbehaving ones.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ringpoll::load::{
    ConnectionPool, Control, Direction, FailureKind, Fault, Lifetime, Mismatch, Pace, Plan, Rate,
    Request, RequestFailure, run_with_pool,
};
use socket2::SockRef;

use crate::command::{exited, ringpoll};
use crate::messages::correct_server as echo_server;
use crate::peer::{Peer, outcome, plan};
use common::{chargen_byte, wait_until};

const MESSAGES: u64 = 200;
const BYTES: usize = 50_000;
const TOTAL_BYTES: u64 = MESSAGES * BYTES as u64;

fn stream(target: SocketAddr, direction: Direction) -> Plan {
    let request = Request::stream(BYTES, direction).expect("a valid length");
    Plan { request, lifetime: Lifetime::Persistent { depth: 4 }, ..plan(target, MESSAGES) }
}

/// Starts a server with one thread for each connection, which gets its number.
fn server(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Peer {
    let serve = Arc::new(serve);
    Peer::start(move |number, stream| {
        let serve = Arc::clone(&serve);
        thread::spawn(move || serve(number, stream));
    })
}

/// Starts a discard server. Returns the number of bytes that it has received.
fn discard_server() -> (Peer, Arc<AtomicU64>) {
    let received = Arc::new(AtomicU64::new(0));
    let total = Arc::clone(&received);
    let peer = server(move |_, mut stream| {
        let mut buffer = vec![0; 100_000];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            total.fetch_add(count as u64, Ordering::Relaxed);
        }
    });
    (peer, received)
}

/// Returns the first `length` bytes of RFC 864.
fn chargen(length: usize) -> Vec<u8> {
    (0..length).map(chargen_byte).collect()
}

fn chargen_server() -> Peer {
    let period = chargen(95 * 74);
    server(move |_, mut stream| while stream.write_all(&period).is_ok() {})
}

#[test]
fn discard_server_receives_the_whole_stream() {
    let (peer, received) = discard_server();
    let outcome = outcome(&stream(peer.address, Direction::Send));
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.completed, outcome.connections_opened), (MESSAGES, 4));
    assert_eq!((outcome.bytes_sent, outcome.bytes_received), (TOTAL_BYTES, 0));
    wait_until("all bytes", || received.load(Ordering::Relaxed) == TOTAL_BYTES);
    assert!(outcome.gigabytes_per_second(BYTES) > 0.0);
    assert!(outcome.client_cpu_seconds_per_gib(BYTES) > 0.0);
}

#[test]
fn stream_of_a_chargen_server_is_verified_and_goes_on_in_the_next_run() {
    let peer = chargen_server();
    let (plan, pool) = (stream(peer.address, Direction::Recv), ConnectionPool::new());
    for opened in [4, 0] {
        let outcome = run_with_pool(&plan, &Control::new(), &pool).expect("a valid plan");
        assert!(outcome.is_clean(), "{:?}", outcome.failures);
        assert_eq!((outcome.completed, outcome.connections_opened), (MESSAGES, opened));
        assert_eq!((outcome.bytes_sent, outcome.bytes_received), (0, TOTAL_BYTES));
    }
}

#[test]
fn stream_returns_from_an_echo_server() {
    let peer = echo_server(64 * 1024);
    let outcome = outcome(&stream(peer.address, Direction::Both));
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.bytes_sent, outcome.bytes_received), (TOTAL_BYTES, TOTAL_BYTES));
}

#[test]
fn stream_has_a_duration_and_a_rate() {
    let (discard, _) = discard_server();
    let (chargen, echo) = (chargen_server(), echo_server(64 * 1024));
    for (peer, direction) in
        [(&discard, Direction::Send), (&chargen, Direction::Recv), (&echo, Direction::Both)]
    {
        let time = Duration::from_millis(300);
        let plan = Plan {
            requests: None,
            duration: Some(time),
            warm_up: Duration::from_millis(100),
            ..stream(peer.address, direction)
        };
        let fast = outcome(&plan);
        assert!(fast.is_clean(), "{direction:?}: {:?}", fast.failures);
        assert!(fast.duration >= time, "{:?}", fast.duration);
        let pace = Pace::OpenLoop(Rate::per_second(400.0).expect("a valid rate"));
        let paced = outcome(&Plan { pace, ..plan });
        assert!(paced.is_clean(), "{direction:?}: {:?}", paced.failures);
        assert_eq!(paced.completed, 120, "{direction:?}");
        assert!(fast.completed > paced.completed, "{direction:?}: {}", fast.completed);
    }
}

/// Runs the load against a server whose first connection misbehaves, and whose other ones do not.
/// Returns the failure.
fn only_failure(
    direction: Direction,
    kind: FailureKind,
    serve: impl Fn(TcpStream) + Send + Sync + 'static,
) -> Option<RequestFailure> {
    let period = chargen(95 * 74);
    let peer = server(move |number, mut stream| match direction {
        _ if number == 0 => serve(stream),
        Direction::Recv => while stream.write_all(&period).is_ok() {},
        _ => while let Ok(1..) = stream.read(&mut [0; 65_536]) {},
    });
    let timeout = Duration::from_secs(1);
    let lifetime = Lifetime::Persistent { depth: 1 };
    // A time and not a number of messages, all of which a send buffer could take.
    let duration = Some(Duration::from_millis(500));
    let plan = Plan { timeout, lifetime, duration, ..stream(peer.address, direction) };
    let outcome = outcome(&Plan { requests: None, ..plan });
    assert_eq!(outcome.failures.of(kind), 1, "{:?}", outcome.failures);
    assert_eq!(outcome.failures.total(), 1, "{:?}", outcome.failures);
    outcome.failures.first(kind)
}

/// Sends `bytes` and waits until the client closes the connection.
fn send(mut stream: TcpStream, bytes: &[u8]) {
    // A reset by the client is expected.
    let _ = stream.write_all(bytes);
    let _ = stream.read(&mut [0]);
}

#[test]
fn wrong_chargen_bytes_are_found() {
    for at in [0, 73, 74, BYTES - 1, BYTES + 1] {
        let mut bytes = chargen(2 * BYTES);
        let expected = Some(bytes[at]);
        bytes[at] ^= 1;
        let found = bytes[at];
        let kind = FailureKind::WrongBytes;
        let failure = only_failure(Direction::Recv, kind, move |stream| send(stream, &bytes));
        let mismatch = Mismatch { offset: at % BYTES, expected, found };
        assert_eq!(failure, Some(RequestFailure::Response(Fault::WrongBytes(mismatch))));
    }
    let mut swapped = chargen(BYTES);
    swapped.swap(100, 140);
    let serve = move |stream| send(stream, &swapped);
    let failure = only_failure(Direction::Recv, FailureKind::WrongBytes, serve);
    assert!(
        matches!(
            failure,
            Some(RequestFailure::Response(Fault::WrongBytes(Mismatch { offset: 100, .. })))
        ),
        "{failure:?}"
    );
}

#[test]
fn premature_end_of_a_stream_is_counted() {
    for length in [0, 1234, BYTES] {
        let failure = only_failure(Direction::Recv, FailureKind::PrematureEof, move |stream| {
            let _ = (&stream).write_all(&chargen(length));
            let _ = stream.shutdown(Shutdown::Write);
            let _ = (&stream).read(&mut [0]);
        });
        let matched = length % BYTES;
        let early = Fault::PrematureEof { matched, length: Some(BYTES) };
        assert_eq!(failure, Some(RequestFailure::Response(early)));
    }
    // A discard server that ends its own stream may not have discarded everything.
    only_failure(Direction::Send, FailureKind::PrematureEof, |mut stream| {
        let _ = stream.shutdown(Shutdown::Write);
        while let Ok(1..) = stream.read(&mut [0; 65_536]) {}
    });
}

#[test]
fn byte_from_a_discard_server_is_wrong() {
    let failure = only_failure(Direction::Send, FailureKind::WrongBytes, |mut stream| {
        let _ = stream.write_all(b"!");
        while let Ok(1..) = stream.read(&mut [0; 65_536]) {}
    });
    let mismatch = Mismatch { offset: 0, expected: None, found: b'!' };
    assert_eq!(failure, Some(RequestFailure::Response(Fault::WrongBytes(mismatch))));
}

#[test]
fn reset_of_a_stream_is_counted() {
    only_failure(Direction::Recv, FailureKind::Reset, |stream| {
        let _ = (&stream).write_all(&chargen(1234));
        thread::sleep(Duration::from_millis(50));
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    });
}

#[test]
fn silent_server_times_out() {
    for length in [0, 1234] {
        let serve = move |stream| send(stream, &chargen(length));
        let failure = only_failure(Direction::Recv, FailureKind::Timeout, serve);
        assert_eq!(failure, Some(RequestFailure::Timeout { matched: length }));
    }
    // It does not read, so the send buffer fills up.
    let peer = server(|_, stream| {
        thread::sleep(Duration::from_secs(3));
        drop(stream);
    });
    let request = Request::stream(100 << 20, Direction::Send).expect("a valid length");
    let plan = Plan { request, connections: 1, requests: Some(1), ..plan(peer.address, 1) };
    let plan = Plan { timeout: Duration::from_secs(1), ..plan };
    let outcome = outcome(&Plan { lifetime: Lifetime::Persistent { depth: 1 }, ..plan });
    assert_eq!((outcome.failures.of(FailureKind::Timeout), outcome.completed), (1, 0));
}

#[test]
fn command_reports_the_throughput_of_a_stream() {
    let peer = chargen_server();
    let arguments = "--load stream --direction recv --requests 50 --connections 2";
    let output = ringpoll(peer.address, arguments).output().unwrap();
    let (printed, _) = exited(&output, 0);
    assert!(printed.contains("65,536 bytes · every byte received verified"), "{printed}");
    assert!(printed.contains(" GB/s · ") && printed.contains(" per GiB"), "{printed}");
    let arguments = format!("{arguments} --json -");
    let output = ringpoll(peer.address, &arguments).output().unwrap();
    let document: serde_json::Value = serde_json::from_str(exited(&output, 0).0).expect("JSON");
    assert_eq!(document["stream"]["direction"], "recv");
    assert!(document["stream"]["gigabytes_per_second"].as_f64().unwrap() > 0.0);
    assert!(document["stream"]["client_cpu_seconds_per_gib"].as_f64().unwrap() > 0.0);
}
