//! A stop: nobody new gets in, and whoever has asked is answered.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ringpoll_backends::connection::Next;
use ringpoll_backends::slots::ConnectionId;
use ringpoll_backends::{EngineOptions, Recorder, Step};

use crate::client::{
    connect, connect_and_send, count_to_end, is_ended, read_to_end, wait_until_received,
};
use crate::common::{PATIENCE, REQUEST, RESPONSE, wait_until, wait_until_held};
use crate::serving::{loopback, on_every_variant, serve, serve_with};

/// Far more than the buffers of both sides hold together.
const LARGE_BYTES: usize = 64 << 20;
/// Far longer than a test lasts: whatever waits for it fails.
const FOR_EVER: Duration = Duration::from_secs(3600);

#[test]
fn answers_on_their_way_are_finished_and_nobody_new_gets_in() {
    const READERS: usize = 4;
    on_every_variant(|variant| {
        let mut server = serve(variant, |worker| {
            worker.response = vec![b'x'; LARGE_BYTES].into();
            worker.drain_timeout = FOR_EVER;
        });
        let readers: Vec<_> =
            (0..READERS).map(|_| connect_and_send(server.address, REQUEST)).collect();
        for reader in &readers {
            reader.peek(&mut [0]).expect("the beginning of an answer");
        }
        server.stop.request();
        wait_until("the listener is closed", || TcpStream::connect(server.address).is_err());
        // Longer than the tick at which the silent are cut off.
        thread::sleep(Duration::from_secs(2));
        for reader in &readers {
            assert_eq!(count_to_end(reader), LARGE_BYTES);
        }
        let counters = server.ended().counters;
        assert_eq!((counters.answered, counters.cut_off), (READERS as u64, 0));
        // Those who only tried the door may have been in when the stop came.
        assert!(counters.drained >= READERS as u64);
    });
}

#[test]
fn the_silent_are_cut_off_after_a_tick_and_parts_at_the_drain_timeout() {
    on_every_variant(|variant| {
        let mut server = serve(variant, |worker| worker.drain_timeout = Duration::from_secs(4));
        let address = server.address;
        let silent = connect(address);
        let ends_its_request = connect_and_send(address, b"GET / HTTP/1.0\n");
        let never_ends_it = connect_and_send(address, b"GET");
        wait_until_held(address, 3);
        let start = Instant::now();
        server.stop.request();
        is_ended(&silent);
        (&ends_its_request).write_all(b"\n").expect("it may still");
        assert_eq!(read_to_end(&ends_its_request).expect("an answer"), RESPONSE);
        drop(ends_its_request);
        is_ended(&never_ends_it);
        assert!(start.elapsed() > Duration::from_secs(3), "the drain timeout is for nothing");
        let counters = server.ended().counters;
        assert_eq!((counters.drained, counters.cut_off), (1, 2));
        assert_eq!((counters.requests, counters.answered), (1, 1));
    });
}

#[test]
fn at_the_drain_timeout_answers_on_their_way_are_cut_off() {
    const READERS: usize = 4;
    on_every_variant(|variant| {
        let mut server = serve(variant, |worker| {
            worker.response = vec![b'x'; LARGE_BYTES].into();
            worker.drain_timeout = Duration::from_secs(1);
        });
        let readers: Vec<_> =
            (0..READERS).map(|_| connect_and_send(server.address, REQUEST)).collect();
        for reader in &readers {
            reader.peek(&mut [0]).expect("the beginning of an answer");
        }
        server.stop.request();
        let counters = server.ended().counters;
        assert_eq!((counters.drained, counters.cut_off), (0, READERS as u64));
        assert_eq!((counters.requests, counters.answered), (READERS as u64, 0));
        assert_eq!(counters.closed, READERS as u64);
        for mut reader in readers {
            let mut got = Vec::new();
            let _ = reader.read_to_end(&mut got);
            assert!(got.len() < LARGE_BYTES);
        }
    });
}

/// Slots for four, and fifty in the queue when the stop comes: the door closes behind them.
#[test]
fn whoever_waits_in_the_queue_at_the_stop_is_served() {
    const QUEUED: usize = 50;
    on_every_variant(|variant| {
        let mut server = serve(variant, |worker| {
            worker.limits.connections = 4;
            worker.drain_timeout = FOR_EVER;
        });
        let address = server.address;
        let held: Vec<_> = (0..4).map(|_| connect_and_send(address, b"GET")).collect();
        wait_until_held(address, 4);
        let queued: Vec<_> = (0..QUEUED).map(|_| connect_and_send(address, REQUEST)).collect();
        queued.iter().for_each(wait_until_received);
        server.stop.request();
        // Two ticks: who is in the queue has no slot, and must not lose its place.
        thread::sleep(Duration::from_secs(2));
        drop(held);
        for client in queued {
            assert_eq!(read_to_end(&client).expect("an answer"), RESPONSE);
        }
        let counters = server.ended().counters;
        assert_eq!((counters.answered, counters.cut_off), (QUEUED as u64, 0));
    });
}

/// The loop is slow, and learns little from each wait: the tick passes while requests that have
/// come whole lie unread. They are not silence.
#[test]
fn a_request_that_nobody_has_looked_at_yet_is_no_silence() {
    const QUEUED: usize = 60;
    let options = EngineOptions {
        events_per_wait: 1,
        submission_queue_entries: 4,
        completion_queue_entries: Some(8),
        ..EngineOptions::default()
    };
    on_every_variant(|variant| {
        let gate = Arc::new(Gate::default());
        let mut server = serve_with(variant, &loopback(), options.clone(), |worker| {
            worker.drain_timeout = FOR_EVER;
            worker.recorder = Some(Box::new(SlowAtTheDoor(Arc::clone(&gate))));
        });
        let queued: Vec<_> =
            (0..QUEUED).map(|_| connect_and_send(server.address, REQUEST)).collect();
        queued.iter().for_each(wait_until_received);
        server.stop.request();
        gate.open();
        for client in queued {
            assert_eq!(read_to_end(&client).expect("an answer"), RESPONSE);
        }
        let counters = server.ended().counters;
        assert_eq!((counters.answered, counters.cut_off), (QUEUED as u64, 0));
    });
}

#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().expect("no panic") = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let is_open = self.is_open.lock().expect("no panic");
        let waited = self.opened.wait_timeout_while(is_open, PATIENCE, |is_open| !*is_open);
        assert!(!waited.expect("no panic").1.timed_out(), "the gate stays closed");
    }
}

/// Holds the loop at its first connection until the gate opens, and for 25 ms at each.
struct SlowAtTheDoor(Arc<Gate>);

impl Recorder for SlowAtTheDoor {
    fn record(&mut self, _id: ConnectionId, step: Step, _next: Option<Next>) {
        if step == Step::Accepted {
            self.0.wait();
            thread::sleep(Duration::from_millis(25));
        }
    }
}
