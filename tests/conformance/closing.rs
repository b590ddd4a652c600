//! Peers that close or half-close before, during and after their request.

use std::thread;
use std::time::Duration;

use ringpoll_backends::LifecycleEvent;

use crate::configuration::{Configuration, scenarios};
use crate::outcomes::Outcomes;
use crate::server::TestServer;
use common::{REQUEST, RESPONSE, ReceivedStream};

scenarios![
    connect_and_close,
    partial_request_and_close,
    whole_request_and_close,
    half_close_at_once,
    half_close_after_partial_request,
    half_close_after_whole_request,
    request_and_half_close_read_together,
    peer_stays_open_after_response,
    close_before_accept,
    idle_peers_use_no_cpu,
    ;
    in process only:
    close_during_accept,
    close_during_receive,
    close_during_send,
    close_during_shutdown,
];

/// Bytes of a request that are sent before the peer closes or resets.
pub(crate) const PARTIAL_LENGTHS: &[usize] = &[1, 10, 25, 26];

pub(crate) fn premature_eof(count: usize) -> Outcomes {
    Outcomes { premature_eof: count as u64, ..Outcomes::default() }
}

fn connect_and_close(configuration: Configuration) {
    let server = TestServer::start(configuration);
    for _ in 0..20 {
        drop(server.connect());
        server.count_case();
    }
    server.stay_idle();
    server.check_still_serves();
    server.finish_with(premature_eof(20));
}

fn partial_request_and_close(configuration: Configuration) {
    let server = TestServer::start(configuration);
    for &length in PARTIAL_LENGTHS {
        drop(server.connect_and_send(&REQUEST[..length]));
        server.count_case();
    }
    server.stay_idle();
    server.check_still_serves();
    server.finish_with(premature_eof(PARTIAL_LENGTHS.len()));
}

fn whole_request_and_close(configuration: Configuration) {
    let server = TestServer::start(configuration);
    for _ in 0..20 {
        drop(server.connect_and_send(REQUEST));
        server.count_case();
    }
    server.stay_idle();
    server.check_still_serves();
    server.finish();
}

fn half_close_at_once(configuration: Configuration) {
    half_close_after(configuration, &[0; 10]);
}

fn half_close_after_partial_request(configuration: Configuration) {
    half_close_after(configuration, PARTIAL_LENGTHS);
}

fn half_close_after(configuration: Configuration, lengths: &[usize]) {
    let server = TestServer::start(configuration);
    let mut clients = Vec::new();
    for &length in lengths {
        let mut client = server.connect_and_send(&REQUEST[..length]);
        client.half_close();
        let nothing = ReceivedStream::with_fin(b"");
        server.check(&format!("after {length} bytes"), &client.read_to_end(), &nothing);
        clients.push(client);
    }
    server.stay_idle();
    server.check_still_serves();
    server.finish_with(premature_eof(lengths.len()));
}

fn half_close_after_whole_request(configuration: Configuration) {
    let server = TestServer::start(configuration);
    let mut clients = Vec::new();
    for pause_ms in [0, 1, 2, 5] {
        let mut client = server.connect_and_send(REQUEST);
        thread::sleep(Duration::from_millis(pause_ms));
        client.half_close();
        server.check("whole request", &client.read_to_end(), &ReceivedStream::with_fin(RESPONSE));
        clients.push(client);
    }
    server.stay_idle();
    server.finish_with(Outcomes::responses(4));
}

fn peer_stays_open_after_response(configuration: Configuration) {
    let server = TestServer::start(configuration);
    let mut clients: Vec<_> = (0..10).map(|_| server.connect_and_send(REQUEST)).collect();
    for client in &mut clients {
        server.check("whole request", &client.read_to_end(), &ReceivedStream::with_fin(RESPONSE));
    }
    server.stay_idle();
    server.wait_until_open(if configuration.lingers() { clients.len() } else { 0 });
    drop(clients);
    server.finish_with(Outcomes::responses(10));
}

/// The FIN is already in the receive buffer when the server reads the request.
fn request_and_half_close_read_together(configuration: Configuration) {
    let server = TestServer::start(configuration);
    let paused = server.pause();
    let clients: Vec<_> = (0..10).map(|_| server.connect_and_send(REQUEST)).collect();
    clients.iter().for_each(common::Client::half_close);
    drop(paused);
    for mut client in clients {
        server.check("whole request", &client.read_to_end(), &ReceivedStream::with_fin(RESPONSE));
    }
    server.stay_idle();
    server.finish_with(Outcomes::responses(10));
}

fn close_before_accept(configuration: Configuration) {
    let server = TestServer::start(configuration);
    let paused = server.pause();
    for &length in PARTIAL_LENGTHS {
        drop(server.connect());
        drop(server.connect_and_send(&REQUEST[..length]));
        server.count_case();
        server.count_case();
    }
    drop(paused);
    server.stay_idle();
    server.check_still_serves();
    server.finish_with(premature_eof(2 * PARTIAL_LENGTHS.len()));
}

fn idle_peers_use_no_cpu(configuration: Configuration) {
    let server = TestServer::start(configuration);
    let mut clients: Vec<_> =
        [0, 1, 10, 26].map(|length| (length, server.connect_and_send(&REQUEST[..length]))).into();
    server.stay_idle();
    server.check_still_serves();
    for (length, client) in &mut clients {
        client.send(&REQUEST[*length..]);
        server.check("after idling", &client.read_to_end(), &ReceivedStream::with_fin(RESPONSE));
    }
    drop(clients);
    server.finish_with(Outcomes::responses(4));
}

fn close_during_accept(configuration: Configuration) {
    close_while(configuration, b"", |event| event == LifecycleEvent::Accepted, premature_eof(1));
}

fn close_during_receive(configuration: Configuration) {
    let at = |event| matches!(event, LifecycleEvent::Received(_));
    close_while(configuration, REQUEST, at, Outcomes::responses(1));
}

fn close_during_send(configuration: Configuration) {
    let at = |event| matches!(event, LifecycleEvent::Sent(_));
    close_while(configuration, REQUEST, at, Outcomes::responses(1));
}

fn close_during_shutdown(configuration: Configuration) {
    close_while(
        configuration,
        REQUEST,
        |event| event == LifecycleEvent::Shutdown,
        Outcomes::responses(1),
    );
}

/// The peer closes while the event loop is paused inside an event of its connection.
fn close_while(
    configuration: Configuration,
    request: &[u8],
    at: fn(LifecycleEvent) -> bool,
    expected: Outcomes,
) {
    let server = TestServer::start(configuration);
    server.wait_until_all_closed();
    let paused = server.pause_at(at);
    let mut client = server.connect_and_send(request);
    paused.wait_until_paused();
    // A close with unread bytes would send an RST (RFC 2525, section 2.17).
    client.discard_received();
    drop(client);
    drop(paused);
    server.count_case();
    server.stay_idle();
    server.check_still_serves();
    server.finish_with(expected);
}
