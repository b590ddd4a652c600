//! Deadlines and the stop for protocols without messages: echo, discard and chargen.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ringpoll_backends::protocols::{Chargen, Discard, Echo};
use ringpoll_backends::{Closing, EngineOptions, Variant};

use crate::client::{connect, connect_and_send, wait_until_closed};
use crate::servers::{for_each_variant, loopback_port, serve, serve_with};
use common::{EVENT_TIMEOUT, ServerThread, TestProtocol, TestWorker, engine_is_available};

tests![
    idle_echo_connection_closes_at_idle_deadline,
    received_bytes_restart_the_idle_deadline,
    peer_that_does_not_read_closes_at_send_deadline,
    zero_copy_output_that_is_never_read_frees_its_slot,
    idle_echo_connection_gets_fin_at_the_stop,
    echo_that_is_pending_is_sent_after_the_stop,
    chargen_ends_its_stream_at_the_stop,
    lifetime_ends_a_stream,
];

const DEADLINE: Duration = Duration::from_secs(1);
/// Longer than any test waits.
const NO_TIMEOUT: Duration = Duration::from_secs(3600);

fn serve_echo(variant: Variant, configure: impl FnOnce(&mut TestWorker)) -> ServerThread {
    serve(variant, |worker| {
        worker.protocol = TestProtocol::Echo(Echo);
        configure(worker);
    })
}

fn echo_once(mut stream: &TcpStream) {
    stream.write_all(b"echo").expect("the server receives");
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).expect("the server sends it back");
    assert_eq!(&bytes, b"echo");
}

fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(EVENT_TIMEOUT)).expect("a socket");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the server ends its stream");
    bytes
}

fn idle_echo_connection_closes_at_idle_deadline() {
    for_each_variant(|variant| {
        let server = serve_echo(variant, |worker| worker.deadlines.idle = DEADLINE);
        let silent = connect(server.address);
        let idle = connect(server.address);
        echo_once(&idle);
        wait_until_closed(&silent);
        wait_until_closed(&idle);
        let counters = server.stop_and_wait().0.counters;
        assert_eq!((counters.expired_receiving, counters.closed), (2, 2), "{variant}");
        assert_eq!((counters.requests, counters.responses), (1, 1), "{variant}");
    });
}

fn received_bytes_restart_the_idle_deadline() {
    for_each_variant(|variant| {
        for protocol in [TestProtocol::Echo(Echo), TestProtocol::Discard(Discard)] {
            let server = serve(variant, |worker| {
                worker.protocol = protocol;
                worker.deadlines.idle = DEADLINE;
            });
            let mut stream = connect(server.address);
            let began = Instant::now();
            while began.elapsed() < 4 * DEADLINE {
                stream.write_all(b"a").expect("the server keeps it open");
                thread::sleep(DEADLINE / 10);
            }
            stream.shutdown(Shutdown::Write).expect("a connected socket");
            read_to_end(&stream);
            let counters = server.stop_and_wait().0.counters;
            assert_eq!(counters.expired_receiving, 0, "{variant}");
            assert_eq!(counters.premature_eof, 0, "{variant}");
        }
    });
}

fn peer_that_does_not_read_closes_at_send_deadline() {
    for_each_variant(|variant| {
        let server = serve(variant, |worker| {
            worker.protocol = TestProtocol::Chargen(Chargen::default());
            worker.deadlines.send = DEADLINE;
        });
        let stalled = connect(server.address);
        stalled.peek(&mut [0]).expect("the start of the stream");
        let stopped = Instant::now();
        while server.open_descriptors() > 1 {
            assert!(stopped.elapsed() < EVENT_TIMEOUT, "{variant}: it stays open");
            thread::sleep(Duration::from_millis(20));
        }
        let counters = server.stop_and_wait().0.counters;
        assert_eq!((counters.expired_sending, counters.closed), (1, 1), "{variant}");
    });
}

/// The kernel reads the output of a zero-copy send until the peer has acknowledged it, and a slot
/// is free only after that.
fn zero_copy_output_that_is_never_read_frees_its_slot() {
    let variant = Variant::IoUringTuned;
    if !engine_is_available("streams::zero_copy_output_that_is_never_read_frees_its_slot", variant)
    {
        return;
    }
    let mut engine = EngineOptions::default();
    engine.techniques.send_zc_min_bytes = 1;
    let server = serve_with(variant, &loopback_port(), engine, |worker| {
        worker.protocol = TestProtocol::Chargen(Chargen::default());
        worker.deadlines.send = DEADLINE;
        worker.limits.connections = 1;
        worker.closing = Closing::Lingering { bytes: 65_536 };
        worker.drain_timeout = DEADLINE;
    });
    let mut stalled = connect(server.address);
    stalled.read_exact(&mut [0]).expect("the start of the stream");
    let mut next = connect(server.address);
    next.set_read_timeout(Some(EVENT_TIMEOUT)).expect("a socket");
    next.read_exact(&mut [0]).expect("the slot of the first is free");
    // The second does not read either, and is reset at the end of the drain.
    let counters = server.stop_and_wait().0.counters;
    assert_eq!((counters.accepted, counters.closed, counters.leaked), (2, 2, 0));
}

fn idle_echo_connection_gets_fin_at_the_stop() {
    for_each_variant(|variant| {
        let mut server = serve_echo(variant, |worker| worker.drain_timeout = NO_TIMEOUT);
        let streams: Vec<_> = (0..4).map(|_| connect(server.address)).collect();
        streams.iter().skip(1).for_each(echo_once);
        server.stop.request();
        for stream in &streams {
            assert_eq!(read_to_end(stream), b"", "{variant}");
        }
        let counters = server.wait().counters;
        assert_eq!((counters.drained, counters.force_closed), (4, 0), "{variant}");
        assert_eq!(counters.connection_errors, 0, "{variant}");
    });
}

fn echo_that_is_pending_is_sent_after_the_stop() {
    const BYTES: usize = 30_000;
    for_each_variant(|variant| {
        let mut server = serve_echo(variant, |worker| worker.drain_timeout = NO_TIMEOUT);
        let stream = connect_and_send(server.address, &[b'x'; BYTES]);
        stream.peek(&mut [0]).expect("the start of the echo");
        server.stop.request();
        assert_eq!(read_to_end(&stream).len(), BYTES, "{variant}");
        let counters = server.wait().counters;
        assert_eq!((counters.drained, counters.force_closed), (1, 0), "{variant}");
    });
}

fn chargen_ends_its_stream_at_the_stop() {
    for_each_variant(|variant| {
        let mut server = serve(variant, |worker| {
            worker.protocol = TestProtocol::Chargen(Chargen::default());
            worker.drain_timeout = NO_TIMEOUT;
        });
        let stream = connect(server.address);
        stream.peek(&mut [0]).expect("the start of the stream");
        server.stop.request();
        let received = read_to_end(&stream);
        assert!(received.ends_with(b"\r\n"), "{variant}: a line is cut");
        let counters = server.wait().counters;
        assert_eq!((counters.drained, counters.force_closed), (1, 0), "{variant}");
    });
}

fn lifetime_ends_a_stream() {
    for_each_variant(|variant| {
        let server = serve_echo(variant, |worker| worker.deadlines.lifetime = DEADLINE);
        let stream = connect(server.address);
        echo_once(&stream);
        wait_until_closed(&stream);
        let counters = server.stop_and_wait().0.counters;
        assert_eq!((counters.expired_lifetime, counters.closed), (1, 1), "{variant}");
    });
}
