//! Shapes of a load: idle connections, bursts, fragmented requests, warm-up.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringpoll::load::{Burst, Control, Expected, Pace, Plan, Rate, run};
use ringpoll_backends::Variant;

use crate::peer::{Peer, outcome, plan, read_request, request, respond, respond_with};
use common::RESPONSE;
use common::{ServerThread, wait_until};

#[test]
fn idle_connections_are_open_during_the_load() {
    let served = ServerThread::start(Variant::EpollLevel, |_| {});
    let control = Control::new();
    let plan = Plan { idle: 300, requests: None, ..plan(served.address, 1) };
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&plan, &control));
        wait_until("the load is running", || control.completed() > 100);
        // The listener, the idle connections, and up to four others.
        let open = served.open_descriptors();
        assert!((301..=305).contains(&open), "{open} sockets");
        control.stop();
        running.join().expect("no panic").expect("the load runs")
    });
    let idle = outcome.idle;
    assert_eq!((idle.requested, idle.opened, idle.closed_by_server), (300, 300, 0));
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    let (report, left_open) = served.stop_and_wait();
    assert_eq!(left_open, 0);
    assert!(report.counters.accepted > 300 + outcome.completed);
}

#[test]
fn idle_connections_that_the_server_closes_are_counted() {
    let known = {
        let peer = Peer::start(|_, stream| respond(stream));
        ringpoll::load::fetch_references(&plan(peer.address, 1), &Control::new())
            .expect("a response")
    };
    // The first five are the idle connections. Three of them are closed at once.
    let mut open = Vec::new();
    let peer = Peer::start(move |number, stream| match number {
        0..3 => drop(stream),
        3..5 => open.push(stream),
        _ => respond(stream),
    });
    let expected = Expected::Known(known);
    let outcome = outcome(&Plan { idle: 5, expected, ..plan(peer.address, 100) });
    assert_eq!(outcome.completed, 100, "{:?}", outcome.failures);
    let idle = outcome.idle;
    // The client cannot always see that a connection was open before it was closed.
    assert_eq!((idle.requested, idle.opened - idle.closed_by_server), (5, 2));
}

#[test]
fn burst_connects_before_its_first_request() {
    const BURST: usize = 50;
    let accepted = Arc::new(Mutex::new((0, Vec::new())));
    let seen = Arc::clone(&accepted);
    let mut waiting = Vec::new();
    let peer = Peer::start(move |number, stream| {
        let mut seen = seen.lock().unwrap();
        if number == 0 {
            return respond(stream);
        }
        // No response is sent before all connections have been accepted.
        waiting.push(stream);
        seen.1.push(Instant::now());
        if waiting.len() == BURST {
            seen.0 += 1;
            waiting.drain(..).for_each(respond);
        }
    });
    let burst = Some(Burst { connections: BURST, pause: Duration::from_millis(20) });
    let connections = BURST;
    let requests = 3 * BURST as u64;
    let outcome = outcome(&Plan { burst, connections, ..plan(peer.address, requests) });
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.completed, outcome.max_in_flight), (requests, BURST));
    let (bursts, times) = &*accepted.lock().unwrap();
    assert_eq!(*bursts, 3);
    for burst in 1..3 {
        let pause = times[burst * BURST] - times[burst * BURST - 1];
        assert!(pause >= Duration::from_millis(20), "{pause:?} before burst {burst}");
    }
}

#[test]
fn bursts_follow_the_rate() {
    let peer = Peer::start(|_, stream| respond(stream));
    let burst = Some(Burst { connections: 10, pause: Duration::ZERO });
    let pace = Pace::OpenLoop(Rate::per_second(200.0).unwrap());
    let plan = Plan { burst, pace, connections: 10, ..plan(peer.address, 50) };
    let outcome = outcome(&plan);
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!(outcome.completed, 50);
    assert!(outcome.duration >= Duration::from_millis(200));
}

#[test]
fn request_arrives_in_fragments() {
    const FRAGMENTS: usize = 4;
    let pause = Duration::from_millis(20);
    let last_reads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&last_reads);
    let peer = Peer::start(move |number, mut stream| {
        if number == 0 {
            return respond(stream);
        }
        let start = Instant::now();
        let last = read_request(&mut stream);
        seen.lock().unwrap().push((last, start.elapsed()));
        write_response(stream);
    });
    let request = request().in_fragments(FRAGMENTS, pause).unwrap();
    let length = request.bytes().len();
    let outcome = outcome(&Plan { request, connections: 1, ..plan(peer.address, 10) });
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.completed, outcome.bytes_sent), (10, 10 * length as u64));
    let min = pause * (FRAGMENTS as u32 - 1);
    assert!(outcome.uncorrected.min() >= min.as_nanos() as u64);
    let last_reads = last_reads.lock().unwrap();
    // A slow server may read two fragments at once, but not for each of ten requests.
    assert!(last_reads.iter().any(|&(last, _)| last <= length.div_ceil(FRAGMENTS)));
}

fn write_response(mut stream: std::net::TcpStream) {
    use std::io::Write;
    stream.write_all(RESPONSE).expect("the client is connected");
}

#[test]
fn response_to_the_first_fragment_is_a_failure() {
    let peer = Peer::start(|number, stream| match number {
        0 => respond(stream),
        _ => {
            use std::io::Read;
            let mut stream = stream;
            let count = stream.read(&mut [0; 1024]).expect("a fragment");
            assert!(count > 0);
            write_response(stream);
        }
    });
    let pause = Duration::from_secs(10);
    let request = request().in_fragments(2, pause).unwrap();
    let outcome = outcome(&Plan { request, ..plan(peer.address, 4) });
    let early = ringpoll::load::FailureKind::PrematureEof;
    assert_eq!(outcome.failures.of(early), 4, "{:?}", outcome.failures);
    let first = outcome.failures.first(early).expect("a failure").to_string();
    assert_eq!(first, "response before the whole request was sent");
}

#[test]
fn warm_up_requests_are_not_counted_but_its_failures_are_reported() {
    let served = ServerThread::start(Variant::EpollLevel, |_| {});
    let warm_up = Duration::from_millis(200);
    let counted = outcome(&Plan { warm_up, ..plan(served.address, 10) });
    assert!(counted.is_clean());
    assert_eq!((counted.completed, counted.uncorrected.len()), (10, 10));
    assert!(served.stop_and_wait().0.counters.requests > 11);

    // One wrong response, the first of the warm-up.
    let peer = Peer::start(|number, stream| match number {
        1 => respond_with(stream, b"no"),
        _ => respond(stream),
    });
    let warned = outcome(&Plan { warm_up, ..plan(peer.address, 10) });
    assert_eq!((warned.completed, warned.failures.total()), (10, 0));
    assert_eq!(warned.warm_up_failures.total(), 1);
    assert!(!warned.is_clean());
}
