//! What becomes of a handshake that is half way when the stop comes.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use ringpoll_backends::Variant;

use crate::client::{connect, connect_and_send, read_to_end, unacknowledged, wait_until_received};
use crate::common::{REQUEST, RESPONSE, wait_until_held};
use crate::namespace;
use crate::serving::{serve, variants};

/// The client holds it for established and has sent its request; the server's kernel has neither.
/// It is turned away, so that the client knows that its request was not received: nothing of it
/// is ever acknowledged. Whoever was in the queue is served all the same.
#[test]
fn a_handshake_half_way_at_the_stop_is_turned_away() {
    if !namespace::are_possible("a_handshake_half_way_at_the_stop_is_turned_away") {
        return;
    }
    thread::scope(|scope| {
        for variant in variants() {
            namespace::within(scope, variant.to_string(), move || turned_away(variant));
        }
    });
}

fn turned_away(variant: Variant) {
    let mut server = serve(variant, |worker| {
        worker.limits.connections = 1;
        worker.drain_timeout = Duration::from_secs(10);
    });
    let address = server.address;
    let holds_the_slot = connect_and_send(address, b"GET / HTTP/1.0\r\n\r");
    wait_until_held(address, 1);
    let queued = connect_and_send(address, REQUEST);
    wait_until_received(&queued);

    // The last packet of the handshake, and the request behind it, are lost on their way.
    namespace::filter_input(&format!("tcp dport {} tcp flags & syn == 0 drop", address.port()));
    let half_way = connect(address);
    (&half_way).write_all(REQUEST).expect("room for so little");
    server.stop.request();
    assert!((0..50).any(|_| door_is_shut(address)), "{variant}: newcomers get in");
    namespace::filter_input("");

    // It is sent again, and the listener is still there, since the queue has not been emptied.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(unacknowledged(&half_way), REQUEST.len(), "{variant}: it came in all the same");
    (&holds_the_slot).write_all(b"\n").expect("it may still");
    assert_eq!(read_to_end(&holds_the_slot).expect("an answer"), RESPONSE, "{variant}");
    assert_eq!(read_to_end(&queued).expect("an answer"), RESPONSE, "{variant}");
    let counters = server.ended().counters;
    assert_eq!((counters.accepted, counters.answered), (2, 2), "{variant}");
    let refusal = read_to_end(&half_way).expect_err("nobody has received a request");
    assert_eq!(refusal.kind(), ErrorKind::ConnectionReset, "{variant}: {refusal}");
    assert_eq!(unacknowledged(&half_way), REQUEST.len(), "{variant}");
}

/// Whether a newcomer's packets get no answer any more.
fn door_is_shut(address: SocketAddr) -> bool {
    thread::sleep(Duration::from_millis(20));
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err()
}
