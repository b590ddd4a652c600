//! Peers that end with an RST, at each step of their connection's life.

use std::thread;
use std::time::Duration;

use ringpoll_backends::Step;

use crate::accounts::Accounts;
use crate::arm::{Arm, scenarios};
use crate::closing::PARTS;
use crate::common::{REQUEST, RESPONSE};
use crate::large_answers::{large_answer, slow_client};
use crate::pieces::chance;
use crate::server::Server;

scenarios![
    reset_before_accept,
    reset_before_accept_with_a_part,
    reset_before_accept_with_a_whole_request,
    reset_while_idle,
    reset_after_a_part,
    reset_with_the_answer_unread,
    reset_in_the_middle_of_a_large_answer,
    resets_at_random_moments,
    ;
    only in process:
    reset_while_it_is_accepted,
    reset_while_it_is_received,
    reset_while_it_is_answered,
    reset_while_it_is_shut,
];

/// What becomes of connections that their peers have reset before they had an answer.
fn failed(count: usize) -> Accounts {
    Accounts { connection_errors: count as u64, ..Accounts::default() }
}

/// Those whose request was heard before it was known.
fn failed_with_a_request(count: usize) -> Accounts {
    Accounts { requests: count as u64, ..failed(count) }
}

/// Those that were answered. A close at once asks them nothing more; a lingering one listens, and
/// hears of the reset.
fn answered_and_reset(arm: Arm, count: usize) -> Accounts {
    let reset = if arm.lingers() { failed(count) } else { Accounts::default() };
    Accounts::answered(count as u64).plus(reset)
}

fn finish(server: Server, expected: Accounts) {
    server.stays_quiet();
    server.still_serves();
    server.finish_with(expected);
}

fn before_accept(arm: Arm, requests: &[&[u8]], expected: fn(usize) -> Accounts) {
    let server = Server::start(arm);
    let held = server.hold();
    for request in requests {
        server.connect_and_send(request).reset();
        server.count_case();
    }
    drop(held);
    finish(server, expected(requests.len()));
}

fn reset_before_accept(arm: Arm) {
    before_accept(arm, &[&b""[..]; 10], failed);
}

fn reset_before_accept_with_a_part(arm: Arm) {
    let parts: Vec<_> = PARTS.iter().map(|&part| &REQUEST[..part]).collect();
    before_accept(arm, &parts, failed);
}

fn reset_before_accept_with_a_whole_request(arm: Arm) {
    before_accept(arm, &[REQUEST; 10], failed_with_a_request);
}

fn reset_while_idle(arm: Arm) {
    let server = Server::start(arm);
    let clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
    server.wait_until_open(10);
    for client in clients {
        client.reset();
        server.count_case();
    }
    finish(server, failed(10));
}

fn reset_after_a_part(arm: Arm) {
    let server = Server::start(arm);
    for &part in PARTS {
        let before = server.received_bytes();
        let client = server.connect_and_send(&REQUEST[..part]);
        server.settle(before + part);
        client.reset();
        server.count_case();
    }
    finish(server, failed(PARTS.len()));
}

/// The answer has come as far as the peer's kernel.
fn reset_with_the_answer_unread(arm: Arm) {
    let server = Server::start(arm);
    for _ in 0..10 {
        let client = server.connect_and_send(REQUEST);
        client.wait_for(RESPONSE.len());
        client.reset();
        server.count_case();
    }
    finish(server, answered_and_reset(arm, 10));
}

fn reset_in_the_middle_of_a_large_answer(arm: Arm) {
    let server = Server::with_settings(arm, &large_answer());
    for count in [1, RESPONSE.len(), 1000, 100_000] {
        // With a larger window the whole answer could be on its way before the reset is.
        let mut client = slow_client(&server);
        client.read(count);
        client.reset();
        server.count_case();
    }
    finish(server, failed_with_a_request(4));
}

fn resets_at_random_moments(arm: Arm) {
    let mut random = chance();
    let server = Server::with_settings(arm, &large_answer());
    for _ in 0..300 {
        let sent = if random.bool() { REQUEST.len() } else { random.usize(..REQUEST.len()) };
        let client = server.connect_and_send(&REQUEST[..sent]);
        if random.bool() {
            thread::sleep(Duration::from_micros(random.u64(..500)));
        }
        client.reset();
        server.count_case();
    }
    server.still_serves();
    server.finish();
}

fn reset_while_it_is_accepted(arm: Arm) {
    reset_while(arm, b"", |step| step == Step::Accepted, failed(1));
}

fn reset_while_it_is_received(arm: Arm) {
    let at = |step| matches!(step, Step::Received(_));
    reset_while(arm, REQUEST, at, failed_with_a_request(1));
}

fn reset_while_it_is_answered(arm: Arm) {
    let at = |step| matches!(step, Step::Sent(_));
    reset_while(arm, REQUEST, at, answered_and_reset(arm, 1));
}

fn reset_while_it_is_shut(arm: Arm) {
    reset_while(arm, REQUEST, |step| step == Step::Shut, answered_and_reset(arm, 1));
}

/// The peer resets while the loop stands in the middle of a step of its connection.
fn reset_while(arm: Arm, request: &[u8], at: fn(Step) -> bool, expected: Accounts) {
    let server = Server::start(arm);
    server.wait_until_it_knows_of_nobody();
    let held = server.hold_at(at);
    let client = server.connect_and_send(request);
    held.wait_until_held();
    client.reset();
    drop(held);
    server.count_case();
    finish(server, expected);
}
