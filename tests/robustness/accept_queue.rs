//! The accept queue at a stop, with a handshake that is not complete.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use ringpoll_backends::Variant;

use crate::client::{
    connect, connect_and_send, read_to_end, unacknowledged_bytes, wait_until_acknowledged,
};
use crate::servers::{serve, variants};
use common::{REQUEST, RESPONSE, namespace, wait_for_open_connections};

tests![incomplete_handshake_at_stop_is_reset,];

/// The client's side of the connection is established and has sent a request, but the server has
/// received neither the last ACK of the handshake nor the request. The server resets it, so the
/// client knows that its request was not received. Connections in the accept queue are served.
fn incomplete_handshake_at_stop_is_reset() {
    if !namespace::can_create("incomplete_handshake_at_stop_is_reset") {
        return;
    }
    thread::scope(|scope| {
        for variant in variants() {
            namespace::spawn(scope, variant.to_string(), move || {
                check_incomplete_handshake(variant);
            });
        }
    });
}

fn check_incomplete_handshake(variant: Variant) {
    let mut server = serve(variant, |worker| {
        worker.limits.connections = 1;
        worker.drain_timeout = Duration::from_secs(10);
    });
    let address = server.address;
    let in_slot = connect_and_send(address, b"GET / HTTP/1.0\r\n\r");
    wait_for_open_connections(address, 1);
    let queued = connect_and_send(address, REQUEST);
    wait_until_acknowledged(&queued);

    // Drops the last ACK of the handshake and the request.
    namespace::set_input_rules(&format!("tcp dport {} tcp flags & syn == 0 drop", address.port()));
    let incomplete = connect(address);
    (&incomplete).write_all(REQUEST).expect("room in the send buffer");
    server.stop.request();
    assert!(
        (0..50).any(|_| refuses_connections(address)),
        "{variant}: new connections are accepted"
    );
    namespace::set_input_rules("");

    // The client retransmits while the listener is still open, since the queue is not empty.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(
        unacknowledged_bytes(&incomplete),
        REQUEST.len(),
        "{variant}: the request was received"
    );
    (&in_slot).write_all(b"\n").expect("the connection is open");
    assert_eq!(read_to_end(&in_slot).expect("a response"), RESPONSE, "{variant}");
    assert_eq!(read_to_end(&queued).expect("a response"), RESPONSE, "{variant}");
    let counters = server.wait().counters;
    assert_eq!((counters.accepted, counters.responses), (2, 2), "{variant}");
    let refusal = read_to_end(&incomplete).expect_err("an RST");
    assert_eq!(refusal.kind(), ErrorKind::ConnectionReset, "{variant}: {refusal}");
    assert_eq!(unacknowledged_bytes(&incomplete), REQUEST.len(), "{variant}");
}

/// Returns whether a SYN gets no response any more.
fn refuses_connections(address: SocketAddr) -> bool {
    thread::sleep(Duration::from_millis(20));
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err()
}
