//! Whatever a server does wrong is counted, by kind, and never taken for an answer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringpoll::load::{
    Control, EndedBy, Expected, Failure, FailureKind, LoadError, Mismatch, Outcome, Plan, run,
};
use socket2::{Domain, SockRef, Socket, Type};

use crate::common::{PATIENCE, RESPONSE, wait_until};
use crate::peer::{Peer, answer, answer_with, outcome, plan, read_request};
use crate::ports::ends_left;

const REQUESTS: u64 = 40;

/// How many requests are done wrong: each fourth, and not the one that is asked first.
const WRONG: u64 = REQUESTS / 4;

/// Serves rightly, but each fourth one is the test's.
fn each_fourth(mut serve: impl FnMut(TcpStream) + Send + 'static) -> Peer {
    Peer::start(move |number, stream| match number % 4 {
        1 => serve(stream),
        _ => answer(stream),
    })
}

/// Checks that the failures are of one kind, and everything else was right.
fn assert_failed(outcome: &Outcome, kind: FailureKind, failed: u64) {
    assert_eq!(outcome.failures.of(kind), failed, "{:?}", outcome.failures);
    assert_eq!(outcome.failures.total(), failed, "{:?}", outcome.failures);
    assert_eq!(outcome.completed, REQUESTS - failed);
    assert_eq!(outcome.uncorrected.len(), outcome.completed);
    assert!(!outcome.is_clean());
}

#[test]
fn one_wrong_byte_is_counted_and_shown() {
    let mut wrong = RESPONSE.to_vec();
    wrong[110] ^= 1;
    let found = wrong[110];
    let peer = each_fourth(move |stream| answer_with(stream, &wrong));
    let outcome = outcome(&plan(peer.address, REQUESTS));
    assert_failed(&outcome, FailureKind::WrongBytes, WRONG);
    let mismatch = Mismatch { at: 110, expected: Some(RESPONSE[110]), found };
    let first = outcome.failures.first(FailureKind::WrongBytes);
    assert_eq!(first, Some(Failure::WrongBytes(mismatch)));
}

#[test]
fn a_byte_too_many_is_counted() {
    let longer = [RESPONSE, b"!"].concat();
    let peer = each_fourth(move |stream| answer_with(stream, &longer));
    let outcome = outcome(&plan(peer.address, REQUESTS));
    assert_failed(&outcome, FailureKind::WrongBytes, WRONG);
    let mismatch = Mismatch { at: RESPONSE.len(), expected: None, found: b'!' };
    let first = outcome.failures.first(FailureKind::WrongBytes);
    assert_eq!(first, Some(Failure::WrongBytes(mismatch)));
}

#[test]
fn an_answer_that_ends_early_is_counted() {
    for length in [0, 1, RESPONSE.len() - 1] {
        let peer = each_fourth(move |stream| answer_with(stream, &RESPONSE[..length]));
        let outcome = outcome(&plan(peer.address, REQUESTS));
        assert_failed(&outcome, FailureKind::EarlyEnd, WRONG);
        let early = Failure::EarlyEnd { matched: length, length: RESPONSE.len() };
        assert_eq!(outcome.failures.first(FailureKind::EarlyEnd), Some(early));
    }
}

#[test]
fn a_reset_is_counted_even_behind_a_whole_answer() {
    for length in [0, RESPONSE.len()] {
        let peer = each_fourth(move |mut stream| {
            read_request(&mut stream);
            stream.write_all(&RESPONSE[..length]).expect("the client is there");
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
        });
        let outcome = outcome(&plan(peer.address, REQUESTS));
        assert_failed(&outcome, FailureKind::Reset, WRONG);
    }
}

#[test]
fn an_answer_in_many_pieces_is_right() {
    let peer = each_fourth(|mut stream| {
        stream.set_nodelay(true).expect("a TCP socket");
        read_request(&mut stream);
        for byte in RESPONSE {
            stream.write_all(&[*byte]).expect("the client is there");
        }
        stream.shutdown(Shutdown::Write).expect("the client is there");
    });
    let outcome = outcome(&plan(peer.address, REQUESTS));
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!(outcome.completed, REQUESTS);
}

#[test]
fn a_date_may_go_on_and_nothing_else() {
    let with_date = |second: usize| {
        format!("HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 14:04:{second:02} GMT\r\n\r\na")
    };
    let peer = Peer::start(move |number, stream| {
        answer_with(stream, with_date(number % 60).as_bytes());
    });
    let outcome = outcome(&plan(peer.address, REQUESTS));
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert!(outcome.reference.has_moving_date());
}

/// Keeps connections open without a word.
fn keep() -> impl FnMut(TcpStream) + Send + 'static {
    let mut kept = Vec::new();
    move |stream| kept.push(stream)
}

#[test]
fn a_server_that_never_answers_is_timed_out() {
    let peer = each_fourth(keep());
    let timeout = Duration::from_secs(1);
    let outcome = outcome(&Plan { timeout, ..plan(peer.address, REQUESTS) });
    assert_failed(&outcome, FailureKind::Timeout, WRONG);
    let first = outcome.failures.first(FailureKind::Timeout);
    assert_eq!(first, Some(Failure::Timeout { matched: 0 }));
    // The server has not ended its side, and still we have nothing left of ours.
    assert_eq!(ends_left(peer.address.port()), 0);
}

#[test]
fn a_server_that_answers_and_does_not_end_is_timed_out() {
    let mut keep = keep();
    let peer = each_fourth(move |mut stream| {
        read_request(&mut stream);
        stream.write_all(RESPONSE).expect("the client is there");
        keep(stream);
    });
    let timeout = Duration::from_secs(1);
    let outcome = outcome(&Plan { timeout, ..plan(peer.address, REQUESTS) });
    assert_failed(&outcome, FailureKind::Timeout, WRONG);
    let first = outcome.failures.first(FailureKind::Timeout);
    assert_eq!(first, Some(Failure::Timeout { matched: RESPONSE.len() }));
}

#[test]
fn a_wrong_answer_without_an_end_is_told_from_a_late_one() {
    let mut keep = keep();
    let peer = each_fourth(move |mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.0 500").expect("the client is there");
        keep(stream);
    });
    let timeout = Duration::from_secs(1);
    let outcome = outcome(&Plan { timeout, ..plan(peer.address, REQUESTS) });
    assert_failed(&outcome, FailureKind::WrongBytes, WRONG);
}

#[test]
fn a_server_that_goes_away_is_counted_and_not_asked_without_a_pause() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let target = listener.local_addr().expect("a bound address");
    let known = {
        let peer = Peer::on(listener, |_, stream| answer(stream));
        let reference = ringpoll::load::learn(&plan(target, 1), &Control::new());
        peer.end();
        Expected::Known(reference.expect("it answers"))
    };
    let duration = Some(Duration::from_millis(300));
    let outcome = outcome(&Plan { expected: known, requests: None, duration, ..plan(target, 1) });
    let refused = outcome.failures.of(FailureKind::ConnectRefused);
    assert_eq!((outcome.failures.total(), outcome.completed), (refused, 0));
    // Four places, each at most once in ten milliseconds.
    assert!((4..=4 * 31).contains(&refused), "{refused} attempts");
    assert!(!outcome.is_clean());
}

#[test]
fn nothing_is_begun_where_nobody_answers_the_first_request() {
    let unused = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).unwrap();
    let timeout = Duration::from_millis(300);
    let first_error = |plan: &Plan| match run(plan, &Control::new()) {
        Err(LoadError::FirstAnswer(target, error)) => {
            assert_eq!(target, plan.target);
            error.to_string()
        }
        other => panic!("{other:?}"),
    };
    assert!(first_error(&plan(unused, 1)).contains("refused"));

    let mut keep = keep();
    let silent = Peer::start(move |_, stream| keep(stream));
    let silent_plan = Plan { timeout, ..plan(silent.address, 1) };
    assert_eq!(first_error(&silent_plan), "no end of an answer in time");

    let liar = Peer::start(|_, stream| answer_with(stream, &RESPONSE[..RESPONSE.len() - 1]));
    assert!(first_error(&plan(liar.address, 1)).contains("13 bytes, but 12 came"));

    let peer = Peer::start(|_, stream| answer(stream));
    let expected = Expected::FirstAnswer { body_bytes: Some(14) };
    let expecting = Plan { expected, ..plan(peer.address, 1) };
    assert!(first_error(&expecting).contains("14 bytes was expected, but 13 came"));
}

#[test]
fn each_connection_is_ended_by_both_sides_and_has_a_port_of_its_own() {
    let ports = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ports);
    let peer = Peer::start(move |_, mut stream| {
        let port = stream.peer_addr().expect("a connected socket").port();
        read_request(&mut stream);
        stream.write_all(RESPONSE).expect("the client is there");
        stream.shutdown(Shutdown::Write).expect("the client is there");
        let end = stream.read(&mut [0; 16]);
        seen.lock().unwrap().push((port, end.expect("a FIN, not a reset")));
    });
    let outcome = outcome(&plan(peer.address, REQUESTS));
    peer.end();
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    let mut ports = ports.lock().unwrap().clone();
    assert!(ports.iter().all(|&(_, rest)| rest == 0), "nothing follows a request: {ports:?}");
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len() as u64, REQUESTS + 1);
}

/// A listener whose queue holds one connection, or two.
fn listener_with_short_queue() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).expect("a port");
    socket.listen(1).expect("a bound socket");
    socket.into()
}

#[test]
fn connections_that_take_their_time_are_waited_for() {
    let listener = listener_with_short_queue();
    let mut number = 0;
    let peer = Peer::on(listener, move |_, stream| {
        number += 1;
        if number == 2 {
            // The queue overflows meanwhile: some are connected at their second attempt only.
            std::thread::sleep(Duration::from_millis(500));
        }
        answer(stream);
    });
    let outcome = outcome(&Plan { connections: 8, ..plan(peer.address, 8) });
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    let retransmitted = Duration::from_millis(900).as_nanos() as u64;
    assert!(outcome.uncorrected.max() > retransmitted, "no connection was late");
}

#[test]
fn connections_that_are_never_there_are_timed_out() {
    let listener = listener_with_short_queue();
    let target = listener.local_addr().expect("a bound address");
    let known = {
        let peer = Peer::start(|_, stream| answer(stream));
        ringpoll::load::learn(&plan(peer.address, 1), &Control::new()).expect("it answers")
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
fn a_run_that_is_stopped_has_the_figures_so_far() {
    let mut keep = keep();
    let peer = Peer::start(move |number, stream| match number {
        ..20 => answer(stream),
        _ => keep(stream),
    });
    let control = Control::new();
    let plan = plan(peer.address, REQUESTS);
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&plan, &control));
        wait_until("19 requests are answered", || control.completed() == 19);
        control.stop();
        running.join().expect("it does not panic").expect("it began")
    });
    assert_eq!((outcome.ended_by, outcome.completed), (EndedBy::Stop, 19));
    assert_eq!((outcome.unfinished, outcome.begun, outcome.failures.total()), (4, 23, 0));
    assert!(outcome.duration < PATIENCE);
}
