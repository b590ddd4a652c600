//! Answers that the kernel takes in many parts, and peers that take their time.

use std::thread;
use std::time::Duration;

use crate::accounts::Accounts;
use crate::arm::{Arm, scenarios};
use crate::common::{Client, Exchange, REQUEST};
use crate::server::Server;
use crate::settings::Settings;

scenarios![
    many_short_sends,
    slow_reader,
    half_close_before_a_large_answer,
    half_close_in_the_middle_of_a_large_answer,
    readers_that_stop_cost_nothing,
];

const BODY_BYTES: usize = 1 << 20;

/// A small send buffer, so that no send can take more than a small part.
pub(crate) fn large_answer() -> Settings {
    Settings {
        response_body_bytes: BODY_BYTES,
        send_buffer_bytes: Some(4096),
        ..Settings::default()
    }
}

/// A client that has asked, and whose kernel holds little of what it has not read.
pub(crate) fn slow_client(server: &Server) -> Client {
    let bytes = server.arm.receive_buffer_bytes(4096);
    let mut client = Client::connect_with_receive_buffer(server.address, bytes);
    client.send(REQUEST);
    client
}

fn many_short_sends(arm: Arm) {
    let server = Server::with_settings(arm, &large_answer());
    let clients: Vec<_> = (0..4).map(|_| slow_client(&server)).collect();
    let whole = Exchange::finished(server.response());
    for mut client in clients {
        server.check("a large answer", &client.read_to_end(), &whole);
    }
    let totals = server.finish_with(Accounts::answered(4));
    let short_sends = totals.of("short_sends");
    // Without a copy more is taken at a time, since the peers' buffers are larger.
    let each = if arm.copies_what_it_sends() { 64 } else { 16 };
    assert!(short_sends > 4 * each, "{arm}: only {short_sends} short sends");
}

fn slow_reader(arm: Arm) {
    let server = Server::with_settings(arm, &large_answer());
    let mut client = slow_client(&server);
    let mut bytes = Vec::new();
    for part in 1..64 {
        bytes.extend(client.read(part * 64));
        thread::sleep(Duration::from_millis(2));
    }
    let rest = client.read_to_end();
    bytes.extend(rest.bytes);
    let got = Exchange { bytes, end: rest.end };
    server.check("slowly read", &got, &Exchange::finished(server.response()));
    drop(client);
    server.finish_with(Accounts::answered(1));
}

fn half_close_before_a_large_answer(arm: Arm) {
    let server = Server::with_settings(arm, &large_answer());
    let mut client = slow_client(&server);
    client.half_close();
    let whole = Exchange::finished(server.response());
    server.check("half-closed", &client.read_to_end(), &whole);
    server.finish_with(Accounts::answered(1));
}

fn half_close_in_the_middle_of_a_large_answer(arm: Arm) {
    let server = Server::with_settings(arm, &large_answer());
    let mut client = slow_client(&server);
    let mut bytes = client.read(1000);
    client.half_close();
    let rest = client.read_to_end();
    bytes.extend(rest.bytes);
    let got = Exchange { bytes, end: rest.end };
    server.check("half-closed", &got, &Exchange::finished(server.response()));
    drop(client);
    server.finish_with(Accounts::answered(1));
}

/// Whoever does not take its answer is waited for, and nothing else is done for it.
fn readers_that_stop_cost_nothing(arm: Arm) {
    let server = Server::with_settings(arm, &large_answer());
    let reading = slow_client(&server);
    let half_closed = slow_client(&server);
    half_closed.half_close();
    let mut trailing = slow_client(&server);
    if arm.lingers() {
        // Where the close comes at once, bytes that nobody reads would turn it into a reset, which
        // destroys what is still on its way.
        trailing.send(b"and what follows");
    }
    server.stays_quiet();
    let whole = Exchange::finished(server.response());
    for mut client in [reading, half_closed, trailing] {
        server.check("after a pause", &client.read_to_end(), &whole);
    }
    server.finish_with(Accounts::answered(3));
}
