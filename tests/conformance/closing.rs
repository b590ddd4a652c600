//! Peers that close, one direction or both, before, in the middle of and after their request.

use std::thread;
use std::time::Duration;

use ringpoll_backends::Step;

use crate::accounts::Accounts;
use crate::arm::{Arm, scenarios};
use crate::common::{Exchange, REQUEST, RESPONSE};
use crate::server::Server;

scenarios![
    connect_and_close,
    part_and_close,
    whole_request_and_close,
    half_close_at_once,
    half_close_after_a_part,
    half_close_after_a_whole_request,
    half_close_right_behind_a_whole_request,
    answered_and_still_there,
    close_before_accept,
    silent_peers_cost_nothing,
    ;
    only in process:
    close_while_it_is_accepted,
    close_while_it_is_received,
    close_while_it_is_answered,
    close_while_it_is_shut,
];

/// How much of a request has been sent before something happens.
pub(crate) const PARTS: &[usize] = &[1, 10, 25, 26];

pub(crate) fn ended_early(count: usize) -> Accounts {
    Accounts { ended_early: count as u64, ..Accounts::default() }
}

fn connect_and_close(arm: Arm) {
    let server = Server::start(arm);
    for _ in 0..20 {
        drop(server.connect());
        server.count_case();
    }
    server.stays_quiet();
    server.still_serves();
    server.finish_with(ended_early(20));
}

fn part_and_close(arm: Arm) {
    let server = Server::start(arm);
    for &part in PARTS {
        drop(server.connect_and_send(&REQUEST[..part]));
        server.count_case();
    }
    server.stays_quiet();
    server.still_serves();
    server.finish_with(ended_early(PARTS.len()));
}

/// Nobody is there to read the answer.
fn whole_request_and_close(arm: Arm) {
    let server = Server::start(arm);
    for _ in 0..20 {
        drop(server.connect_and_send(REQUEST));
        server.count_case();
    }
    server.stays_quiet();
    server.still_serves();
    server.finish();
}

fn half_close_at_once(arm: Arm) {
    half_close_after(arm, &[0; 10]);
}

fn half_close_after_a_part(arm: Arm) {
    half_close_after(arm, PARTS);
}

fn half_close_after(arm: Arm, parts: &[usize]) {
    let server = Server::start(arm);
    let mut clients = Vec::new();
    for &part in parts {
        let mut client = server.connect_and_send(&REQUEST[..part]);
        client.half_close();
        let nothing = Exchange::finished(b"");
        server.check(&format!("after {part} bytes"), &client.read_to_end(), &nothing);
        clients.push(client);
    }
    server.stays_quiet();
    server.still_serves();
    server.finish_with(ended_early(parts.len()));
}

/// It has said all that it had to say, and listens.
fn half_close_after_a_whole_request(arm: Arm) {
    let server = Server::start(arm);
    let mut clients = Vec::new();
    for pause_ms in [0, 1, 2, 5] {
        let mut client = server.connect_and_send(REQUEST);
        thread::sleep(Duration::from_millis(pause_ms));
        client.half_close();
        server.check("answered", &client.read_to_end(), &Exchange::finished(RESPONSE));
        clients.push(client);
    }
    server.stays_quiet();
    server.finish_with(Accounts::answered(4));
}

/// Who has its answer and does not go costs nothing, whether it is lingered for or not.
fn answered_and_still_there(arm: Arm) {
    let server = Server::start(arm);
    let mut clients: Vec<_> = (0..10).map(|_| server.connect_and_send(REQUEST)).collect();
    for client in &mut clients {
        server.check("answered", &client.read_to_end(), &Exchange::finished(RESPONSE));
    }
    server.stays_quiet();
    server.wait_until_open(if arm.lingers() { clients.len() } else { 0 });
    drop(clients);
    server.finish_with(Accounts::answered(10));
}

/// The end of the stream is there already when the request is read.
fn half_close_right_behind_a_whole_request(arm: Arm) {
    let server = Server::start(arm);
    let held = server.hold();
    let clients: Vec<_> = (0..10).map(|_| server.connect_and_send(REQUEST)).collect();
    clients.iter().for_each(|client| client.half_close());
    drop(held);
    for mut client in clients {
        server.check("answered", &client.read_to_end(), &Exchange::finished(RESPONSE));
    }
    server.stays_quiet();
    server.finish_with(Accounts::answered(10));
}

fn close_before_accept(arm: Arm) {
    let server = Server::start(arm);
    let held = server.hold();
    for &part in PARTS {
        drop(server.connect());
        drop(server.connect_and_send(&REQUEST[..part]));
        server.count_case();
        server.count_case();
    }
    drop(held);
    server.stays_quiet();
    server.still_serves();
    server.finish_with(ended_early(2 * PARTS.len()));
}

fn silent_peers_cost_nothing(arm: Arm) {
    let server = Server::start(arm);
    let mut clients: Vec<_> =
        [0, 1, 10, 26].map(|part| (part, server.connect_and_send(&REQUEST[..part]))).into();
    server.stays_quiet();
    server.still_serves();
    for (part, client) in &mut clients {
        client.send(&REQUEST[*part..]);
        server.check("at last", &client.read_to_end(), &Exchange::finished(RESPONSE));
    }
    drop(clients);
    server.finish_with(Accounts::answered(4));
}

fn close_while_it_is_accepted(arm: Arm) {
    close_while(arm, b"", |step| step == Step::Accepted, ended_early(1));
}

fn close_while_it_is_received(arm: Arm) {
    let at = |step| matches!(step, Step::Received(_));
    close_while(arm, REQUEST, at, Accounts::answered(1));
}

fn close_while_it_is_answered(arm: Arm) {
    let at = |step| matches!(step, Step::Sent(_));
    close_while(arm, REQUEST, at, Accounts::answered(1));
}

fn close_while_it_is_shut(arm: Arm) {
    close_while(arm, REQUEST, |step| step == Step::Shut, Accounts::answered(1));
}

/// The peer closes while the loop stands in the middle of a step of its connection.
fn close_while(arm: Arm, request: &[u8], at: fn(Step) -> bool, expected: Accounts) {
    let server = Server::start(arm);
    server.wait_until_it_knows_of_nobody();
    let held = server.hold_at(at);
    let mut client = server.connect_and_send(request);
    held.wait_until_held();
    // What has come is taken: left there, it would turn the close into a reset.
    client.take_what_is_there();
    drop(client);
    drop(held);
    server.count_case();
    server.stays_quiet();
    server.still_serves();
    server.finish_with(expected);
}
