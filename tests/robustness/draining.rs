//! A stop accepts no new connections and serves those that have sent a request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ringpoll_backends::{ConnectionId, EngineOptions, LifecycleEvent, Next, Recorder};

use crate::client::{
    connect, connect_and_send, count_to_end, read_to_end, wait_until_acknowledged,
    wait_until_closed,
};
use crate::servers::{for_each_variant, loopback_port, serve, serve_with};
use common::{EVENT_TIMEOUT, REQUEST, RESPONSE, wait_for_open_connections, wait_until};

tests![
    stop_finishes_responses_in_flight_and_refuses_connections,
    stop_closes_idle_connections_after_a_tick_and_partial_requests_at_drain_timeout,
    drain_timeout_force_closes_responses_in_flight,
    stop_serves_the_accept_queue,
    unread_request_at_stop_is_not_idle,
];

/// Exceeds the buffers of both sides.
const LARGE_BYTES: usize = 64 << 20;
/// Longer than any test waits.
const NO_TIMEOUT: Duration = Duration::from_secs(3600);

fn stop_finishes_responses_in_flight_and_refuses_connections() {
    const READERS: usize = 4;
    for_each_variant(|variant| {
        let mut server = serve(variant, |worker| {
            worker.set_response(vec![b'x'; LARGE_BYTES]);
            worker.drain_timeout = NO_TIMEOUT;
        });
        let readers: Vec<_> =
            (0..READERS).map(|_| connect_and_send(server.address, REQUEST)).collect();
        for reader in &readers {
            reader.peek(&mut [0]).expect("the start of a response");
        }
        server.stop.request();
        wait_until("the listener is closed", || TcpStream::connect(server.address).is_err());
        // Longer than the tick at which idle connections are closed.
        thread::sleep(Duration::from_secs(2));
        for reader in &readers {
            assert_eq!(count_to_end(reader), LARGE_BYTES);
        }
        let counters = server.wait().counters;
        assert_eq!((counters.responses, counters.force_closed), (READERS as u64, 0));
        // Probes of the listener above may have been accepted before the stop.
        assert!(counters.drained >= READERS as u64);
    });
}

fn stop_closes_idle_connections_after_a_tick_and_partial_requests_at_drain_timeout() {
    for_each_variant(|variant| {
        let mut server = serve(variant, |worker| worker.drain_timeout = Duration::from_secs(3));
        let address = server.address;
        let idle = connect(address);
        let completed = connect_and_send(address, b"GET / HTTP/1.0\n");
        let partial = connect_and_send(address, b"GET");
        wait_for_open_connections(address, 3);
        let start = Instant::now();
        server.stop.request();
        wait_until_closed(&idle);
        (&completed).write_all(b"\n").expect("the connection is open");
        assert_eq!(read_to_end(&completed).expect("a response"), RESPONSE);
        drop(completed);
        wait_until_closed(&partial);
        assert!(start.elapsed() > Duration::from_secs(2), "closed before the drain timeout");
        let counters = server.wait().counters;
        assert_eq!((counters.drained, counters.force_closed), (1, 2));
        assert_eq!((counters.requests, counters.responses), (1, 1));
    });
}

fn drain_timeout_force_closes_responses_in_flight() {
    const READERS: usize = 4;
    for_each_variant(|variant| {
        let mut server = serve(variant, |worker| {
            worker.set_response(vec![b'x'; LARGE_BYTES]);
            worker.drain_timeout = Duration::from_secs(1);
        });
        let readers: Vec<_> =
            (0..READERS).map(|_| connect_and_send(server.address, REQUEST)).collect();
        for reader in &readers {
            reader.peek(&mut [0]).expect("the start of a response");
        }
        server.stop.request();
        let counters = server.wait().counters;
        assert_eq!((counters.drained, counters.force_closed), (0, READERS as u64));
        assert_eq!((counters.requests, counters.responses), (READERS as u64, 0));
        assert_eq!(counters.closed, READERS as u64);
        for mut reader in readers {
            let mut got = Vec::new();
            let _ = reader.read_to_end(&mut got);
            assert!(got.len() < LARGE_BYTES);
        }
    });
}

/// Four slots are in use and fifty connections are in the accept queue when the server is stopped.
fn stop_serves_the_accept_queue() {
    const QUEUED: usize = 50;
    for_each_variant(|variant| {
        let mut server = serve(variant, |worker| {
            worker.limits.connections = 4;
            worker.drain_timeout = NO_TIMEOUT;
        });
        let address = server.address;
        let in_slots: Vec<_> = (0..4).map(|_| connect_and_send(address, b"GET")).collect();
        wait_for_open_connections(address, 4);
        let queued: Vec<_> = (0..QUEUED).map(|_| connect_and_send(address, REQUEST)).collect();
        queued.iter().for_each(wait_until_acknowledged);
        server.stop.request();
        // Two ticks, after which the queued connections must still be in the queue.
        thread::sleep(Duration::from_secs(2));
        drop(in_slots);
        for client in queued {
            assert_eq!(read_to_end(&client).expect("a response"), RESPONSE);
        }
        let counters = server.wait().counters;
        assert_eq!((counters.responses, counters.force_closed), (QUEUED as u64, 0));
    });
}

/// The event loop is slow and gets one event from each wait, so a tick passes while the receive
/// buffers hold complete requests. Their connections are not idle.
fn unread_request_at_stop_is_not_idle() {
    const QUEUED: usize = 60;
    let options = EngineOptions {
        events_per_wait: 1,
        submission_queue_entries: 4,
        completion_queue_entries: Some(8),
        ..EngineOptions::default()
    };
    for_each_variant(|variant| {
        let gate = Arc::new(Gate::default());
        let mut server = serve_with(variant, &loopback_port(), options.clone(), |worker| {
            worker.drain_timeout = NO_TIMEOUT;
            worker.recorder = Some(Box::new(SlowAccepts(Arc::clone(&gate))));
        });
        let queued: Vec<_> =
            (0..QUEUED).map(|_| connect_and_send(server.address, REQUEST)).collect();
        queued.iter().for_each(wait_until_acknowledged);
        server.stop.request();
        gate.open();
        for client in queued {
            assert_eq!(read_to_end(&client).expect("a response"), RESPONSE);
        }
        let counters = server.wait().counters;
        assert_eq!((counters.responses, counters.force_closed), (QUEUED as u64, 0));
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
        let waited = self.opened.wait_timeout_while(is_open, EVENT_TIMEOUT, |is_open| !*is_open);
        assert!(!waited.expect("no panic").1.timed_out(), "the gate is still closed");
    }
}

/// Blocks the loop at the first accept until the gate opens, and for 25 ms at each accept.
struct SlowAccepts(Arc<Gate>);

impl Recorder for SlowAccepts {
    fn record(&mut self, _id: ConnectionId, event: LifecycleEvent, _next: Option<Next>) {
        if event == LifecycleEvent::Accepted {
            self.0.wait();
            thread::sleep(Duration::from_millis(25));
        }
    }
}
