//! Each deadline ends what it is for and counts it, gives the descriptor back, and touches nobody
//! else; a length of zero is for ever.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ringpoll_backends::{Closing, Counters, EngineOptions, Variant, Worker};

use crate::client::{connect, connect_and_send, count_to_end, is_ended, is_served, read_to_end};
use crate::common::{PATIENCE, REQUEST, RESPONSE, Served, connections_held, wait_until_held};
use crate::serving::{loopback, on_every_variant, serve, serve_with, stopped};

const LENGTH: Duration = Duration::from_secs(2);
/// Far more than the buffers of both sides hold together.
const LARGE_BYTES: usize = 64 << 20;

#[test]
fn silence_ends_at_the_idle_deadline() {
    on_every_variant(|variant| {
        let server = serve(variant, |worker| worker.deadlines.idle = LENGTH);
        let silent = connect(server.address);
        is_served(server.address);
        is_ended(&silent);
        let counters = nobody_is_left(server, variant);
        assert_eq!((counters.expired_receiving, expired(&counters)), (1, 1));
        assert_eq!((counters.answered, counters.connection_errors), (2, 0));
    });
}

#[test]
fn a_head_that_only_trickles_ends_at_its_deadline() {
    on_every_variant(|variant| {
        let server = serve(variant, |worker| worker.deadlines.request_head = LENGTH);
        let silent_after_a_part = connect_and_send(server.address, b"GET");
        let trickling = connect_and_send(server.address, b"GET");
        thread::scope(|scope| {
            scope.spawn(|| trickle(&trickling));
            is_served(server.address);
            is_ended(&silent_after_a_part);
            is_ended(&trickling);
        });
        let counters = nobody_is_left(server, variant);
        assert_eq!((counters.expired_receiving, expired(&counters)), (2, 2));
    });
}

#[test]
fn a_peer_that_takes_nothing_ends_at_the_send_deadline() {
    on_every_variant(|variant| {
        let server = serve(variant, |worker| {
            worker.deadlines.send = LENGTH;
            worker.response = vec![b'x'; LARGE_BYTES].into();
        });
        let takes_nothing = connect_and_send(server.address, REQUEST);
        let takes_all = connect_and_send(server.address, REQUEST);
        assert_eq!(count_to_end(&takes_all), LARGE_BYTES, "another is not affected");
        wait_until_held(server.address, 0);
        let got = count_to_end(&takes_nothing);
        assert!(got < LARGE_BYTES, "nothing was left to be cut off");
        let counters = stopped(server);
        assert_eq!((counters.expired_sending, expired(&counters)), (1, 1));
        assert_eq!((counters.requests, counters.answered, counters.closed), (2, 1, 2));
        what_was_in_flight_is_cancelled(variant, &counters);
    });
}

/// The deadline is for some of the answer: who takes a little all the time may go on.
#[test]
fn a_slow_reader_is_not_cut_off_at_the_send_deadline() {
    const ANSWER_BYTES: usize = 4 << 20;
    on_every_variant(|variant| {
        let server = with_small_buffers(variant, |worker| {
            worker.deadlines.send = LENGTH;
            worker.response = vec![b'x'; ANSWER_BYTES].into();
        });
        let address = server.address;
        let mut slow = connect_and_send(address, REQUEST);
        let (start, mut got, mut buffer) = (Instant::now(), 0, [0; 16 * 1024]);
        while start.elapsed() < 2 * LENGTH {
            got += slow.read(&mut buffer).expect("some more of the answer");
            thread::sleep(Duration::from_millis(50));
        }
        assert!(got < ANSWER_BYTES, "it was not slow");
        assert_eq!(got + count_to_end(&slow), ANSWER_BYTES);
        assert_eq!(expired(&stopped(server)), 0);
    });
}

#[test]
fn a_peer_that_does_not_close_ends_at_the_linger_deadline() {
    on_every_variant(|variant| {
        let server = serve(variant, |worker| {
            worker.deadlines.linger = LENGTH;
            worker.closing = Closing::Lingering { bytes: usize::MAX };
        });
        let silent = connect_and_send(server.address, REQUEST);
        let trickling = connect_and_send(server.address, REQUEST);
        for peer in [&silent, &trickling] {
            assert_eq!(read_to_end(peer).expect("an answer"), RESPONSE);
        }
        thread::scope(|scope| {
            // It goes on until its bytes are answered with a reset.
            scope.spawn(|| trickle(&trickling));
            is_served(server.address);
        });
        let counters = nobody_is_left(server, variant);
        assert_eq!((counters.expired_lingering, expired(&counters)), (2, 2));
    });
}

/// Whatever a connection is at, and however it gets on with that, its life has an end.
#[test]
fn a_life_ends_at_its_deadline() {
    on_every_variant(|variant| {
        let server = with_small_buffers(variant, |worker| {
            worker.deadlines.life = LENGTH;
            worker.closing = Closing::Lingering { bytes: usize::MAX };
            worker.response = vec![b'x'; LARGE_BYTES].into();
        });
        let address = server.address;
        let silent = connect(address);
        let trickling = connect_and_send(address, b"GET");
        let reading = connect_and_send(address, REQUEST);
        let takes_nothing = connect_and_send(address, REQUEST);
        thread::scope(|scope| {
            scope.spawn(|| trickle(&trickling));
            let slow = scope.spawn(|| read_slowly(&reading));
            is_ended(&silent);
            is_ended(&trickling);
            assert!(slow.join().expect("no panic") < LARGE_BYTES);
        });
        wait_until_held(address, 0);
        drop(takes_nothing);
        let counters = stopped(server);
        assert_eq!((counters.expired_life, expired(&counters)), (4, 4));
        assert_eq!(counters.closed, 4);
        what_was_in_flight_is_cancelled(variant, &counters);
    });
}

#[test]
fn a_length_of_zero_is_for_ever() {
    on_every_variant(|variant| {
        let server = serve(variant, |worker| {
            worker.closing = Closing::Lingering { bytes: usize::MAX };
            worker.response = vec![b'x'; LARGE_BYTES].into();
        });
        let address = server.address;
        let silent = connect(address);
        let part = connect_and_send(address, b"GET");
        let takes_nothing = connect_and_send(address, REQUEST);
        let does_not_close = connect_and_send(address, REQUEST);
        assert_eq!(count_to_end(&does_not_close), LARGE_BYTES);
        thread::sleep(2 * LENGTH);
        assert_eq!(connections_held(address), 4);
        for mut still_served in [silent, part] {
            still_served.write_all(b"\n\n").expect("somebody listens");
            assert_eq!(count_to_end(&still_served), LARGE_BYTES);
        }
        assert_eq!(count_to_end(&takes_nothing), LARGE_BYTES);
        drop((takes_nothing, does_not_close));
        let counters = stopped(server);
        assert_eq!((expired(&counters), counters.answered, counters.closed), (0, 4, 4));
    });
}

/// All at once, through queues that hold only a few of them: nobody is forgotten, and somebody
/// who is served meanwhile is not disturbed.
#[test]
fn hundreds_whose_time_is_over_end_together() {
    const SILENT: usize = 500;
    let options = EngineOptions {
        submission_queue_entries: 8,
        completion_queue_entries: Some(16),
        ..EngineOptions::default()
    };
    on_every_variant(|variant| {
        let server = serve_with(variant, &loopback(), options.clone(), |worker| {
            worker.deadlines.idle = LENGTH;
            worker.deadlines.request_head = LENGTH;
        });
        let address = server.address;
        let silent: Vec<_> = (0..SILENT)
            .map(|number| connect_and_send(address, [&b""[..], b"GET"][number % 2]))
            .collect();
        let start = Instant::now();
        while connections_held(address) > 0 {
            is_served(address);
            assert!(start.elapsed() < PATIENCE, "some never end");
        }
        for peer in &silent {
            is_ended(peer);
        }
        let counters = stopped(server);
        assert_eq!(
            (counters.expired_receiving, expired(&counters)),
            (SILENT as u64, SILENT as u64)
        );
        assert_eq!(counters.closed, counters.accepted);
        what_was_in_flight_is_cancelled(variant, &counters);
    });
}

/// The server is of use, holds no connection, and has served two: the one before, and this one.
fn nobody_is_left(server: Served, variant: Variant) -> Counters {
    let address: SocketAddr = server.address;
    wait_until_held(address, 0);
    is_served(address);
    let counters = stopped(server);
    assert_eq!(counters.closed, counters.accepted);
    what_was_in_flight_is_cancelled(variant, &counters);
    counters
}

/// On io_uring whoever expires has an operation in flight. What is cancelled beside that is the
/// worker's own, at its end. With epoll there is nothing to cancel.
fn what_was_in_flight_is_cancelled(variant: Variant, counters: &Counters) {
    let at_the_end = stopped(serve(variant, |_| {})).cancels;
    let cancels = if variant.is_io_uring() { at_the_end + expired(counters) } else { 0 };
    assert_eq!(counters.cancels, cancels);
}

fn expired(counters: &Counters) -> u64 {
    counters.expired_receiving
        + counters.expired_sending
        + counters.expired_lingering
        + counters.expired_life
}

/// Sends a byte now and then, until the other side wants no more.
fn trickle(mut peer: &TcpStream) {
    let start = Instant::now();
    while peer.write_all(b"x").is_ok() {
        assert!(start.elapsed() < PATIENCE, "it may go on for ever");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Takes a little now and then, until the other side gives no more; how much it was.
fn read_slowly(mut peer: &TcpStream) -> usize {
    let (start, mut got, mut buffer) = (Instant::now(), 0, [0; 4096]);
    while let Ok(count @ 1..) = peer.read(&mut buffer) {
        assert!(start.elapsed() < PATIENCE, "it may go on for ever");
        got += count;
        if start.elapsed() < 2 * LENGTH {
            thread::sleep(Duration::from_millis(20));
        }
    }
    got
}

fn with_small_buffers(variant: Variant, configure: impl FnOnce(&mut Worker)) -> Served {
    let mut listen = loopback();
    listen.send_buffer_bytes = Some(16 * 1024);
    serve_with(variant, &listen, EngineOptions::default(), configure)
}
