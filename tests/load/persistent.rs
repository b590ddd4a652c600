//! Persistent connections, against the engines of this project and against servers that close
//! connections, truncate responses or interleave them.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ringpoll::load::{
    ConnectionPool, Control, FailureKind, LONG_LIFETIME_REQUESTS, Lifetime, Outcome, Pace, Plan,
    Rate, Request, run_with_pool,
};
use ringpoll_backends::{Counters, Variant};

use crate::peer::{Peer, outcome, plan, reference};
use common::{RESPONSE, ServerThread, TestWorker, engine_is_available, response};

const REQUESTS: u64 = 2000;
const KEEP_ALIVE: Lifetime = Lifetime::Persistent { depth: 1 };
const PIPELINED: Lifetime = Lifetime::Persistent { depth: 16 };
const MIXED: Lifetime = Lifetime::Mixed { seed: 5 };

const RESPONSE_1_1: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!";
const CLOSING_RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nHello, world!";

fn persistent(target: SocketAddr, requests: u64, lifetime: Lifetime) -> Plan {
    let request = Request::get_persistent("/", "a", &[]).expect("a valid request");
    Plan { request, lifetime, ..plan(target, requests) }
}

fn engines(test: &str) -> impl Iterator<Item = Variant> {
    Variant::ALL.iter().copied().filter(move |&variant| engine_is_available(test, variant))
}

/// Starts an engine with keep-alive; 0 requests per connection is no limit.
pub(crate) fn serve_keep_alive(
    variant: Variant,
    body_bytes: usize,
    requests_per_connection: u64,
) -> ServerThread {
    ServerThread::start(variant, |worker: &mut TestWorker| {
        let http = worker.set_keep_alive(response(body_bytes));
        http.requests_per_connection = requests_per_connection;
        worker.send_more = true;
    })
}

/// Checks that client and server counts agree, except for the request before the load.
fn assert_agreed(variant: Variant, outcome: &Outcome, counters: &Counters) {
    assert!(outcome.is_clean(), "{variant}: {:?}", outcome.failures);
    assert_eq!((outcome.started, outcome.completed), (REQUESTS, REQUESTS), "{variant}");
    assert_eq!(outcome.uncorrected.len(), REQUESTS);
    assert_eq!(counters.requests, REQUESTS + 1, "{variant}");
    assert_eq!(counters.accepted, outcome.connections_opened + 1, "{variant}");
}

#[test]
fn client_and_server_counts_agree_on_persistent_connections() {
    for variant in engines("client_and_server_counts_agree_on_persistent_connections") {
        for lifetime in [KEEP_ALIVE, PIPELINED] {
            let served = serve_keep_alive(variant, 13, 0);
            let outcome = outcome(&persistent(served.address, REQUESTS, lifetime));
            let (report, left_open) = served.stop_and_wait();
            assert_agreed(variant, &outcome, &report.counters);
            assert_eq!((outcome.connections_opened, outcome.connections_closed_by_server), (4, 0));
            assert_eq!(outcome.max_in_flight, 4 * lifetime.depth());
            let length = reference(&outcome).bytes().len() as u64;
            assert_eq!(outcome.bytes_received, REQUESTS * length);
            assert_eq!(left_open, 0, "{variant}");
        }
    }
}

#[test]
fn mixed_load_closes_connections_after_their_planned_requests() {
    for variant in engines("mixed_load_closes_connections_after_their_planned_requests") {
        let served = serve_keep_alive(variant, 13, 0);
        let outcome = outcome(&persistent(served.address, REQUESTS, MIXED));
        let (report, _) = served.stop_and_wait();
        assert_agreed(variant, &outcome, &report.counters);
        // On average five connections carry 20 requests: four carry one, the fifth carries 16.
        let opened = outcome.connections_opened;
        assert!((REQUESTS / 6..REQUESTS / 3).contains(&opened), "{opened}");
        assert!(opened > REQUESTS / u64::from(LONG_LIFETIME_REQUESTS));
        assert_eq!(
            outcome.connections_closed_by_server, 0,
            "the client has closed every connection"
        );
    }
}

#[test]
fn connections_are_reopened_after_the_request_limit_of_the_server() {
    for variant in engines("connections_are_reopened_after_the_request_limit_of_the_server") {
        for lifetime in [KEEP_ALIVE, PIPELINED, MIXED] {
            let served = serve_keep_alive(variant, 13, 10);
            let outcome = outcome(&persistent(served.address, REQUESTS, lifetime));
            let (report, _) = served.stop_and_wait();
            assert!(outcome.is_clean(), "{variant}, {lifetime:?}: {:?}", outcome.failures);
            assert_eq!(outcome.completed, REQUESTS);
            assert!(outcome.connections_opened >= REQUESTS / 10, "{outcome:?}");
            assert_eq!(report.counters.accepted, outcome.connections_opened + 1, "{variant}");
        }
    }
}

#[test]
fn large_responses_on_persistent_connections_are_verified() {
    const BODY_BYTES: usize = 1024 * 1024;
    for variant in engines("large_responses_on_persistent_connections_are_verified") {
        for lifetime in [KEEP_ALIVE, Lifetime::Persistent { depth: 2 }] {
            let served = serve_keep_alive(variant, BODY_BYTES, 0);
            let outcome = outcome(&persistent(served.address, 40, lifetime));
            assert!(outcome.is_clean(), "{variant}: {:?}", outcome.failures);
            assert_eq!(outcome.bytes_received, 40 * reference(&outcome).bytes().len() as u64);
            assert_eq!(reference(&outcome).body().len(), BODY_BYTES);
        }
    }
}

#[test]
fn open_loop_uses_all_persistent_connections() {
    for variant in engines("open_loop_uses_all_persistent_connections") {
        for lifetime in [KEEP_ALIVE, PIPELINED, MIXED] {
            let served = serve_keep_alive(variant, 13, 0);
            let pace = Pace::OpenLoop(Rate::per_second(4000.0).unwrap());
            let plan = Plan { pace, ..persistent(served.address, REQUESTS, lifetime) };
            let outcome = outcome(&plan);
            assert_agreed(variant, &outcome, &served.stop_and_wait().0.counters);
            assert_eq!(
                (outcome.corrected.len(), outcome.scheduling_delay.len()),
                (REQUESTS, REQUESTS)
            );
            if lifetime != MIXED {
                assert_eq!(outcome.connections_opened, 4, "{variant}");
            }
        }
    }
}

#[test]
fn pooled_connections_serve_the_next_run() {
    let served = serve_keep_alive(Variant::EpollLevel, 13, 0);
    let pool = ConnectionPool::new();
    let plan =
        Plan { warm_up: Duration::from_millis(20), ..persistent(served.address, 40, PIPELINED) };
    let run = || run_with_pool(&plan, &Control::new(), &pool).expect("the load runs");
    let (first, second) = (run(), run());
    assert!(first.is_clean() && second.is_clean(), "{first:?} {second:?}");
    // The first run has opened them in its warm-up.
    assert_eq!((first.connections_opened, second.connections_opened), (0, 0));
    assert_eq!(pool.count(), 4);
    drop(pool);
    assert_eq!(served.stop_and_wait().0.counters.accepted, 6);
}

/// Serves each connection on its own thread. `serve` gets the number of the connection, of which
/// the first has the request before the load, and the number of the request on it.
pub(crate) fn serve_each_request(
    serve: impl Fn(usize, usize, &mut TcpStream) -> bool + Send + Sync + 'static,
) -> Peer {
    let serve = Arc::new(serve);
    Peer::start(move |number, mut stream| {
        let serve = Arc::clone(&serve);
        std::thread::spawn(move || {
            stream.set_nodelay(true).expect("a TCP socket");
            for nth in 0.. {
                if !read_request_bytewise(&mut stream) || !serve(number, nth, &mut stream) {
                    break;
                }
            }
            let _ = stream.shutdown(Shutdown::Write);
            // Reads the rest: closing with unread data sends a reset, which discards responses.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
    })
}

/// Reads one request and no byte of the next one, which may be pipelined. Returns false at the
/// end of the stream.
pub(crate) fn read_request_bytewise(stream: &mut TcpStream) -> bool {
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
    // The client may have timed out and closed the connection.
    stream.write_all(bytes).is_ok()
}

/// Writes the last response of a connection.
fn write_last(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    write(stream, bytes);
    false
}

/// Serves the request before the load.
fn serve_probe(number: usize, stream: &mut TcpStream) -> Option<bool> {
    match number {
        0 => Some(write(stream, RESPONSE_1_1)),
        _ => None,
    }
}

#[test]
fn wrong_byte_in_third_response_is_found() {
    for (lifetime, at) in [(KEEP_ALIVE, 20), (KEEP_ALIVE, RESPONSE_1_1.len() - 1), (PIPELINED, 50)]
    {
        let peer = serve_each_request(move |number, nth, stream| {
            serve_probe(number, stream).unwrap_or_else(|| {
                let mut response = RESPONSE_1_1.to_vec();
                if (number, nth) == (1, 2) {
                    response[at] ^= 1;
                }
                write(stream, &response)
            })
        });
        let plan = Plan { connections: 1, ..persistent(peer.address, 60, lifetime) };
        let outcome = outcome(&plan);
        assert_eq!(outcome.failures.of(FailureKind::WrongBytes), 1, "{:?}", outcome.failures);
        assert_eq!((outcome.failures.total(), outcome.completed), (1, 59));
        assert_eq!(outcome.connections_opened, 2);
    }
}

#[test]
fn truncated_response_is_found() {
    for (lifetime, length) in
        [(KEEP_ALIVE, 1), (KEEP_ALIVE, RESPONSE_1_1.len() - 1), (PIPELINED, 30)]
    {
        let peer = serve_each_request(move |number, nth, stream| {
            serve_probe(number, stream).unwrap_or_else(|| match (number, nth) {
                (1, 2) => write_last(stream, &RESPONSE_1_1[..length]),
                _ => write(stream, RESPONSE_1_1),
            })
        });
        let plan = Plan { connections: 1, ..persistent(peer.address, 60, lifetime) };
        let outcome = outcome(&plan);
        assert_eq!(outcome.failures.of(FailureKind::PrematureEof), 1, "{:?}", outcome.failures);
        assert_eq!((outcome.failures.total(), outcome.completed), (1, 59));
    }
}

#[test]
fn request_is_sent_again_after_close_between_responses() {
    // With and without `Connection: close`.
    for (lifetime, seventh) in
        [(KEEP_ALIVE, CLOSING_RESPONSE), (KEEP_ALIVE, RESPONSE_1_1), (PIPELINED, CLOSING_RESPONSE)]
    {
        let peer = serve_each_request(move |number, nth, stream| {
            serve_probe(number, stream).unwrap_or_else(|| match nth {
                6 => write_last(stream, seventh),
                _ => write(stream, RESPONSE_1_1),
            })
        });
        let plan = Plan { connections: 1, ..persistent(peer.address, 70, lifetime) };
        let outcome = outcome(&plan);
        assert!(outcome.is_clean(), "{:?}", outcome.failures);
        assert_eq!((outcome.completed, outcome.connections_opened), (70, 10));
        assert!(
            (9..=10).contains(&outcome.connections_closed_by_server),
            "{}",
            outcome.connections_closed_by_server
        );
    }
}

#[test]
fn close_without_any_response_is_a_failure() {
    let peer = serve_each_request(|number, _, stream| serve_probe(number, stream).unwrap_or(false));
    let plan = Plan { connections: 1, ..persistent(peer.address, 5, KEEP_ALIVE) };
    let outcome = outcome(&plan);
    assert_eq!(outcome.failures.of(FailureKind::PrematureEof), 5, "{:?}", outcome.failures);
    assert_eq!((outcome.completed, outcome.connections_opened), (0, 5));
}

#[test]
fn interleaved_pipelined_responses_are_found() {
    let peer = serve_each_request(|number, nth, stream| {
        let (head, body) = RESPONSE_1_1.split_at(RESPONSE_1_1.len() - 13);
        serve_probe(number, stream).unwrap_or_else(|| match (number, nth) {
            // The head of the fifth response precedes the body of the fourth.
            (1, 3) => write(stream, head),
            (1, 4) => write(stream, &[head, body, body].concat()),
            _ => write(stream, RESPONSE_1_1),
        })
    });
    let plan = Plan { connections: 1, ..persistent(peer.address, 64, PIPELINED) };
    let outcome = outcome(&plan);
    assert_eq!(outcome.failures.of(FailureKind::WrongBytes), 1, "{:?}", outcome.failures);
    assert_eq!((outcome.failures.total(), outcome.completed), (1, 63));
}

#[test]
fn unsolicited_response_is_found() {
    let peer = serve_each_request(|number, nth, stream| {
        serve_probe(number, stream).unwrap_or_else(|| match (number, nth) {
            (1, 9) => write(stream, &[RESPONSE_1_1, RESPONSE_1_1].concat()),
            _ => write(stream, RESPONSE_1_1),
        })
    });
    let plan = Plan { connections: 1, ..persistent(peer.address, 10, KEEP_ALIVE) };
    let outcome = outcome(&plan);
    assert_eq!(outcome.failures.of(FailureKind::WrongBytes), 1, "{:?}", outcome.failures);
}

#[test]
fn server_that_stops_responding_times_out() {
    let peer = serve_each_request(|number, nth, stream| {
        serve_probe(number, stream).unwrap_or_else(|| {
            if (number, nth) == (1, 5) {
                // Reads requests without a response.
                while read_request_bytewise(stream) {}
                return false;
            }
            write(stream, RESPONSE_1_1)
        })
    });
    let timeout = Duration::from_secs(1);
    let plan = Plan { connections: 1, timeout, ..persistent(peer.address, 40, PIPELINED) };
    let outcome = outcome(&plan);
    // All requests in flight on the connection time out.
    let failed = outcome.failures.of(FailureKind::Timeout);
    assert!((1..=16).contains(&failed), "{:?}", outcome.failures);
    assert_eq!((failed, outcome.completed + failed), (outcome.failures.total(), 40));
}

#[test]
fn server_that_closes_every_connection_is_reported() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let peer = serve_each_request(move |_, _, stream| {
        count.fetch_add(1, Ordering::Relaxed);
        write_last(stream, RESPONSE)
    });
    let outcome = outcome(&persistent(peer.address, 40, PIPELINED));
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.completed, outcome.connections_opened), (40, 40));
    assert!(reference(&outcome).announces_close());
    assert_eq!(requests.load(Ordering::Relaxed), 41);
}
