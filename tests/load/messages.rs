//! Messages: the loads rr and crr against echo servers, correct and misbehaving ones.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ringpoll::load::{
    ConnectionPool, Control, FailureKind, Fault, Lifetime, Outcome, Pace, Plan, Rate, Request,
    RequestFailure, run_with_pool,
};
use socket2::SockRef;

use crate::command::{exited, ringpoll};
use crate::peer::{Peer, outcome, plan};

const REQUESTS: u64 = 400;
const RR: Lifetime = Lifetime::Persistent { depth: 1 };
const CRR: Lifetime = Lifetime::OneRequest;

fn messages(target: SocketAddr, bytes: usize, lifetime: Lifetime) -> Plan {
    let request = Request::message(bytes).expect("a valid length");
    Plan { request, lifetime, ..plan(target, REQUESTS) }
}

/// Echoes until the peer closes its send side, at most `piece` bytes at once.
fn echo(mut stream: TcpStream, piece: usize) {
    let mut buffer = vec![0; piece];
    stream.set_nodelay(true).expect("a TCP socket");
    // The client resets connections after a failure, which ends the loop as well.
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// Starts an echo server. `serve` handles connections for which `is_faulty`, given their number.
fn echo_server(
    is_faulty: impl Fn(usize) -> bool + Send + 'static,
    serve: impl Fn(TcpStream) + Send + Sync + 'static,
) -> Peer {
    let serve = Arc::new(serve);
    Peer::start(move |number, stream| {
        let serve = is_faulty(number).then(|| Arc::clone(&serve));
        thread::spawn(move || match serve {
            Some(serve) => serve(stream),
            None => echo(stream, 16 * 1024),
        });
    })
}

pub(crate) fn correct_server(piece: usize) -> Peer {
    echo_server(|_| true, move |stream| echo(stream, piece))
}

fn assert_all_echoed(outcome: &Outcome, bytes: usize) {
    assert!(outcome.is_clean(), "{bytes}: {:?}", outcome.failures);
    assert_eq!((outcome.started, outcome.completed), (REQUESTS, REQUESTS));
    let total = REQUESTS * bytes as u64;
    assert_eq!((outcome.bytes_sent, outcome.bytes_received), (total, total));
    assert!(outcome.references.is_empty());
}

#[test]
fn messages_of_every_length_are_echoed() {
    let peer = correct_server(64 * 1024);
    for bytes in [1, 100, 4093, 65_536, 300_000] {
        for lifetime in [RR, Lifetime::Persistent { depth: 7 }] {
            let outcome = outcome(&messages(peer.address, bytes, lifetime));
            assert_all_echoed(&outcome, bytes);
            assert_eq!(
                (outcome.connections_opened, outcome.max_in_flight),
                (4, { 4 * lifetime.depth() })
            );
        }
        let outcome = outcome(&messages(peer.address, bytes, CRR));
        assert_all_echoed(&outcome, bytes);
        assert_eq!(outcome.connections_opened, REQUESTS);
    }
}

#[test]
fn echo_in_small_pieces_is_correct() {
    let peer = correct_server(3);
    for lifetime in [RR, Lifetime::Persistent { depth: 16 }, CRR] {
        assert_all_echoed(&outcome(&messages(peer.address, 100, lifetime)), 100);
    }
}

#[test]
fn open_loop_offers_messages_at_its_rate() {
    let peer = correct_server(1024);
    let pace = Pace::OpenLoop(Rate::per_second(2000.0).expect("a valid rate"));
    for lifetime in [RR, Lifetime::Persistent { depth: 4 }, CRR] {
        let outcome = outcome(&Plan { pace, ..messages(peer.address, 64, lifetime) });
        assert_all_echoed(&outcome, 64);
        assert_eq!(outcome.corrected.len(), REQUESTS);
        assert!(outcome.duration >= Duration::from_millis(200), "{:?}", outcome.duration);
    }
}

#[test]
fn connections_stay_open_between_runs() {
    let peer = correct_server(1024);
    let (plan, pool) = (messages(peer.address, 100, RR), ConnectionPool::new());
    for opened in [4, 0] {
        let outcome = run_with_pool(&plan, &Control::new(), &pool).expect("a valid plan");
        assert_all_echoed(&outcome, 100);
        assert_eq!(outcome.connections_opened, opened);
    }
}

/// Receives a message of 100 bytes and sends the bytes that `change` returns.
fn echo_changed(mut stream: TcpStream, change: impl Fn(&mut Vec<u8>)) -> TcpStream {
    let mut message = vec![0; 100];
    stream.read_exact(&mut message).expect("a message");
    change(&mut message);
    stream.write_all(&message).expect("the client is connected");
    stream
}

/// Runs both loads against a server of which the second connection misbehaves. Returns the failure.
fn only_failure(
    kind: FailureKind,
    serve: impl Fn(TcpStream) + Send + Sync + 'static + Clone,
) -> [Option<RequestFailure>; 2] {
    [RR, CRR].map(|lifetime| {
        let peer = echo_server(|number| number == 1, serve.clone());
        let timeout = Duration::from_secs(1);
        let outcome = outcome(&Plan { timeout, ..messages(peer.address, 100, lifetime) });
        assert_eq!(outcome.failures.of(kind), 1, "{lifetime:?}: {:?}", outcome.failures);
        assert_eq!(outcome.failures.total(), 1, "{lifetime:?}: {:?}", outcome.failures);
        // A byte after an echo on a persistent connection belongs to no message.
        let lost = REQUESTS - outcome.completed;
        assert!(lost == 1 || (lost == 0 && kind == FailureKind::WrongBytes), "{lost}");
        outcome.failures.first(kind)
    })
}

/// Returns the offset of the wrong byte, and true if no byte was expected there.
fn mismatch(failure: Option<RequestFailure>) -> (usize, bool) {
    let Some(RequestFailure::Response(Fault::WrongBytes(mismatch))) = failure else {
        panic!("{failure:?}")
    };
    (mismatch.offset, mismatch.expected.is_none())
}

#[test]
fn wrong_byte_is_found() {
    for at in [0, 57, 99] {
        let serve = move |stream| drop(echo_changed(stream, |it| it[at] ^= 1));
        let failures = only_failure(FailureKind::WrongBytes, serve);
        assert_eq!(failures.map(mismatch), [(at, false); 2]);
    }
}

#[test]
fn swapped_bytes_are_found() {
    let serve = |stream| drop(echo_changed(stream, |it| it.swap(20, 80)));
    let failures = only_failure(FailureKind::WrongBytes, serve);
    assert_eq!(failures.map(mismatch), [(20, false); 2]);
}

#[test]
fn extra_bytes_are_found() {
    let serve = |stream| drop(echo_changed(stream, |it| it.push(0)));
    let failures = only_failure(FailureKind::WrongBytes, serve);
    // On a persistent connection the extra byte is where the next message starts.
    assert_eq!(failures.map(mismatch), [(0, true), (100, true)]);
}

#[test]
fn premature_close_is_counted() {
    for length in [0, 1, 99] {
        let serve = move |stream| drop(echo_changed(stream, |it| it.truncate(length)));
        let early = Fault::PrematureEof { matched: length, length: Some(100) };
        let early = RequestFailure::Response(early);
        assert_eq!(only_failure(FailureKind::PrematureEof, serve), [Some(early); 2]);
    }
}

#[test]
fn reset_is_counted() {
    only_failure(FailureKind::Reset, |stream| {
        let stream = echo_changed(stream, |it| it.truncate(50));
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    });
}

#[test]
fn silent_server_times_out() {
    for length in [0, 50] {
        let failures = only_failure(FailureKind::Timeout, move |stream| {
            let mut stream = echo_changed(stream, |it| it.truncate(length));
            // Until the client resets the connection.
            let _ = stream.read(&mut [0]);
        });
        assert_eq!(failures, [Some(RequestFailure::Timeout { matched: length }); 2]);
    }
}

#[test]
fn command_reports_messages() {
    let peer = correct_server(1024);
    let arguments = "--load rr --message-bytes 1000 --depth 2 --requests 50 --connections 3";
    let output = ringpoll(peer.address, arguments).output().unwrap();
    let (printed, _) = exited(&output, 0);
    assert!(printed.contains("1,000 bytes · every byte of every echo verified"), "{printed}");
    assert!(printed.contains("50 in "), "{printed}");
    let output = ringpoll(peer.address, "--load crr --requests 50 --json -").output().unwrap();
    let document: serde_json::Value = serde_json::from_str(exited(&output, 0).0).expect("JSON");
    assert_eq!(document["requests"]["completed"], 50);
    assert_eq!(document["response"], serde_json::Value::Null);
    assert_eq!(document["load"]["messages"], true);
    assert_eq!(document["load"]["request_bytes"], 1);
    let output = ringpoll(peer.address, "--load crr --path /").output().unwrap();
    let (_, errors) = exited(&output, 2);
    assert!(errors.contains("--path cannot be used with --load crr"), "{errors}");
}

/// Starts a server that responds to each line as `respond` does.
fn serve_lines(respond: impl Fn(u64, &str) -> String + Send + Sync + 'static) -> Peer {
    let (respond, number) = (Arc::new(respond), Arc::new(AtomicU64::new(0)));
    Peer::start(move |_, stream| {
        let (respond, number) = (Arc::clone(&respond), Arc::clone(&number));
        thread::spawn(move || {
            let mut writer = stream.try_clone().expect("a descriptor");
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let response = respond(number.fetch_add(1, Ordering::Relaxed), &line);
                if writer.write_all(response.as_bytes()).is_err() {
                    break;
                }
            }
        });
    })
}

#[test]
fn text_of_another_protocol_has_its_response_verified() {
    let pong = |_, line: &str| format!("+{}\r\n", line.replace("PING", "PONG"));
    for arguments in ["rr", "rr --depth 8", "crr", "rr --rate 2000"] {
        let peer = serve_lines(pong);
        let arguments =
            format!("--load {arguments} --requests 300 --connections 4 --message PING\\r\\n");
        let output = ringpoll(peer.address, &arguments).output().unwrap();
        let (printed, errors) = exited(&output, 0);
        assert!(printed.contains("300 in ") && printed.contains(" 0 failed"), "{printed}");
        assert!(printed.contains("+PONG\\r\\n · 7 bytes"), "{printed}");
        assert!(printed.contains("every byte verified"), "{printed}");
        assert_eq!(errors, "", "{arguments}");
    }
}

#[test]
fn wrong_response_to_a_text_is_a_failure() {
    // After those before the load, each fifth response is another one.
    let respond = |number: u64, _: &str| {
        let text = if number > 5 && number.is_multiple_of(5) { "+PANG" } else { "+PONG" };
        format!("{text}\r\n")
    };
    for load in ["rr", "crr"] {
        let peer = serve_lines(respond);
        let arguments = format!("--load {load} --requests 50 --connections 1 --message PING\\r\\n");
        let output = ringpoll(peer.address, &arguments).output().unwrap();
        let (printed, _) = exited(&output, 1);
        assert!(printed.contains("byte 2 is 'A' instead of 'O'"), "{printed}");
    }
}

#[test]
fn text_without_a_fixed_response_is_refused() {
    let silent = serve_lines(|_, _| String::new());
    let counting = serve_lines(|number, _| format!("{number}\r\n"));
    let closing = Peer::start(|_, mut stream| {
        let _ = stream.read(&mut [0; 100]);
        let _ = stream.write_all(b"bye");
    });
    for (peer, part) in [
        (silent, "no response to --message"),
        (counting, "differs from time to time: `0\\r\\n`, then `1\\r\\n`"),
        (closing, "closed the connection after its response. Use --load crr"),
    ] {
        let arguments = "--load rr --requests 5 --timeout 300ms --message PING\\n";
        let output = ringpoll(peer.address, arguments).output().unwrap();
        let errors = exited(&output, 1).1;
        assert!(errors.contains(part), "{errors}");
    }
    let output = ringpoll("127.0.0.1:1".parse().unwrap(), "--message a").output().unwrap();
    assert!(exited(&output, 2).1.contains("--message can only be used with --load rr or crr"));
}
