//! The shapes of a load: idle connections, bursts, requests in pieces, a warm-up.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringpoll::load::{Burst, Control, Expected, Pace, Plan, Rate, run};
use ringpoll_backends::Variant;

use crate::common::RESPONSE;
use crate::common::{Served, wait_until};
use crate::peer::{Peer, answer, answer_with, outcome, plan, read_request, request};

#[test]
fn idle_connections_are_open_beside_the_load() {
    let served = Served::start(Variant::EpollLevel, |_| {});
    let control = Control::new();
    let plan = Plan { idle: 300, requests: None, ..plan(served.address, 1) };
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&plan, &control));
        wait_until("the load is on", || control.completed() > 100);
        // The listener, those that are idle, and some of the four.
        let open = served.open_descriptors();
        assert!((301..=305).contains(&open), "{open} sockets");
        control.stop();
        running.join().expect("it does not panic").expect("it began")
    });
    let idle = outcome.idle;
    assert_eq!((idle.asked_for, idle.opened, idle.lost), (300, 300, 0));
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    let (report, left_open) = served.stopped();
    assert_eq!(left_open, 0);
    assert!(report.counters.accepted > 300 + outcome.completed);
}

#[test]
fn idle_connections_that_the_server_closes_are_counted() {
    let known = {
        let peer = Peer::start(|_, stream| answer(stream));
        ringpoll::load::learn(&plan(peer.address, 1), &Control::new()).expect("it answers")
    };
    // The first five are the idle ones: three of them are closed at once.
    let mut kept = Vec::new();
    let peer = Peer::start(move |number, stream| match number {
        0..3 => drop(stream),
        3..5 => kept.push(stream),
        _ => answer(stream),
    });
    let expected = Expected::Known(known);
    let outcome = outcome(&Plan { idle: 5, expected, ..plan(peer.address, 100) });
    assert_eq!(outcome.completed, 100, "{:?}", outcome.failures);
    let idle = outcome.idle;
    // Whether it was open for a moment before, the client cannot always see.
    assert_eq!((idle.asked_for, idle.opened - idle.lost), (5, 2));
}

#[test]
fn all_of_a_burst_connect_before_the_first_one_asks() {
    const BURST: usize = 50;
    let asked = Arc::new(Mutex::new((0, Vec::new())));
    let seen = Arc::clone(&asked);
    let mut waiting = Vec::new();
    let peer = Peer::start(move |number, stream| {
        let mut seen = seen.lock().unwrap();
        if number == 0 {
            return answer(stream);
        }
        // Nobody is answered before all have been accepted.
        waiting.push(stream);
        seen.1.push(Instant::now());
        if waiting.len() == BURST {
            seen.0 += 1;
            waiting.drain(..).for_each(answer);
        }
    });
    let burst = Some(Burst { connections: BURST, pause: Duration::from_millis(20) });
    let connections = BURST;
    let requests = 3 * BURST as u64;
    let outcome = outcome(&Plan { burst, connections, ..plan(peer.address, requests) });
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.completed, outcome.most_under_way), (requests, BURST));
    let (bursts, times) = &*asked.lock().unwrap();
    assert_eq!(*bursts, 3);
    for burst in 1..3 {
        let pause = times[burst * BURST] - times[burst * BURST - 1];
        assert!(pause >= Duration::from_millis(20), "{pause:?} before burst {burst}");
    }
}

#[test]
fn bursts_come_at_the_rate() {
    let peer = Peer::start(|_, stream| answer(stream));
    let burst = Some(Burst { connections: 10, pause: Duration::ZERO });
    let pace = Pace::Rate(Rate::per_second(200.0).unwrap());
    let plan = Plan { burst, pace, connections: 10, ..plan(peer.address, 50) };
    let outcome = outcome(&plan);
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!(outcome.completed, 50);
    assert!(outcome.duration >= Duration::from_millis(200));
}

#[test]
fn a_request_comes_in_as_many_pieces_as_were_asked_for() {
    const FRAGMENTS: usize = 4;
    let pause = Duration::from_millis(20);
    let last_pieces = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&last_pieces);
    let peer = Peer::start(move |number, mut stream| {
        if number == 0 {
            return answer(stream);
        }
        let begun = Instant::now();
        let last = read_request(&mut stream);
        seen.lock().unwrap().push((last, begun.elapsed()));
        answer_unasked(stream);
    });
    let request = request().in_fragments(FRAGMENTS, pause).unwrap();
    let length = request.bytes().len();
    let outcome = outcome(&Plan { request, connections: 1, ..plan(peer.address, 10) });
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.completed, outcome.bytes_sent), (10, 10 * length as u64));
    let least = pause * (FRAGMENTS as u32 - 1);
    assert!(outcome.uncorrected.min() >= least.as_nanos() as u64);
    let last_pieces = last_pieces.lock().unwrap();
    // A slow reader may find two pieces at once; ten slow readings are none.
    assert!(last_pieces.iter().any(|&(last, _)| last <= length.div_ceil(FRAGMENTS)));
}

fn answer_unasked(mut stream: std::net::TcpStream) {
    use std::io::Write;
    stream.write_all(RESPONSE).expect("the client is there");
}

#[test]
fn an_answer_to_the_first_piece_is_no_answer() {
    let peer = Peer::start(|number, stream| match number {
        0 => answer(stream),
        _ => {
            use std::io::Read;
            let mut stream = stream;
            let count = stream.read(&mut [0; 1024]).expect("a piece comes");
            assert!(count > 0);
            answer_unasked(stream);
        }
    });
    let pause = Duration::from_secs(10);
    let request = request().in_fragments(2, pause).unwrap();
    let outcome = outcome(&Plan { request, ..plan(peer.address, 4) });
    let early = ringpoll::load::FailureKind::EarlyEnd;
    assert_eq!(outcome.failures.of(early), 4, "{:?}", outcome.failures);
    let first = outcome.failures.first(early).expect("there is one").to_string();
    assert_eq!(first, "answered before the request was whole");
}

#[test]
fn a_warm_up_is_not_counted_but_its_failures_are_told() {
    let served = Served::start(Variant::EpollLevel, |_| {});
    let warm_up = Duration::from_millis(200);
    let counted = outcome(&Plan { warm_up, ..plan(served.address, 10) });
    assert!(counted.is_clean());
    assert_eq!((counted.completed, counted.uncorrected.len()), (10, 10));
    assert!(served.stopped().0.counters.requests > 11);

    // One wrong answer, right behind the first request.
    let peer = Peer::start(|number, stream| match number {
        1 => answer_with(stream, b"no"),
        _ => answer(stream),
    });
    let warned = outcome(&Plan { warm_up, ..plan(peer.address, 10) });
    assert_eq!((warned.completed, warned.failures.total()), (10, 0));
    assert_eq!(warned.warm_up_failures.total(), 1);
    assert!(!warned.is_clean());
}
