//! Every engine serves hundreds of concurrent clients with minimal resources: small limits may
//! only make a server slow.
//!
//! `io_uring:tuned` has a completion queue of 1, 2 or 4 entries, and two provided buffers for
//! all connections.
//!
//! By default each queue size occurs with one way of closing or one connection limit;
//! `RINGPOLL_TESTS=full` runs every combination.

use std::time::Duration;

use common::{
    Client, LifecycleWatch, REQUEST, ReceivedStream, ServerThread, engine_is_available, is_full,
    raise_descriptor_limit, response, unique_loopback_address,
};
use ringpoll_backends::{
    Closing, Counters, EngineOptions, LifecycleEvent, Limits, ListenOptions, Techniques, Variant,
};

const CLIENTS: usize = 500;

/// A body in bytes that is far larger than the send buffer.
const LONG_BODY: usize = 40_000;
/// A body in bytes that is larger than the send buffer.
const MEDIUM_BODY: usize = 12_000;
const SEND_BUFFER_BYTES: u32 = 4096;

/// Entries of the submission queue and of the completion queue.
const QUEUES: [(u32, u32); 5] = [(1, 1), (1, 2), (2, 4), (4, 4), (8, 8)];

const LINGERING: Closing = Closing::Lingering { bytes: 1 << 16 };

/// A server with minimal resources.
#[derive(Clone, Debug)]
struct SmallServer {
    variant: Variant,
    options: EngineOptions,
    connections: usize,
    /// `receive_buffer_bytes` and `read_budget_bytes`.
    receive_bytes: (usize, usize),
    response_bytes: usize,
    closing: Closing,
}

impl SmallServer {
    fn new(variant: Variant, (submissions, completions): (u32, u32), closing: Closing) -> Self {
        let options = EngineOptions {
            events_per_wait: 1,
            submission_queue_entries: submissions,
            completion_queue_entries: Some(completions),
            techniques: Techniques { provided_buffers: 2, ..Techniques::BEST },
            ..EngineOptions::default()
        };
        let (connections, receive_bytes, response_bytes) = (4, (1, 1), LONG_BODY);
        Self { variant, options, connections, receive_bytes, response_bytes, closing }
    }

    fn start(&self, keep_alive: bool, watch: &LifecycleWatch) -> ServerThread {
        let listen = ListenOptions {
            send_buffer_bytes: Some(SEND_BUFFER_BYTES),
            ..ListenOptions::new(unique_loopback_address())
        };
        ServerThread::with_options(self.variant, &listen, self.options.clone(), |worker| {
            let response = response(self.response_bytes);
            if keep_alive {
                worker.set_keep_alive(response);
            } else {
                worker.set_response(response);
            }
            worker.set_request_head_bytes(64);
            worker.closing = self.closing;
            worker.limits = Limits {
                connections: self.connections,
                message_bytes: 64,
                receive_buffer_bytes: self.receive_bytes.0,
                read_budget_bytes: self.receive_bytes.1,
            };
            // Waiting clients must not expire.
            worker.deadlines.idle = Duration::ZERO;
            worker.deadlines.keep_alive = Duration::ZERO;
            worker.deadlines.lifetime = Duration::ZERO;
            worker.recorder = Some(watch.recorder());
        })
    }

    /// Connects `clients` clients before the first is served. Each sends `request` and must receive
    /// `expected`.
    fn serve_clients(
        &self,
        keep_alive: bool,
        clients: usize,
        request: &[u8],
        expected: &[u8],
    ) -> Counters {
        let watch = LifecycleWatch::default();
        let server = self.start(keep_alive, &watch);
        // The server is paused at the first accept until all clients are connected.
        let pause = watch.pause_at(|step| step == LifecycleEvent::Accepted);
        let first = Client::connect(server.address);
        pause.wait_until_paused();
        let others = (1..clients).map(|_| Client::connect(server.address));
        let mut all: Vec<_> = [first].into_iter().chain(others).collect();
        for client in &mut all {
            client.send(request);
        }
        drop(pause);
        let expected = ReceivedStream::with_fin(expected);
        // Each client closes as soon as it has its response: a lingering close waits for that.
        for (index, mut client) in all.into_iter().enumerate() {
            let got = client.read_to_end();
            assert!(got == expected, "{self:?}: client {index} got {got:?}");
        }
        let (report, left) = server.stop_and_wait();
        let counters = report.counters;
        println!(
            "{self:?}: {} waits, {} short sends, {} overflows, {} full, {} without a buffer",
            counters.waits,
            counters.short_sends,
            counters.completion_queue_overflows,
            counters.submission_queue_full,
            counters.provided_buffers_exhausted,
        );
        assert_eq!(left, 0, "{self:?}: descriptors left open");
        let clients = clients as u64;
        assert_eq!((counters.accepted, counters.closed), (clients, clients), "{self:?}");
        assert_eq!(counters.connection_errors, 0, "{self:?}");
        counters
    }

    /// Asserts that one of the queues was too short, unless they have more than two entries.
    fn assert_queues_were_short(&self, counters: &Counters) {
        if self.variant.is_io_uring() {
            let exceeded = counters.completion_queue_overflows + counters.submission_queue_full;
            let long_enough = self.options.submission_queue_entries > 2;
            assert!(exceeded > 0 || long_enough, "{self:?}: the queues are long enough");
        }
    }
}

fn variants(test: &str) -> impl Iterator<Item = Variant> {
    // Both ends of each connection are in this process.
    raise_descriptor_limit(2 * CLIENTS as u64 + 100);
    Variant::ALL.iter().copied().filter(move |&variant| engine_is_available(test, variant))
}

/// Returns the smallest configurations of an engine. The default form of the suite divides the
/// queue sizes between the two ways of closing.
fn smallest(variant: Variant, closing: Closing) -> Vec<SmallServer> {
    let queues = if variant.is_io_uring() { &QUEUES[..] } else { &QUEUES[..1] };
    let parity = usize::from(closing == LINGERING);
    let is_chosen = |index: usize| is_full() || !variant.is_io_uring() || index % 2 == parity;
    let queues = queues.iter().enumerate().filter(|&(index, _)| is_chosen(index));
    queues.map(|(_, &queues)| SmallServer::new(variant, queues, closing)).collect()
}

#[test]
fn five_hundred_clients_are_served_with_minimal_resources() {
    for variant in variants("five_hundred_clients_are_served_with_minimal_resources") {
        for closing in [Closing::AtOnce, LINGERING] {
            for server in smallest(variant, closing) {
                let counters = server.serve_clients(false, CLIENTS, REQUEST, &response(LONG_BODY));
                assert_eq!(counters.responses, CLIENTS as u64, "{server:?}");
                assert!(
                    counters.short_sends >= CLIENTS as u64,
                    "the send buffer was not too small"
                );
                assert!(counters.accept_pauses > 0, "{server:?}: there were enough slots");
                server.assert_queues_were_short(&counters);
            }
        }
    }
}

/// Each connection pipelines three requests, the last with `Connection: close`.
#[test]
fn keep_alive_connections_are_served_with_minimal_resources() {
    const CLIENTS: usize = 100;
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let request = format!("{get}{get}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let first = String::from_utf8(response(MEDIUM_BODY)).expect("text").replacen("/1.0", "/1.1", 1);
    let last = first.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    let expected = format!("{first}{first}{last}");
    for variant in variants("keep_alive_connections_are_served_with_minimal_resources") {
        let mut without_a_buffer = 0;
        for closing in [Closing::AtOnce, LINGERING] {
            for receive_bytes in [(1, 1), (16, 4096)] {
                for mut server in smallest(variant, closing) {
                    (server.receive_bytes, server.response_bytes) = (receive_bytes, MEDIUM_BODY);
                    let counters = server.serve_clients(
                        true,
                        CLIENTS,
                        request.as_bytes(),
                        expected.as_bytes(),
                    );
                    assert_eq!(counters.responses, 3 * CLIENTS as u64, "{server:?}");
                    assert!(counters.accept_pauses > 0, "{server:?}: there were enough slots");
                    server.assert_queues_were_short(&counters);
                    without_a_buffer += counters.provided_buffers_exhausted;
                }
            }
        }
        let shares_buffers = variant == Variant::IoUringTuned;
        assert_eq!(without_a_buffer > 0, shares_buffers, "{variant}: two buffers were enough");
    }
}

/// A multishot ACCEPT ends when the completion queue overflows, with a connection that must be
/// served.
#[test]
fn connections_that_overflow_the_completion_queue_are_accepted() {
    let variant = Variant::IoUringTuned;
    let name = "connections_that_overflow_the_completion_queue_are_accepted";
    if !variants(name).any(|it| it == variant) {
        return;
    }
    for (index, queues) in [(1, 2), (2, 4), (4, 4)].into_iter().enumerate() {
        for defer_taskrun in [false, true] {
            let limits = [8, 64, CLIENTS];
            let sample = (index + usize::from(defer_taskrun)) % limits.len();
            let limits = if is_full() { &limits[..] } else { &limits[sample..=sample] };
            for &connections in limits {
                let mut server = SmallServer::new(variant, queues, Closing::AtOnce);
                server.options.techniques.defer_taskrun = defer_taskrun;
                (server.receive_bytes, server.response_bytes) = ((64, 64), 13);
                server.connections = connections;
                let counters = server.serve_clients(false, CLIENTS, REQUEST, &response(13));
                assert_eq!(counters.responses, CLIENTS as u64, "{server:?}");
                let overflows = counters.completion_queue_overflows;
                assert!(overflows > 0, "{server:?}: the completion queue was long enough");
            }
        }
    }
}
