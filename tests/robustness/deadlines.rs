//! Each deadline closes the connections that exceed it, counts them, releases their descriptors,
//! and affects no other connection. Zero disables a deadline.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ringpoll_backends::{Closing, Counters, EngineOptions, Variant};

use crate::client::{
    check_served, connect, connect_and_send, count_to_end, read_to_end, wait_until_closed,
};
use crate::servers::{for_each_variant, loopback_port, serve, serve_with, stop_and_count};
use common::{
    EVENT_TIMEOUT, REQUEST, RESPONSE, ServerThread, TestWorker, open_connections,
    wait_for_open_connections,
};

tests![
    idle_connection_closes_at_idle_deadline,
    slow_request_head_closes_at_request_head_deadline,
    stalled_reader_closes_at_send_deadline,
    slow_reader_survives_send_deadline,
    open_peer_closes_at_linger_deadline,
    every_connection_closes_at_lifetime_deadline,
    zero_disables_a_deadline,
    hundreds_of_connections_expire_together,
];

const DEADLINE: Duration = Duration::from_secs(1);
/// Exceeds the buffers of both sides.
const LARGE_BYTES: usize = 64 << 20;

fn idle_connection_closes_at_idle_deadline() {
    for_each_variant(|variant| {
        let server = serve(variant, |worker| worker.deadlines.idle = DEADLINE);
        let idle = connect(server.address);
        check_served(server.address);
        wait_until_closed(&idle);
        let counters = stop_when_all_closed(server, variant);
        assert_eq!((counters.expired_receiving, expired(&counters)), (1, 1));
        assert_eq!((counters.responses, counters.connection_errors), (2, 0));
    });
}

fn slow_request_head_closes_at_request_head_deadline() {
    for_each_variant(|variant| {
        let server = serve(variant, |worker| worker.deadlines.request_head = DEADLINE);
        let partial = connect_and_send(server.address, b"GET");
        let sends_slowly = connect_and_send(server.address, b"GET");
        thread::scope(|scope| {
            scope.spawn(|| send_slowly(&sends_slowly));
            check_served(server.address);
            wait_until_closed(&partial);
            wait_until_closed(&sends_slowly);
        });
        let counters = stop_when_all_closed(server, variant);
        assert_eq!((counters.expired_receiving, expired(&counters)), (2, 2));
    });
}

fn stalled_reader_closes_at_send_deadline() {
    for_each_variant(|variant| {
        let server = serve(variant, |worker| {
            worker.deadlines.send = DEADLINE;
            worker.set_response(vec![b'x'; LARGE_BYTES]);
        });
        let stalled = connect_and_send(server.address, REQUEST);
        let reading = connect_and_send(server.address, REQUEST);
        assert_eq!(count_to_end(&reading), LARGE_BYTES, "another connection was affected");
        wait_for_open_connections(server.address, 0);
        let got = count_to_end(&stalled);
        assert!(got < LARGE_BYTES, "the response was complete before the deadline");
        let counters = stop_and_count(server);
        assert_eq!((counters.expired_sending, expired(&counters)), (1, 1));
        assert_eq!((counters.requests, counters.responses, counters.closed), (2, 1, 2));
        check_cancels(variant, &counters);
    });
}

/// The deadline restarts with every byte that the peer accepts.
fn slow_reader_survives_send_deadline() {
    const RESPONSE_BYTES: usize = 4 << 20;
    for_each_variant(|variant| {
        let server = with_small_buffers(variant, |worker| {
            worker.deadlines.send = DEADLINE;
            worker.set_response(vec![b'x'; RESPONSE_BYTES]);
        });
        let address = server.address;
        let mut slow = connect_and_send(address, REQUEST);
        let (start, mut got, mut buffer) = (Instant::now(), 0, [0; 16 * 1024]);
        while start.elapsed() < 2 * DEADLINE {
            got += slow.read(&mut buffer).expect("more of the response");
            thread::sleep(Duration::from_millis(50));
        }
        assert!(got < RESPONSE_BYTES, "the reader was not slow");
        assert_eq!(got + count_to_end(&slow), RESPONSE_BYTES);
        assert_eq!(expired(&stop_and_count(server)), 0);
    });
}

fn open_peer_closes_at_linger_deadline() {
    for_each_variant(|variant| {
        let server = serve(variant, |worker| {
            worker.deadlines.linger = DEADLINE;
            worker.closing = Closing::Lingering { bytes: usize::MAX };
        });
        let idle = connect_and_send(server.address, REQUEST);
        let sends_slowly = connect_and_send(server.address, REQUEST);
        for peer in [&idle, &sends_slowly] {
            assert_eq!(read_to_end(peer).expect("a response"), RESPONSE);
        }
        thread::scope(|scope| {
            // It sends until an RST rejects its bytes.
            scope.spawn(|| send_slowly(&sends_slowly));
            check_served(server.address);
        });
        let counters = stop_when_all_closed(server, variant);
        assert_eq!((counters.expired_lingering, expired(&counters)), (2, 2));
    });
}

fn every_connection_closes_at_lifetime_deadline() {
    for_each_variant(|variant| {
        let server = with_small_buffers(variant, |worker| {
            worker.deadlines.lifetime = DEADLINE;
            worker.closing = Closing::Lingering { bytes: usize::MAX };
            worker.set_response(vec![b'x'; LARGE_BYTES]);
        });
        let address = server.address;
        let idle = connect(address);
        let sends_slowly = connect_and_send(address, b"GET");
        let reading = connect_and_send(address, REQUEST);
        let stalled = connect_and_send(address, REQUEST);
        thread::scope(|scope| {
            scope.spawn(|| send_slowly(&sends_slowly));
            let slow = scope.spawn(|| read_slowly(&reading));
            wait_until_closed(&idle);
            wait_until_closed(&sends_slowly);
            assert!(slow.join().expect("no panic") < LARGE_BYTES);
        });
        wait_for_open_connections(address, 0);
        drop(stalled);
        let counters = stop_and_count(server);
        assert_eq!((counters.expired_lifetime, expired(&counters)), (4, 4));
        assert_eq!(counters.closed, 4);
        check_cancels(variant, &counters);
    });
}

fn zero_disables_a_deadline() {
    for_each_variant(|variant| {
        let server = serve(variant, |worker| {
            worker.closing = Closing::Lingering { bytes: usize::MAX };
            worker.set_response(vec![b'x'; LARGE_BYTES]);
        });
        let address = server.address;
        let idle = connect(address);
        let partial = connect_and_send(address, b"GET");
        let stalled = connect_and_send(address, REQUEST);
        let does_not_close = connect_and_send(address, REQUEST);
        assert_eq!(count_to_end(&does_not_close), LARGE_BYTES);
        thread::sleep(2 * DEADLINE);
        wait_for_open_connections(address, 4);
        for mut still_open in [idle, partial] {
            still_open.write_all(b"\n\n").expect("the connection is open");
            assert_eq!(count_to_end(&still_open), LARGE_BYTES);
        }
        assert_eq!(count_to_end(&stalled), LARGE_BYTES);
        drop((stalled, does_not_close));
        let counters = stop_and_count(server);
        assert_eq!((expired(&counters), counters.responses, counters.closed), (0, 4, 4));
    });
}

/// Hundreds of connections expire in one tick although the rings have only a few entries, while
/// another client is served.
fn hundreds_of_connections_expire_together() {
    const IDLE: usize = 500;
    let options = EngineOptions {
        submission_queue_entries: 8,
        completion_queue_entries: Some(16),
        ..EngineOptions::default()
    };
    for_each_variant(|variant| {
        let server = serve_with(variant, &loopback_port(), options.clone(), |worker| {
            worker.deadlines.idle = DEADLINE;
            worker.deadlines.request_head = DEADLINE;
        });
        let address = server.address;
        let idle: Vec<_> = (0..IDLE)
            .map(|number| connect_and_send(address, [&b""[..], b"GET"][number % 2]))
            .collect();
        let start = Instant::now();
        while open_connections(address) > 0 {
            check_served(address);
            assert!(start.elapsed() < EVENT_TIMEOUT, "some connections never close");
        }
        for peer in &idle {
            wait_until_closed(peer);
        }
        let counters = stop_and_count(server);
        assert_eq!((counters.expired_receiving, expired(&counters)), (IDLE as u64, IDLE as u64));
        assert_eq!(counters.closed, counters.accepted);
        check_cancels(variant, &counters);
    });
}

/// Waits until every connection is closed, serves one more request, and stops the server.
fn stop_when_all_closed(server: ServerThread, variant: Variant) -> Counters {
    let address: SocketAddr = server.address;
    wait_for_open_connections(address, 0);
    check_served(address);
    let counters = stop_and_count(server);
    assert_eq!(counters.closed, counters.accepted);
    check_cancels(variant, &counters);
    counters
}

/// Checks the number of cancels: on io_uring each expired connection has one operation in flight,
/// and the stop cancels the worker's own operations. epoll has nothing to cancel.
fn check_cancels(variant: Variant, counters: &Counters) {
    let at_the_end = stop_and_count(serve(variant, |_| {})).cancels;
    let cancels = if variant.is_io_uring() { at_the_end + expired(counters) } else { 0 };
    assert_eq!(counters.cancels, cancels);
}

fn expired(counters: &Counters) -> u64 {
    counters.expired_receiving
        + counters.expired_sending
        + counters.expired_lingering
        + counters.expired_lifetime
}

/// Sends single bytes at intervals until the server closes.
fn send_slowly(mut peer: &TcpStream) {
    let start = Instant::now();
    while peer.write_all(b"x").is_ok() {
        assert!(start.elapsed() < EVENT_TIMEOUT, "the server never closes");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Receives a little at intervals until the server closes; returns the number of bytes.
fn read_slowly(mut peer: &TcpStream) -> usize {
    let (start, mut got, mut buffer) = (Instant::now(), 0, [0; 4096]);
    while let Ok(count @ 1..) = peer.read(&mut buffer) {
        assert!(start.elapsed() < EVENT_TIMEOUT, "the server never closes");
        got += count;
        if start.elapsed() < 2 * DEADLINE {
            thread::sleep(Duration::from_millis(20));
        }
    }
    got
}

fn with_small_buffers(variant: Variant, configure: impl FnOnce(&mut TestWorker)) -> ServerThread {
    let mut listen = loopback_port();
    listen.send_buffer_bytes = Some(16 * 1024);
    serve_with(variant, &listen, EngineOptions::default(), configure)
}
