//! Closing after the response on a network that loses packets, while the peer sends more bytes. A
//! close with unread bytes sends an RST, and an RST that arrives before the response discards it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ringpoll_backends::{Closing, Variant};

use crate::client::read_to_end;
use crate::servers::{serve, variants};
use common::{EVENT_TIMEOUT, REQUEST, RESPONSE, namespace};

tests![
    lingering_close_loses_no_response_on_lossy_network,
    immediate_close_loses_responses_on_lossy_network,
];

/// Spares the handshake: a peer without a connection cannot lose a response.
const DROP_A_FIFTH: &str = "tcp flags & syn == 0 numgen random mod 100 < 20 drop";
/// Allows for a segment that is lost nine times in a row, with exponential backoff.
const LINGERING_CLOSE_TIMEOUT: Duration = Duration::from_secs(150);
/// Ends the wait of a peer that lost both the response and the RST, which is not retransmitted.
const IMMEDIATE_CLOSE_TIMEOUT: Duration = Duration::from_secs(4);
/// Concurrent peers on each variant.
const PEERS: usize = 250;

fn lingering_close_loses_no_response_on_lossy_network() {
    let name = "lingering_close_loses_no_response_on_lossy_network";
    if !namespace::can_create(name) {
        return;
    }
    let lost = lost_responses_of_each_variant(Closing::Lingering { bytes: 64 * 1024 }, 4);
    for (variant, lost) in lost {
        assert_eq!(lost, 0, "{variant}: responses lost of {}", 4 * PEERS);
    }
}

/// Shows that the test above would detect lost responses.
fn immediate_close_loses_responses_on_lossy_network() {
    let name = "immediate_close_loses_responses_on_lossy_network";
    if !namespace::can_create(name) {
        return;
    }
    for (variant, lost) in lost_responses_of_each_variant(Closing::AtOnce, 1) {
        println!("{variant}: closed at once, {lost} of {PEERS} responses were lost");
        assert!(lost > 0, "{variant}");
    }
}

fn lost_responses_of_each_variant(closing: Closing, requests_each: usize) -> Vec<(Variant, usize)> {
    thread::scope(|scope| {
        let run = |variant: Variant| {
            let work = move || lost_responses(variant, closing, requests_each);
            (variant, namespace::spawn(scope, variant.to_string(), work))
        };
        let running: Vec<_> = variants().map(run).collect();
        running.into_iter().map(|(variant, it)| (variant, it.join().expect("no panic"))).collect()
    })
}

fn lost_responses(variant: Variant, closing: Closing, requests_each: usize) -> usize {
    let mut server = serve(variant, |worker| {
        worker.closing = closing;
        worker.deadlines.linger = Duration::from_secs(2);
    });
    namespace::set_input_rules(DROP_A_FIFTH);
    let timeout =
        if closing == Closing::AtOnce { IMMEDIATE_CLOSE_TIMEOUT } else { LINGERING_CLOSE_TIMEOUT };
    let lost = AtomicUsize::new(0);
    thread::scope(|scope| {
        for peer in 0..PEERS {
            let (lost, address) = (&lost, server.address);
            let send_requests = move || {
                for number in 0..requests_each {
                    let has_response = request_with_trailing_bytes(address, peer + number, timeout);
                    lost.fetch_add(usize::from(!has_response), Ordering::Relaxed);
                }
            };
            thread::Builder::new()
                .stack_size(128 * 1024)
                .spawn_scoped(scope, send_requests)
                .expect("a thread");
        }
    });
    namespace::set_input_rules("");
    server.stop.request();
    let counters = server.wait().counters;
    let requests = (PEERS * requests_each) as u64;
    let lost = lost.into_inner();
    // All packets of a request can be lost until its client stops waiting.
    let served = requests - lost as u64..=requests;
    assert!(served.contains(&counters.requests), "{variant}: {counters:?}");
    assert_eq!(counters.responses, counters.requests, "{variant}");
    assert_eq!(counters.closed, counters.accepted, "{variant}");
    lost
}

/// Sends a request followed by more bytes: at once, a little later, or both. Returns whether the
/// response arrived.
fn request_with_trailing_bytes(address: SocketAddr, number: usize, timeout: Duration) -> bool {
    let mut stream =
        TcpStream::connect_timeout(&address, EVENT_TIMEOUT).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP stream");
    stream.set_read_timeout(Some(timeout)).expect("a valid timeout");
    let more = [b'x'; 3000];
    stream.write_all(REQUEST).expect("room in the send buffer");
    if !number.is_multiple_of(3) {
        let _ = stream.write_all(&more);
    }
    if number % 3 != 1 {
        thread::sleep(Duration::from_millis(1 + 25 * (number % 8) as u64));
        // It may have been reset by now.
        let _ = stream.write_all(&more);
    }
    read_to_end(&stream).is_ok_and(|got| got == RESPONSE)
}
