//! With as little of everything as there can be, 500 clients at once are served, on every engine:
//! what is small makes a server slow, and nothing else.

mod common;

use std::time::Duration;

use common::{Client, Exchange, REQUEST, Served, engine, raise_descriptor_limit};
use ringpoll_backends::{
    Closing, EngineOptions, Limits, ListenOptions, ShutdownBy, Techniques, Variant,
};

const CLIENTS: usize = 500;

/// Far more than the send buffer takes at once.
const RESPONSE_BYTES: usize = 40_000;

/// The queues of a ring, those of the submissions and of the completions.
const QUEUES: [(u32, u32); 5] = [(1, 1), (1, 2), (2, 4), (4, 4), (8, 8)];

/// The smallest that each engine can be asked to work with.
fn smallest(variant: Variant) -> Vec<EngineOptions> {
    let queues = if variant.is_io_uring() { &QUEUES[..] } else { &QUEUES[..1] };
    let options = |&(submission_queue_entries, completions)| EngineOptions {
        events_per_wait: 1,
        submission_queue_entries,
        completion_queue_entries: Some(completions),
        techniques: Techniques { provided_buffers: 2, ..Techniques::BEST },
        ..EngineOptions::default()
    };
    let few_entries = |it: EngineOptions| EngineOptions {
        shutdown: ShutdownBy::Ring,
        techniques: Techniques { direct_descriptors: true, ..it.techniques.clone() },
        ..it
    };
    let mut all: Vec<_> = queues.iter().map(options).collect();
    if variant == Variant::IoUringTuned {
        // The table has an entry for each slot and each completion: eight, with the smallest.
        all.extend(queues.iter().map(options).map(few_entries));
    }
    all
}

fn serve_all(variant: Variant, options: &EngineOptions, closing: Closing) {
    let response: Vec<u8> = (0..RESPONSE_BYTES).map(|index| (index % 251) as u8).collect();
    let listen = ListenOptions {
        send_buffer_bytes: Some(4096),
        ..ListenOptions::new("127.0.0.1:0".parse().expect("an address"))
    };
    let server = Served::with_options(variant, &listen, options.clone(), |worker| {
        worker.response = response.clone().into();
        worker.closing = closing;
        worker.limits = Limits {
            connections: 4,
            request_head_bytes: REQUEST.len(),
            receive_buffer_bytes: 1,
            turn_bytes: 1,
        };
        // Those who wait their turn are not silent.
        worker.deadlines.idle = Duration::ZERO;
        worker.deadlines.life = Duration::ZERO;
    });
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
    for client in &mut clients {
        client.send(REQUEST);
    }
    let expected = Exchange::finished(&response);
    // Each goes when it has its answer: a lingering close waits for that.
    for (index, mut client) in clients.into_iter().enumerate() {
        assert_eq!(client.read_to_end(), expected, "{variant}, {options:?}: client {index}");
    }
    let (report, left) = server.stopped();
    let counters = report.counters;
    println!(
        "{variant}, {closing:?}, {options:?}: {} waits, {} short sends, {} overflows, {} full",
        counters.waits,
        counters.short_sends,
        counters.completion_queue_overflows,
        counters.submission_queue_full
    );
    assert_eq!(left, 0, "{variant}, {options:?}: descriptors left open");
    let clients = CLIENTS as u64;
    assert_eq!(
        (counters.accepted, counters.closed, counters.answered),
        (clients, clients, clients)
    );
    assert!(counters.short_sends >= clients, "the send buffer was not too small");
    assert!(counters.accept_pauses > 0, "there were enough slots");
    if variant.is_io_uring() {
        let met = counters.completion_queue_overflows + counters.submission_queue_full;
        assert!(met > 0 || options.submission_queue_entries > 2, "the queues were long enough");
    }
}

#[test]
fn five_hundred_clients_are_served_with_next_to_nothing() {
    // Both ends of each connection are in this process.
    raise_descriptor_limit(CLIENTS as u64 + 100);
    for &variant in Variant::ALL {
        if !engine("five_hundred_clients_are_served_with_next_to_nothing", variant) {
            continue;
        }
        for options in smallest(variant) {
            serve_all(variant, &options, Closing::AtOnce);
            serve_all(variant, &options, Closing::Lingering { bytes: 1 << 16 });
        }
    }
}
