//! Peers that send an RST in each state of their connection.

use std::thread;
use std::time::Duration;

use ringpoll_backends::LifecycleEvent;

use crate::closing::PARTIAL_LENGTHS;
use crate::configuration::{Configuration, scenarios};
use crate::large_responses::{large_response, slow_client};
use crate::outcomes::Outcomes;
use crate::pieces::seeded_random;
use crate::server::TestServer;
use common::{REQUEST, RESPONSE, established_connections, wait_until};

scenarios![
    reset_before_accept,
    reset_before_accept_with_partial_request,
    reset_before_accept_with_whole_request,
    reset_while_idle,
    reset_after_partial_request,
    reset_with_unread_response,
    reset_during_large_response,
    resets_at_random_moments,
    ;
    in process only:
    reset_during_accept,
    reset_during_receive,
    reset_during_send,
    reset_during_shutdown,
];

/// Outcomes of connections that are reset before their request is received.
fn failed_before_request(count: usize) -> Outcomes {
    Outcomes { connection_errors: count as u64, ..Outcomes::default() }
}

/// Outcomes of connections whose request is received before the reset.
fn failed_after_request(count: usize) -> Outcomes {
    Outcomes { requests: count as u64, ..failed_before_request(count) }
}

/// Outcomes of connections that are reset after the response. Only a lingering close still
/// receives, so it notices the reset.
fn reset_after_response(configuration: Configuration, count: usize) -> Outcomes {
    let reset =
        if configuration.lingers() { failed_before_request(count) } else { Outcomes::default() };
    Outcomes::responses(count as u64).plus(reset)
}

fn finish(server: TestServer, expected: Outcomes) {
    server.stay_idle();
    server.check_still_serves();
    server.finish_with(expected);
}

fn before_accept(
    configuration: Configuration,
    requests: &[&[u8]],
    expected: fn(usize) -> Outcomes,
) {
    let server = TestServer::start(configuration);
    let paused = server.pause();
    let others = established_connections(server.address);
    for request in requests {
        server.connect_and_send(request).reset();
        server.count_case();
    }
    wait_until("the resets are handled", || established_connections(server.address) == others);
    drop(paused);
    finish(server, expected(requests.len()));
}

fn reset_before_accept(configuration: Configuration) {
    before_accept(configuration, &[&b""[..]; 10], failed_before_request);
}

fn reset_before_accept_with_partial_request(configuration: Configuration) {
    let parts: Vec<_> = PARTIAL_LENGTHS.iter().map(|&length| &REQUEST[..length]).collect();
    before_accept(configuration, &parts, failed_before_request);
}

fn reset_before_accept_with_whole_request(configuration: Configuration) {
    before_accept(configuration, &[REQUEST; 10], failed_after_request);
}

fn reset_while_idle(configuration: Configuration) {
    let server = TestServer::start(configuration);
    let clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
    server.wait_until_open(10);
    for client in clients {
        client.reset();
        server.count_case();
    }
    finish(server, failed_before_request(10));
}

fn reset_after_partial_request(configuration: Configuration) {
    let server = TestServer::start(configuration);
    for &length in PARTIAL_LENGTHS {
        let before = server.received_bytes();
        let client = server.connect_and_send(&REQUEST[..length]);
        server.wait_until_received(before + length);
        client.reset();
        server.count_case();
    }
    finish(server, failed_before_request(PARTIAL_LENGTHS.len()));
}

fn reset_with_unread_response(configuration: Configuration) {
    let server = TestServer::start(configuration);
    for _ in 0..10 {
        let client = server.connect_and_send(REQUEST);
        client.wait_until_readable(RESPONSE.len());
        client.reset();
        server.count_case();
    }
    finish(server, reset_after_response(configuration, 10));
}

fn reset_during_large_response(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &large_response());
    for count in [1, RESPONSE.len(), 1000, 100_000] {
        // With a larger window the server could send the whole response before the reset arrives.
        let mut client = slow_client(&server);
        client.read(count);
        client.reset();
        server.count_case();
    }
    finish(server, failed_after_request(4));
}

fn resets_at_random_moments(configuration: Configuration) {
    let mut random = seeded_random();
    let server = TestServer::with_settings(configuration, &large_response());
    for _ in 0..300 {
        let sent = if random.bool() { REQUEST.len() } else { random.usize(..REQUEST.len()) };
        let client = server.connect_and_send(&REQUEST[..sent]);
        if random.bool() {
            thread::sleep(Duration::from_micros(random.u64(..500)));
        }
        client.reset();
        server.count_case();
    }
    server.check_still_serves();
    server.finish();
}

fn reset_during_accept(configuration: Configuration) {
    reset_while(
        configuration,
        b"",
        |event| event == LifecycleEvent::Accepted,
        failed_before_request(1),
    );
}

fn reset_during_receive(configuration: Configuration) {
    let at = |event| matches!(event, LifecycleEvent::Received(_));
    reset_while(configuration, REQUEST, at, failed_after_request(1));
}

fn reset_during_send(configuration: Configuration) {
    let at = |event| matches!(event, LifecycleEvent::Sent(_));
    reset_while(configuration, REQUEST, at, reset_after_response(configuration, 1));
}

fn reset_during_shutdown(configuration: Configuration) {
    reset_while(
        configuration,
        REQUEST,
        |event| event == LifecycleEvent::Shutdown,
        reset_after_response(configuration, 1),
    );
}

/// The peer resets while the event loop is paused inside an event of its connection.
fn reset_while(
    configuration: Configuration,
    request: &[u8],
    at: fn(LifecycleEvent) -> bool,
    expected: Outcomes,
) {
    let server = TestServer::start(configuration);
    server.wait_until_all_closed();
    let paused = server.pause_at(at);
    let client = server.connect_and_send(request);
    paused.wait_until_paused();
    client.reset();
    drop(paused);
    server.count_case();
    finish(server, expected);
}
