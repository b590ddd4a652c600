//! Responses that need many sends, and slow readers.

use std::thread;
use std::time::Duration;

use crate::configuration::{Configuration, scenarios};
use crate::outcomes::Outcomes;
use crate::server::TestServer;
use crate::settings::Settings;
use common::{Client, REQUEST, ReceivedStream};

scenarios![
    large_response_takes_many_short_sends,
    slow_reader,
    half_close_before_large_response,
    half_close_during_large_response,
    stalled_readers_use_no_cpu,
];

const BODY_BYTES: usize = 1 << 20;

/// Settings with a small send buffer, so that every send is short.
pub(crate) fn large_response() -> Settings {
    Settings {
        response_body_bytes: BODY_BYTES,
        send_buffer_bytes: Some(4096),
        ..Settings::default()
    }
}

/// Returns a client with a small receive buffer that has sent a request.
pub(crate) fn slow_client(server: &TestServer) -> Client {
    let bytes = server.configuration.slow_receive_buffer_bytes(4096);
    let mut client = Client::connect_with_receive_buffer(server.address, bytes);
    client.send(REQUEST);
    client
}

fn large_response_takes_many_short_sends(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &large_response());
    let clients: Vec<_> = (0..4).map(|_| slow_client(&server)).collect();
    let whole = ReceivedStream::with_fin(server.response());
    for mut client in clients {
        server.check("a large response", &client.read_to_end(), &whole);
    }
    let totals = server.finish_with(Outcomes::responses(4));
    let short_sends = totals.count("short_sends");
    // Zero-copy sends take more bytes each, since the receive buffers of the peers are larger.
    let min_sends = if configuration.copies_on_send() { 64 } else { 16 };
    assert!(short_sends > 4 * min_sends, "{configuration}: only {short_sends} short sends");
}

fn slow_reader(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &large_response());
    let mut client = slow_client(&server);
    let mut bytes = Vec::new();
    for part in 1..64 {
        bytes.extend(client.read(part * 64));
        thread::sleep(Duration::from_millis(2));
    }
    let rest = client.read_to_end();
    bytes.extend(rest.bytes);
    let got = ReceivedStream { bytes, end: rest.end };
    server.check("slow reader", &got, &ReceivedStream::with_fin(server.response()));
    drop(client);
    server.finish_with(Outcomes::responses(1));
}

fn half_close_before_large_response(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &large_response());
    let mut client = slow_client(&server);
    client.half_close();
    let whole = ReceivedStream::with_fin(server.response());
    server.check("half-closed", &client.read_to_end(), &whole);
    server.finish_with(Outcomes::responses(1));
}

fn half_close_during_large_response(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &large_response());
    let mut client = slow_client(&server);
    let mut bytes = client.read(1000);
    client.half_close();
    let rest = client.read_to_end();
    bytes.extend(rest.bytes);
    let got = ReceivedStream { bytes, end: rest.end };
    server.check("half-closed", &got, &ReceivedStream::with_fin(server.response()));
    drop(client);
    server.finish_with(Outcomes::responses(1));
}

fn stalled_readers_use_no_cpu(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &large_response());
    let reading = slow_client(&server);
    let half_closed = slow_client(&server);
    half_closed.half_close();
    let mut trailing = slow_client(&server);
    if configuration.lingers() {
        // Closing at once with unread bytes would send an RST, which discards data in flight.
        trailing.send(b"trailing bytes");
    }
    server.stay_idle();
    let whole = ReceivedStream::with_fin(server.response());
    for mut client in [reading, half_closed, trailing] {
        server.check("after a pause", &client.read_to_end(), &whole);
    }
    server.finish_with(Outcomes::responses(3));
}
