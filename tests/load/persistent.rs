//! Connections that persist: against our own engines, and against servers that end them, cut their
//! answers off, or mix them up.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ringpoll::load::{
    Control, FailureKind, KeptConnections, LONG_LIFE, Life, LoadError, Outcome, Pace, Plan, Rate,
    Request, run, run_on,
};
use ringpoll_backends::{Counters, KeepAlive, Replies, Variant, Worker};

use crate::common::{RESPONSE, Served, engine, response};
use crate::peer::{Peer, outcome, plan, read_request};

const REQUESTS: u64 = 2000;
const KEEP_ALIVE: Life = Life::Persistent { depth: 1 };
const PIPELINED: Life = Life::Persistent { depth: 16 };
const MIXED: Life = Life::Mixed { seed: 5 };

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!";
const LAST: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nHello, world!";

fn persistent(target: SocketAddr, requests: u64, life: Life) -> Plan {
    let request = Request::get_persistent("/", "a", &[]).expect("it makes sense");
    Plan { request, life, ..plan(target, requests) }
}

fn engines(test: &str) -> impl Iterator<Item = Variant> {
    Variant::ALL.iter().copied().filter(move |&variant| engine(test, variant))
}

/// One of our own servers, with connections that persist for so many requests; 0 is no limit.
fn served(variant: Variant, body_bytes: usize, requests_per_connection: u64) -> Served {
    Served::start(variant, |worker: &mut Worker| {
        let replies = Replies::new(response(body_bytes).into()).expect("a response");
        let keep_alive = KeepAlive::new(replies.into());
        worker.keep_alive = Some(KeepAlive { requests_per_connection, ..keep_alive });
        worker.send_more = true;
    })
}

/// Client and server agree, but for the two requests that are asked first.
fn assert_agreed(variant: Variant, outcome: &Outcome, counters: &Counters) {
    assert!(outcome.is_clean(), "{variant}: {:?}", outcome.failures);
    assert_eq!((outcome.begun, outcome.completed), (REQUESTS, REQUESTS), "{variant}");
    assert_eq!(outcome.uncorrected.len(), REQUESTS);
    assert_eq!(counters.requests, REQUESTS + 2, "{variant}");
    assert_eq!(counters.accepted, outcome.connections_opened + 2, "{variant}");
}

#[test]
fn client_and_server_agree_on_connections_that_persist() {
    for variant in engines("client_and_server_agree_on_connections_that_persist") {
        for life in [KEEP_ALIVE, PIPELINED] {
            let served = served(variant, 13, 0);
            let outcome = outcome(&persistent(served.address, REQUESTS, life));
            let (report, left_open) = served.stopped();
            assert_agreed(variant, &outcome, &report.counters);
            assert_eq!((outcome.connections_opened, outcome.connections_ended), (4, 0));
            assert_eq!(outcome.most_under_way, 4 * life.depth());
            let length = outcome.reference.bytes().len() as u64;
            assert_eq!(outcome.bytes_received, REQUESTS * length);
            assert_eq!(left_open, 0, "{variant}");
        }
    }
}

#[test]
fn a_mixed_load_ends_its_connections_as_they_were_drawn() {
    for variant in engines("a_mixed_load_ends_its_connections_as_they_were_drawn") {
        let served = served(variant, 13, 0);
        let outcome = outcome(&persistent(served.address, REQUESTS, MIXED));
        let (report, _) = served.stopped();
        assert_agreed(variant, &outcome, &report.counters);
        // Four connections of one request to one of sixteen: five for twenty, more or less.
        let opened = outcome.connections_opened;
        assert!((REQUESTS / 6..REQUESTS / 3).contains(&opened), "{opened}");
        assert!(opened > REQUESTS / u64::from(LONG_LIFE));
        assert_eq!(outcome.connections_ended, 0, "each has ended as it was to");
    }
}

#[test]
fn connections_are_opened_again_when_the_server_has_answered_enough() {
    for variant in engines("connections_are_opened_again_when_the_server_has_answered_enough") {
        for life in [KEEP_ALIVE, PIPELINED, MIXED] {
            let served = served(variant, 13, 10);
            let outcome = outcome(&persistent(served.address, REQUESTS, life));
            let (report, _) = served.stopped();
            assert!(outcome.is_clean(), "{variant}, {life:?}: {:?}", outcome.failures);
            assert_eq!(outcome.completed, REQUESTS);
            assert!(outcome.connections_opened >= REQUESTS / 10, "{outcome:?}");
            assert_eq!(report.counters.accepted, outcome.connections_opened + 2, "{variant}");
        }
    }
}

#[test]
fn large_answers_on_connections_that_persist_are_verified_whole() {
    const BODY_BYTES: usize = 1024 * 1024;
    for variant in engines("large_answers_on_connections_that_persist_are_verified_whole") {
        for life in [KEEP_ALIVE, Life::Persistent { depth: 2 }] {
            let served = served(variant, BODY_BYTES, 0);
            let outcome = outcome(&persistent(served.address, 40, life));
            assert!(outcome.is_clean(), "{variant}: {:?}", outcome.failures);
            assert_eq!(outcome.bytes_received, 40 * outcome.reference.bytes().len() as u64);
            assert_eq!(outcome.reference.body_bytes(), BODY_BYTES);
        }
    }
}

#[test]
fn at_a_rate_all_connections_take_part_and_batches_stay_together() {
    for variant in engines("at_a_rate_all_connections_take_part_and_batches_stay_together") {
        for life in [KEEP_ALIVE, PIPELINED, MIXED] {
            let served = served(variant, 13, 0);
            let pace = Pace::Rate(Rate::per_second(4000.0).unwrap());
            let plan = Plan { pace, ..persistent(served.address, REQUESTS, life) };
            let outcome = outcome(&plan);
            assert_agreed(variant, &outcome, &served.stopped().0.counters);
            assert_eq!((outcome.corrected.len(), outcome.lateness.len()), (REQUESTS, REQUESTS));
            if life != MIXED {
                assert_eq!(outcome.connections_opened, 4, "{variant}");
            }
        }
    }
}

#[test]
fn kept_connections_serve_the_next_run() {
    let served = served(Variant::EpollLevel, 13, 0);
    let kept = KeptConnections::new();
    let plan =
        Plan { warm_up: Duration::from_millis(20), ..persistent(served.address, 40, PIPELINED) };
    let run = || run_on(&plan, &Control::new(), &kept).expect("it begins");
    let (first, second) = (run(), run());
    assert!(first.is_clean() && second.is_clean(), "{first:?} {second:?}");
    // The first run has opened them in its warm-up.
    assert_eq!((first.connections_opened, second.connections_opened), (0, 0));
    assert_eq!(kept.count(), 4);
    drop(kept);
    assert_eq!(served.stopped().0.counters.accepted, 8);
}

/// Serves each connection on a thread of its own: it is told the number of the connection, of
/// which the first two are those that are asked first, and of the request on it.
fn each_answer(
    serve: impl Fn(usize, usize, &mut TcpStream) -> bool + Send + Sync + 'static,
) -> Peer {
    let serve = Arc::new(serve);
    Peer::start(move |number, mut stream| {
        let serve = Arc::clone(&serve);
        std::thread::spawn(move || {
            stream.set_nodelay(true).expect("a TCP socket");
            for nth in 0.. {
                if !has_request(&mut stream) || !serve(number, nth, &mut stream) {
                    break;
                }
            }
            let _ = stream.shutdown(Shutdown::Write);
            // What still comes is read, so that nothing is destroyed by a reset.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
    })
}

/// Reads one request, byte by byte: the next one may be right behind it.
fn has_request(stream: &mut TcpStream) -> bool {
    use std::io::Read;
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return false,
        }
    }
    true
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    // The client may be gone where the test wants it to lose its patience.
    stream.write_all(bytes).is_ok()
}

/// Nothing follows.
fn write_the_last(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    write(stream, bytes);
    false
}

/// The first answers are what all others are held against.
fn first(number: usize, stream: &mut TcpStream) -> Option<bool> {
    match number {
        0 => Some(write(stream, ANSWER)),
        1 => Some(write(stream, LAST)),
        _ => None,
    }
}

#[test]
fn a_wrong_byte_in_the_third_answer_is_found() {
    for (life, at) in [(KEEP_ALIVE, 20), (KEEP_ALIVE, ANSWER.len() - 1), (PIPELINED, 50)] {
        let peer = each_answer(move |number, nth, stream| {
            first(number, stream).unwrap_or_else(|| {
                let mut answer = ANSWER.to_vec();
                if (number, nth) == (2, 2) {
                    answer[at] ^= 1;
                }
                write(stream, &answer)
            })
        });
        let plan = Plan { connections: 1, ..persistent(peer.address, 60, life) };
        let outcome = outcome(&plan);
        assert_eq!(outcome.failures.of(FailureKind::WrongBytes), 1, "{:?}", outcome.failures);
        assert_eq!((outcome.failures.total(), outcome.completed), (1, 59));
        assert_eq!(outcome.connections_opened, 2);
    }
}

#[test]
fn an_answer_that_is_cut_off_is_found() {
    for (life, length) in [(KEEP_ALIVE, 1), (KEEP_ALIVE, ANSWER.len() - 1), (PIPELINED, 30)] {
        let peer = each_answer(move |number, nth, stream| {
            first(number, stream).unwrap_or_else(|| match (number, nth) {
                (2, 2) => write_the_last(stream, &ANSWER[..length]),
                _ => write(stream, ANSWER),
            })
        });
        let plan = Plan { connections: 1, ..persistent(peer.address, 60, life) };
        let outcome = outcome(&plan);
        assert_eq!(outcome.failures.of(FailureKind::EarlyEnd), 1, "{:?}", outcome.failures);
        assert_eq!((outcome.failures.total(), outcome.completed), (1, 59));
    }
}

#[test]
fn a_server_that_ends_connections_between_answers_is_asked_again() {
    // Whether it says so or not.
    for (life, seventh) in [(KEEP_ALIVE, LAST), (KEEP_ALIVE, ANSWER), (PIPELINED, LAST)] {
        let peer = each_answer(move |number, nth, stream| {
            first(number, stream).unwrap_or_else(|| match nth {
                6 => write_the_last(stream, seventh),
                _ => write(stream, ANSWER),
            })
        });
        let plan = Plan { connections: 1, ..persistent(peer.address, 70, life) };
        let outcome = outcome(&plan);
        assert!(outcome.is_clean(), "{:?}", outcome.failures);
        assert_eq!((outcome.completed, outcome.connections_opened), (70, 10));
        assert!((9..=10).contains(&outcome.connections_ended), "{}", outcome.connections_ended);
    }
}

#[test]
fn a_server_that_ends_a_connection_without_an_answer_fails() {
    let peer = each_answer(|number, _, stream| first(number, stream).unwrap_or(false));
    let plan = Plan { connections: 1, ..persistent(peer.address, 5, KEEP_ALIVE) };
    let outcome = outcome(&plan);
    assert_eq!(outcome.failures.of(FailureKind::EarlyEnd), 5, "{:?}", outcome.failures);
    assert_eq!((outcome.completed, outcome.connections_opened), (0, 5));
}

#[test]
fn pipelined_answers_that_change_places_are_found() {
    let peer = each_answer(|number, nth, stream| {
        let (head, body) = ANSWER.split_at(ANSWER.len() - 13);
        first(number, stream).unwrap_or_else(|| match (number, nth) {
            // The head of the fifth comes before the body of the fourth.
            (2, 3) => write(stream, head),
            (2, 4) => write(stream, &[head, body, body].concat()),
            _ => write(stream, ANSWER),
        })
    });
    let plan = Plan { connections: 1, ..persistent(peer.address, 64, PIPELINED) };
    let outcome = outcome(&plan);
    assert_eq!(outcome.failures.of(FailureKind::WrongBytes), 1, "{:?}", outcome.failures);
    assert_eq!((outcome.failures.total(), outcome.completed), (1, 63));
}

#[test]
fn an_answer_that_nobody_asked_for_is_found() {
    let peer = each_answer(|number, nth, stream| {
        first(number, stream).unwrap_or_else(|| match (number, nth) {
            (2, 9) => write(stream, &[ANSWER, ANSWER].concat()),
            _ => write(stream, ANSWER),
        })
    });
    let plan = Plan { connections: 1, ..persistent(peer.address, 10, KEEP_ALIVE) };
    let outcome = outcome(&plan);
    assert_eq!(outcome.failures.of(FailureKind::WrongBytes), 1, "{:?}", outcome.failures);
}

#[test]
fn a_server_that_stops_answering_is_timed_out() {
    let peer = each_answer(|number, nth, stream| {
        first(number, stream).unwrap_or_else(|| {
            if (number, nth) == (2, 5) {
                // It reads on, and says nothing.
                while has_request(stream) {}
                return false;
            }
            write(stream, ANSWER)
        })
    });
    let timeout = Duration::from_secs(1);
    let plan = Plan { connections: 1, timeout, ..persistent(peer.address, 40, PIPELINED) };
    let outcome = outcome(&plan);
    // All that were under way there waited as long.
    let failed = outcome.failures.of(FailureKind::Timeout);
    assert!((1..=16).contains(&failed), "{:?}", outcome.failures);
    assert_eq!((failed, outcome.completed + failed), (outcome.failures.total(), 40));
}

#[test]
fn servers_whose_answers_have_no_length_are_refused() {
    for (answer, says) in [
        (&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..], "chunked"),
        (b"HTTP/1.1 200 OK\r\n\r\nHello", "no Content-Length"),
        (b"Hello", "no Content-Length"),
    ] {
        let peer = Peer::start(move |_, mut stream| {
            read_request(&mut stream);
            let _ = stream.write_all(answer);
            let _ = stream.shutdown(Shutdown::Write);
        });
        let refused = run(&persistent(peer.address, 1, KEEP_ALIVE), &Control::new());
        let Err(LoadError::FirstAnswer(_, problem)) = refused else { panic!("{refused:?}") };
        assert!(problem.to_string().contains(says), "{problem}");
    }
}

#[test]
fn a_server_that_closes_each_connection_is_found_out() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let peer = each_answer(move |_, _, stream| {
        count.fetch_add(1, Ordering::Relaxed);
        write_the_last(stream, RESPONSE)
    });
    let outcome = outcome(&persistent(peer.address, 40, PIPELINED));
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.completed, outcome.connections_opened), (40, 40));
    assert!(outcome.reference.announces_end());
    assert_eq!(asked.load(Ordering::Relaxed), 42);
}
