//! Misbehaving servers: each failure is counted by kind and not taken for a response.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringpoll::load::{
    Control, EndedBy, Expected, FailureKind, Fault, LoadError, Mismatch, Outcome, Plan,
    RequestFailure, run,
};
use socket2::{Domain, SockRef, Socket, Type};

use crate::command::{exited, ringpoll};
use crate::peer::{Peer, outcome, plan, read_request, reference, respond, respond_with};
use crate::ports::sockets_to;
use common::{EVENT_TIMEOUT, RESPONSE, wait_until};

const REQUESTS: u64 = 40;

/// Every fourth request fails, but not the one for the reference response.
const FAULTY_REQUESTS: u64 = REQUESTS / 4;

/// Starts a server that is correct except for every fourth connection, which `serve` handles.
fn wrong_every_fourth_time(mut serve: impl FnMut(TcpStream) + Send + 'static) -> Peer {
    Peer::start(move |number, stream| match number % 4 {
        1 => serve(stream),
        _ => respond(stream),
    })
}

/// Checks that `failed` requests failed in one way and all others completed.
fn assert_failed(outcome: &Outcome, kind: FailureKind, failed: u64) {
    assert_eq!(outcome.failures.of(kind), failed, "{:?}", outcome.failures);
    assert_eq!(outcome.failures.total(), failed, "{:?}", outcome.failures);
    assert_eq!(outcome.completed, REQUESTS - failed);
    assert_eq!(outcome.uncorrected.len(), outcome.completed);
    assert!(!outcome.is_clean());
}

#[test]
fn wrong_byte_is_counted_with_its_offset() {
    let mut wrong = RESPONSE.to_vec();
    wrong[110] ^= 1;
    let found = wrong[110];
    let peer = wrong_every_fourth_time(move |stream| respond_with(stream, &wrong));
    let outcome = outcome(&plan(peer.address, REQUESTS));
    assert_failed(&outcome, FailureKind::WrongBytes, FAULTY_REQUESTS);
    let mismatch = Mismatch { offset: 110, expected: Some(RESPONSE[110]), found };
    let first = outcome.failures.first(FailureKind::WrongBytes);
    assert_eq!(first, Some(RequestFailure::Response(Fault::WrongBytes(mismatch))));
}

#[test]
fn extra_byte_is_counted() {
    let longer = [RESPONSE, b"!"].concat();
    let peer = wrong_every_fourth_time(move |stream| respond_with(stream, &longer));
    let outcome = outcome(&plan(peer.address, REQUESTS));
    assert_failed(&outcome, FailureKind::WrongBytes, FAULTY_REQUESTS);
    let mismatch = Mismatch { offset: RESPONSE.len(), expected: None, found: b'!' };
    let first = outcome.failures.first(FailureKind::WrongBytes);
    assert_eq!(first, Some(RequestFailure::Response(Fault::WrongBytes(mismatch))));
}

#[test]
fn premature_end_of_response_is_counted() {
    for length in [0, 1, RESPONSE.len() - 1] {
        let peer = wrong_every_fourth_time(move |stream| respond_with(stream, &RESPONSE[..length]));
        let outcome = outcome(&plan(peer.address, REQUESTS));
        assert_failed(&outcome, FailureKind::PrematureEof, FAULTY_REQUESTS);
        let early = Fault::PrematureEof { matched: length, length: Some(RESPONSE.len()) };
        let first = outcome.failures.first(FailureKind::PrematureEof);
        assert_eq!(first, Some(RequestFailure::Response(early)));
    }
}

#[test]
fn reset_is_counted_even_after_a_complete_response() {
    for length in [0, RESPONSE.len()] {
        let peer = wrong_every_fourth_time(move |mut stream| {
            read_request(&mut stream);
            stream.write_all(&RESPONSE[..length]).expect("the client is connected");
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
        });
        let outcome = outcome(&plan(peer.address, REQUESTS));
        assert_failed(&outcome, FailureKind::Reset, FAULTY_REQUESTS);
    }
}

#[test]
fn response_in_single_bytes_is_correct() {
    let peer = wrong_every_fourth_time(|mut stream| {
        stream.set_nodelay(true).expect("a TCP socket");
        read_request(&mut stream);
        for byte in RESPONSE {
            stream.write_all(&[*byte]).expect("the client is connected");
        }
        stream.shutdown(Shutdown::Write).expect("the client is connected");
    });
    let outcome = outcome(&plan(peer.address, REQUESTS));
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!(outcome.completed, REQUESTS);
}

#[test]
fn date_may_differ_between_responses() {
    let with_date = |second: usize| {
        format!("HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 14:04:{second:02} GMT\r\n\r\na")
    };
    let peer = Peer::start(move |number, stream| {
        respond_with(stream, with_date(number % 60).as_bytes());
    });
    let outcome = outcome(&plan(peer.address, REQUESTS));
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert!(reference(&outcome).checks().to_string().contains("except Date"));
}

/// Returns a handler that sends nothing and keeps connections open.
fn keep_open() -> impl FnMut(TcpStream) + Send + 'static {
    let mut open = Vec::new();
    move |stream| open.push(stream)
}

#[test]
fn server_without_response_times_out() {
    let peer = wrong_every_fourth_time(keep_open());
    let timeout = Duration::from_secs(1);
    let outcome = outcome(&Plan { timeout, ..plan(peer.address, REQUESTS) });
    assert_failed(&outcome, FailureKind::Timeout, FAULTY_REQUESTS);
    let first = outcome.failures.first(FailureKind::Timeout);
    assert_eq!(first, Some(RequestFailure::Timeout { matched: 0 }));
    // The server has not closed its side, but no client socket is left.
    assert_eq!(sockets_to(peer.address), 0);
}

#[test]
fn server_that_does_not_close_after_its_response_times_out() {
    let mut keep = keep_open();
    let peer = wrong_every_fourth_time(move |mut stream| {
        read_request(&mut stream);
        stream.write_all(RESPONSE).expect("the client is connected");
        keep(stream);
    });
    let timeout = Duration::from_secs(1);
    let outcome = outcome(&Plan { timeout, ..plan(peer.address, REQUESTS) });
    assert_failed(&outcome, FailureKind::Timeout, FAULTY_REQUESTS);
    let first = outcome.failures.first(FailureKind::Timeout);
    assert_eq!(first, Some(RequestFailure::NotClosed));
}

#[test]
fn wrong_response_without_close_is_not_a_timeout() {
    let mut keep = keep_open();
    let peer = wrong_every_fourth_time(move |mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.0 500").expect("the client is connected");
        keep(stream);
    });
    let timeout = Duration::from_secs(1);
    let outcome = outcome(&Plan { timeout, ..plan(peer.address, REQUESTS) });
    assert_failed(&outcome, FailureKind::WrongBytes, FAULTY_REQUESTS);
}

#[test]
fn refused_connections_are_counted_and_retried_with_a_pause() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let target = listener.local_addr().expect("a bound address");
    let known = {
        let peer = Peer::on(listener, |_, stream| respond(stream));
        let reference = ringpoll::load::fetch_references(&plan(target, 1), &Control::new());
        peer.end();
        Expected::Known(reference.expect("a response"))
    };
    let duration = Some(Duration::from_millis(300));
    let outcome = outcome(&Plan { expected: known, requests: None, duration, ..plan(target, 1) });
    let refused = outcome.failures.of(FailureKind::ConnectRefused);
    assert_eq!((outcome.failures.total(), outcome.completed), (refused, 0));
    // Four connections, each at most once every 10 ms.
    assert!((4..=4 * 31).contains(&refused), "{refused} attempts");
    assert!(!outcome.is_clean());
}

#[test]
fn load_does_not_start_without_a_correct_first_response() {
    let unused = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).unwrap();
    let timeout = Duration::from_millis(300);
    let first_error = |plan: &Plan| match run(plan, &Control::new()) {
        Err(LoadError::FirstResponse(target, error)) => {
            assert_eq!(target, plan.target);
            error.to_string()
        }
        other => panic!("{other:?}"),
    };
    assert!(first_error(&plan(unused, 1)).contains("refused"));

    let mut keep = keep_open();
    let silent = Peer::start(move |_, stream| keep(stream));
    let silent_plan = Plan { timeout, ..plan(silent.address, 1) };
    assert!(first_error(&silent_plan).starts_with("no response within 300 ms. Is it the port"));

    let truncating = Peer::start(|_, stream| respond_with(stream, &RESPONSE[..RESPONSE.len() - 1]));
    assert!(first_error(&plan(truncating.address, 1)).contains("13 bytes, but 12 were received"));

    let peer = Peer::start(|_, stream| respond(stream));
    let expected = Expected::FirstResponse { body_bytes: Some(14) };
    let expecting = Plan { expected, ..plan(peer.address, 1) };
    assert!(first_error(&expecting).contains("expected a body of 14 bytes, but received 13"));
}

#[test]
fn both_sides_close_each_connection_and_each_has_its_own_port() {
    let ports = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ports);
    let peer = Peer::start(move |_, mut stream| {
        let port = stream.peer_addr().expect("a connected socket").port();
        read_request(&mut stream);
        stream.write_all(RESPONSE).expect("the client is connected");
        stream.shutdown(Shutdown::Write).expect("the client is connected");
        let end = stream.read(&mut [0; 16]);
        seen.lock().unwrap().push((port, end.expect("a FIN, not a reset")));
    });
    let outcome = outcome(&plan(peer.address, REQUESTS));
    peer.end();
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    let mut ports = ports.lock().unwrap().clone();
    assert!(ports.iter().all(|&(_, rest)| rest == 0), "no bytes after the request: {ports:?}");
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len() as u64, REQUESTS + 1);
}

/// Returns a listener with a backlog of 1, which holds one or two connections.
fn listener_with_short_queue() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).expect("a port");
    socket.listen(1).expect("a bound socket");
    socket.into()
}

#[test]
fn slow_connection_is_not_a_failure() {
    let listener = listener_with_short_queue();
    let mut number = 0;
    let peer = Peer::on(listener, move |_, stream| {
        number += 1;
        if number == 2 {
            // Meanwhile the accept queue overflows: some connections need a second SYN.
            std::thread::sleep(Duration::from_millis(500));
        }
        respond(stream);
    });
    let outcome = outcome(&Plan { connections: 8, ..plan(peer.address, 8) });
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    let retransmitted = Duration::from_millis(900).as_nanos() as u64;
    assert!(outcome.uncorrected.max() > retransmitted, "no SYN was retransmitted");
}

#[test]
fn connection_that_is_never_accepted_times_out() {
    let listener = listener_with_short_queue();
    let target = listener.local_addr().expect("a bound address");
    let known = {
        let peer = Peer::start(|_, stream| respond(stream));
        ringpoll::load::fetch_references(&plan(peer.address, 1), &Control::new())
            .expect("a response")
    };
    let outcome = outcome(&Plan {
        expected: Expected::Known(known),
        connections: 8,
        timeout: Duration::from_millis(500),
        ..plan(target, 8)
    });
    assert_eq!(outcome.failures.of(FailureKind::Timeout), 8, "{:?}", outcome.failures);
    assert_eq!((outcome.failures.total(), outcome.completed), (8, 0));
}

#[test]
fn stopped_run_has_the_results_so_far() {
    let mut keep = keep_open();
    let peer = Peer::start(move |number, stream| match number {
        ..20 => respond(stream),
        _ => keep(stream),
    });
    let control = Control::new();
    let plan = plan(peer.address, REQUESTS);
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&plan, &control));
        wait_until("19 responses were received", || control.completed() == 19);
        control.stop();
        running.join().expect("no panic").expect("the load runs")
    });
    assert_eq!((outcome.ended_by, outcome.completed), (EndedBy::Stop, 19));
    assert_eq!((outcome.unfinished, outcome.started, outcome.failures.total()), (4, 23, 0));
    assert!(outcome.duration < EVENT_TIMEOUT);
}

/// Returns the error of the request before the load, within a second of a timeout of 300 ms.
fn first_request_fails(
    arguments: &str,
    serve: impl FnMut(usize, TcpStream) + Send + 'static,
) -> String {
    let peer = Peer::start(serve);
    let arguments = format!("--requests 5 --connections 1 --timeout 300ms {arguments}");
    let output = ringpoll(peer.address, &arguments).output().unwrap();
    exited(&output, 1).1.to_owned()
}

#[test]
fn response_that_trickles_or_a_body_that_is_not_read_ends_with_the_timeout() {
    let trickle = |_, mut stream: TcpStream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        while stream.write_all(b"a").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    for load in ["keep-alive", "churn"] {
        let errors = first_request_fails(&format!("--load {load}"), trickle);
        assert!(errors.contains("not complete after 300 ms"), "{errors}");
        let directory = tempfile::tempdir().unwrap();
        let body = directory.path().join("body");
        std::fs::write(&body, vec![0; 20_000_000]).unwrap();
        let mut open = Vec::new();
        let errors = first_request_fails(
            &format!("--load {load} --body @{}", body.display()),
            move |_, stream| open.push(stream),
        );
        assert!(errors.contains("received only a part of the request"), "{errors}");
    }
}

#[test]
fn interim_responses_without_an_end_are_a_timeout() {
    let storm = |number, mut stream: TcpStream| {
        if number == 0 {
            return respond(stream);
        }
        read_request(&mut stream);
        let hints = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000);
        while stream.write_all(&hints).is_ok() {}
    };
    let peer = Peer::start(storm);
    let arguments = "--requests 1 --connections 1 --timeout 300ms --verify status --load churn";
    let output = ringpoll(peer.address, arguments).output().unwrap();
    let printed = exited(&output, 1).0;
    assert!(printed.contains("timed out  1"), "{printed}");
}
