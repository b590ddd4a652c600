//! With as little of everything as there can be, hundreds of clients at once are served, on every
//! engine: what is small makes a server slow, and nothing else.
//!
//! For `io_uring:tuned` that is a completion queue of one, two or four, two provided buffers for
//! all connections, and a table of four direct descriptors.

mod common;

use std::time::Duration;

use common::{
    Client, Exchange, REQUEST, Served, StepWatch, engine, raise_descriptor_limit, response,
};
use ringpoll_backends::{
    Closing, Counters, EngineOptions, KeepAlive, Limits, ListenOptions, Replies, ShutdownBy, Step,
    Techniques, Variant,
};

const CLIENTS: usize = 500;

/// Far more than the send buffer takes at once.
const LONG: usize = 40_000;
/// The same, and still short enough to be linked to what follows it.
const LINKABLE: usize = 12_000;
const SEND_BUFFER_BYTES: u32 = 4096;

/// The queues of a ring, those of the submissions and of the completions.
const QUEUES: [(u32, u32); 5] = [(1, 1), (1, 2), (2, 4), (4, 4), (8, 8)];

const LINGERING: Closing = Closing::Lingering { bytes: 1 << 16 };

/// One server, and how little it has.
#[derive(Clone, Debug)]
struct Tiny {
    variant: Variant,
    options: EngineOptions,
    connections: usize,
    /// What one receive brings, and what one turn does, in bytes.
    receive_bytes: (usize, usize),
    response_bytes: usize,
    closing: Closing,
    /// How much a client's kernel takes of an answer that it does not read.
    window_bytes: Option<usize>,
}

impl Tiny {
    fn new(variant: Variant, (submissions, completions): (u32, u32), closing: Closing) -> Self {
        let options = EngineOptions {
            events_per_wait: 1,
            submission_queue_entries: submissions,
            completion_queue_entries: Some(completions),
            techniques: Techniques { provided_buffers: 2, ..Techniques::BEST },
            ..EngineOptions::default()
        };
        let (connections, receive_bytes, response_bytes) = (4, (1, 1), LONG);
        let window_bytes = None;
        Self { variant, options, connections, receive_bytes, response_bytes, closing, window_bytes }
    }

    /// The table has an entry for each slot and each completion: with a queue of two it has four.
    fn directly(mut self) -> Self {
        self.options.shutdown = ShutdownBy::Ring;
        self.options.techniques.direct_descriptors = true;
        self.connections = 2;
        self
    }

    /// The answer, and what is linked to it.
    fn linked(mut self, shutdown: ShutdownBy, skip_success: bool) -> Self {
        self.options.shutdown = shutdown;
        self.options.techniques.skip_success = skip_success;
        self.response_bytes = LINKABLE;
        // What a large window is open for is taken in one piece, however small the send buffer.
        self.window_bytes = Some(2048);
        // Only of what has come in one piece is it known that nothing is unread.
        self.receive_bytes = (64, 64);
        self
    }

    fn start(&self, keep_alive: bool, watch: &StepWatch) -> Served {
        let listen = ListenOptions {
            send_buffer_bytes: Some(SEND_BUFFER_BYTES),
            ..ListenOptions::new("127.0.0.1:0".parse().expect("an address"))
        };
        Served::with_options(self.variant, &listen, self.options.clone(), |worker| {
            worker.response = response(self.response_bytes).into();
            if keep_alive {
                let replies = Replies::new(worker.response.clone()).expect("a response");
                worker.keep_alive = Some(KeepAlive::new(replies.into()));
            }
            worker.closing = self.closing;
            worker.limits = Limits {
                connections: self.connections,
                request_head_bytes: 64,
                receive_buffer_bytes: self.receive_bytes.0,
                turn_bytes: self.receive_bytes.1,
            };
            // Those who wait their turn are not silent.
            worker.deadlines.idle = Duration::ZERO;
            worker.deadlines.keep_alive = Duration::ZERO;
            worker.deadlines.life = Duration::ZERO;
            worker.recorder = Some(watch.recorder());
        })
    }

    /// So many clients, all there before the first of them is served, who say this and must hear
    /// that.
    fn serve_all(&self, keep_alive: bool, clients: usize, says: &[u8], hears: &[u8]) -> Counters {
        let watch = StepWatch::default();
        let server = self.start(keep_alive, &watch);
        // They come while the first of them is taken in, so that there are many at once.
        let held = watch.hold_at(|step| step == Step::Accepted);
        let connect = || match self.window_bytes {
            Some(bytes) => Client::connect_with_receive_buffer(server.address, bytes),
            None => Client::connect(server.address),
        };
        let first = connect();
        held.wait_until_held();
        let others = (1..clients).map(|_| connect());
        let mut all: Vec<_> = [first].into_iter().chain(others).collect();
        for client in &mut all {
            client.send(says);
        }
        drop(held);
        let expected = Exchange::finished(hears);
        // Each goes when it has its answer: a lingering close waits for that.
        for (index, mut client) in all.into_iter().enumerate() {
            let got = client.read_to_end();
            assert!(got == expected, "{self:?}: client {index} got {got:?}");
        }
        let (report, left) = server.stopped();
        let counters = report.counters;
        println!(
            "{self:?}: {} waits, {} short sends, {} overflows, {} full, {} without a buffer",
            counters.waits,
            counters.short_sends,
            counters.completion_queue_overflows,
            counters.submission_queue_full,
            counters.provided_buffers_missing,
        );
        assert_eq!(left, 0, "{self:?}: descriptors left open");
        let came = clients as u64;
        assert_eq!((counters.accepted, counters.closed), (came, came), "{self:?}");
        assert_eq!(counters.connection_errors, 0, "{self:?}");
        counters
    }

    /// Whether one of the queues had to be too short.
    fn has_met_its_queues(&self, counters: &Counters) {
        if self.variant.is_io_uring() {
            let met = counters.completion_queue_overflows + counters.submission_queue_full;
            let long_enough = self.options.submission_queue_entries > 2;
            assert!(met > 0 || long_enough, "{self:?}: the queues were long enough");
        }
    }
}

fn variants(test: &str) -> impl Iterator<Item = Variant> {
    // Both ends of each connection are in this process.
    raise_descriptor_limit(2 * CLIENTS as u64 + 100);
    Variant::ALL.iter().copied().filter(move |&variant| engine(test, variant))
}

/// The smallest that each engine can be asked to work with.
fn smallest(variant: Variant, closing: Closing) -> Vec<Tiny> {
    let queues = if variant.is_io_uring() { &QUEUES[..] } else { &QUEUES[..1] };
    let mut all: Vec<_> = queues.iter().map(|&it| Tiny::new(variant, it, closing)).collect();
    if variant == Variant::IoUringTuned {
        all.extend(all.clone().into_iter().map(Tiny::directly));
    }
    all
}

#[test]
fn five_hundred_clients_are_served_with_next_to_nothing() {
    for variant in variants("five_hundred_clients_are_served_with_next_to_nothing") {
        for closing in [Closing::AtOnce, LINGERING] {
            for tiny in smallest(variant, closing) {
                let counters = tiny.serve_all(false, CLIENTS, REQUEST, &response(LONG));
                assert_eq!(counters.answered, CLIENTS as u64, "{tiny:?}");
                assert!(
                    counters.short_sends >= CLIENTS as u64,
                    "the send buffer was not too small"
                );
                assert!(counters.accept_pauses > 0, "{tiny:?}: there were enough slots");
                tiny.has_met_its_queues(&counters);
            }
        }
    }
}

/// A chain is submitted as a whole or waits; what it sends is sent to its end, however little the
/// socket takes at a time.
#[test]
fn answers_with_their_closes_linked_to_them_fit_into_the_smallest_queues() {
    let variant = Variant::IoUringTuned;
    let name = "answers_with_their_closes_linked_to_them_fit_into_the_smallest_queues";
    if !variants(name).any(|it| it == variant) {
        return;
    }
    for queues in [(4, 4), (8, 8)] {
        for closing in [Closing::AtOnce, LINGERING] {
            for (shutdown, skips) in [
                (ShutdownBy::Ring, false),
                (ShutdownBy::Ring, true),
                (ShutdownBy::Close, false),
                (ShutdownBy::Close, true),
            ] {
                let tiny = Tiny::new(variant, queues, closing).linked(shutdown, skips);
                let counters = tiny.serve_all(false, CLIENTS, REQUEST, &response(LINKABLE));
                assert_eq!(counters.answered, CLIENTS as u64, "{tiny:?}");
                let is_linked = shutdown == ShutdownBy::Ring || closing == Closing::AtOnce;
                assert_eq!(counters.short_sends == 0, is_linked, "{tiny:?}: {counters:?}");
            }
        }
    }
}

/// Three requests at once on each connection, and the last of them says so.
#[test]
fn connections_that_persist_are_served_with_next_to_nothing() {
    const CLIENTS: usize = 100;
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let says = format!("{get}{get}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8(response(LINKABLE)).expect("text").replacen("/1.0", "/1.1", 1);
    let last = answer.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    let hears = format!("{answer}{answer}{last}");
    for variant in variants("connections_that_persist_are_served_with_next_to_nothing") {
        let mut without_a_buffer = 0;
        for closing in [Closing::AtOnce, LINGERING] {
            for receive_bytes in [(1, 1), (16, 4096)] {
                for mut tiny in smallest(variant, closing) {
                    (tiny.receive_bytes, tiny.response_bytes) = (receive_bytes, LINKABLE);
                    let counters = tiny.serve_all(true, CLIENTS, says.as_bytes(), hears.as_bytes());
                    assert_eq!(counters.answered, 3 * CLIENTS as u64, "{tiny:?}");
                    assert!(counters.accept_pauses > 0, "{tiny:?}: there were enough slots");
                    tiny.has_met_its_queues(&counters);
                    without_a_buffer += counters.provided_buffers_missing;
                }
            }
        }
        let shares_buffers = variant == Variant::IoUringTuned;
        assert_eq!(without_a_buffer > 0, shares_buffers, "{variant}: two buffers were enough");
    }
}

/// One ACCEPT for all ends when the completion queue overflows, with somebody who is as good as
/// the others; and with direct descriptors it must not bring more than the table has room for.
#[test]
fn a_crowd_that_overflows_the_completion_queue_is_let_in() {
    let variant = Variant::IoUringTuned;
    let name = "a_crowd_that_overflows_the_completion_queue_is_let_in";
    if !variants(name).any(|it| it == variant) {
        return;
    }
    for queues in [(1, 2), (2, 4), (4, 4)] {
        for deferred_task_run in [false, true] {
            for connections in [8, 64, CLIENTS] {
                let mut tiny = Tiny::new(variant, queues, Closing::AtOnce);
                tiny.options.techniques.deferred_task_run = deferred_task_run;
                (tiny.receive_bytes, tiny.response_bytes) = ((64, 64), 13);
                for mut tiny in [tiny.clone(), tiny.directly()] {
                    tiny.connections = connections;
                    let counters = tiny.serve_all(false, CLIENTS, REQUEST, &response(13));
                    assert_eq!(counters.answered, CLIENTS as u64, "{tiny:?}");
                    let overflows = counters.completion_queue_overflows;
                    assert!(overflows > 0, "{tiny:?}: the completion queue was long enough");
                }
            }
        }
    }
}
