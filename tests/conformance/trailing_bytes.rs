//! HTTP/1.0 has one response per connection, and bytes after the request do not change it.

use crate::configuration::{Configuration, scenarios};
use crate::outcomes::Outcomes;
use crate::server::TestServer;
use common::{Client, REQUEST, RESPONSE, ReceivedStream};

scenarios![
    no_reset_follows_the_fin,
    pipelined_requests_get_one_response,
    trailing_bytes_within_the_buffer_cause_no_reset,
    trailing_bytes_beyond_the_buffer,
    trailing_bytes_after_the_response,
    endless_trailing_bytes,
];

/// Most bytes of one receive.
const RECEIVE_BUFFER_BYTES: usize = 1024;

fn with_trailing(bytes: usize) -> Vec<u8> {
    let mut stream = REQUEST.to_vec();
    stream.resize(REQUEST.len() + bytes, b'x');
    stream
}

fn request_with_trailing(server: &TestServer, case: &str, stream: &[u8]) -> Client {
    let mut client = server.connect();
    client.try_send(stream);
    server.check(case, &client.read_to_end(), &ReceivedStream::with_fin(RESPONSE));
    client
}

fn pipelined_requests_get_one_response(configuration: Configuration) {
    let server = TestServer::start(configuration);
    for requests in [2, 3, 10, 100] {
        request_with_trailing(&server, &format!("{requests} requests"), &REQUEST.repeat(requests));
    }
    server.finish_with(Outcomes::responses(4));
}

/// Bytes that the server has read cannot turn the close into an RST.
fn trailing_bytes_within_the_buffer_cause_no_reset(configuration: Configuration) {
    let max = RECEIVE_BUFFER_BYTES - REQUEST.len();
    check_no_reset_follows(configuration, &[0, 1, 2, REQUEST.len(), max]);
}

fn no_reset_follows_the_fin(configuration: Configuration) {
    check_no_reset_follows(configuration, &[0; 64]);
}

fn check_no_reset_follows(configuration: Configuration, trailing: &[usize]) {
    let server = TestServer::start(configuration);
    let half_closed = |&bytes: &usize| {
        let client =
            request_with_trailing(&server, &format!("{bytes} bytes"), &with_trailing(bytes));
        client.half_close();
        client
    };
    let clients: Vec<_> = trailing.iter().map(half_closed).collect();
    server.finish_with(Outcomes::responses(trailing.len() as u64));
    for (client, bytes) in clients.iter().zip(trailing) {
        assert!(
            !client.was_reset_after_fin(),
            "{configuration}: reset after {bytes} trailing bytes"
        );
    }
}

/// Closing at once may leave bytes unread, so an RST follows the FIN. A lingering close reads them.
fn trailing_bytes_beyond_the_buffer(configuration: Configuration) {
    let trailing = [RECEIVE_BUFFER_BYTES, 5000, 60_000];
    if configuration.lingers() {
        check_no_reset_follows(configuration, &trailing);
        return;
    }
    let server = TestServer::start(configuration);
    for bytes in trailing {
        request_with_trailing(&server, &format!("{bytes} bytes"), &with_trailing(bytes));
    }
    server.finish_with(Outcomes::responses(3));
}

/// The peer sends more after it has received the response. A lingering close reads those bytes;
/// closing at once rejects them with an RST, which must not discard the response.
fn trailing_bytes_after_the_response(configuration: Configuration) {
    let server = TestServer::start(configuration);
    let mut clients: Vec<_> = (0..8).map(|_| server.connect_and_send(REQUEST)).collect();
    for client in &mut clients {
        client.wait_until_readable(RESPONSE.len());
        client.try_send(b"trailing bytes");
        let got = client.read_to_end();
        server.check_with_trailing_bytes("late", &got, &ReceivedStream::with_fin(RESPONSE));
        if configuration.lingers() {
            client.half_close();
        }
    }
    server.finish_with(Outcomes::responses(8));
    let resets = clients.iter().filter(|client| client.was_reset_after_fin()).count();
    assert!(!configuration.lingers() || resets == 0, "{configuration}: {resets} of 8 were reset");
}

/// The peer sends after its request until the server has closed, and can still read the response.
fn endless_trailing_bytes(configuration: Configuration) {
    let server = TestServer::start(configuration);
    let mut client = server.connect_and_send(REQUEST);
    while client.try_send(&[b'x'; 4096]) {}
    server.check("a flood", &client.read_to_end(), &ReceivedStream::with_fin(RESPONSE));
    server.check_still_serves();
    server.finish();
}
