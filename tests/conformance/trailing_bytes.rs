//! HTTP/1.0: one request, one answer. What follows the request changes nothing.

use crate::accounts::Accounts;
use crate::arm::{Arm, scenarios};
use crate::common::{Client, Exchange, REQUEST, RESPONSE};
use crate::server::Server;

scenarios![
    nothing_follows_the_fin,
    pipelined_requests_get_one_answer,
    trailing_bytes_that_fit_are_followed_by_a_fin_alone,
    trailing_bytes_beyond_the_buffer,
    trailing_bytes_behind_the_answer,
    trailing_bytes_without_end,
];

/// What one receive can bring.
const RECEIVE_BUFFER_BYTES: usize = 1024;

fn with_trailing(bytes: usize) -> Vec<u8> {
    let mut stream = REQUEST.to_vec();
    stream.resize(REQUEST.len() + bytes, b'x');
    stream
}

fn answered(server: &Server, case: &str, stream: &[u8]) -> Client {
    let mut client = server.connect();
    client.sends_if_taken(stream);
    server.check(case, &client.read_to_end(), &Exchange::finished(RESPONSE));
    client
}

fn pipelined_requests_get_one_answer(arm: Arm) {
    let server = Server::start(arm);
    for requests in [2, 3, 10, 100] {
        answered(&server, &format!("{requests} requests"), &REQUEST.repeat(requests));
    }
    server.finish_with(Accounts::answered(4));
}

/// What was read cannot turn the close into a reset.
fn trailing_bytes_that_fit_are_followed_by_a_fin_alone(arm: Arm) {
    let most = RECEIVE_BUFFER_BYTES - REQUEST.len();
    no_reset_follows(arm, &[0, 1, 2, REQUEST.len(), most]);
}

fn nothing_follows_the_fin(arm: Arm) {
    no_reset_follows(arm, &[0; 64]);
}

fn no_reset_follows(arm: Arm, trailing: &[usize]) {
    let server = Server::start(arm);
    let ended = |&bytes: &usize| {
        let client = answered(&server, &format!("{bytes} bytes"), &with_trailing(bytes));
        client.half_close();
        client
    };
    let clients: Vec<_> = trailing.iter().map(ended).collect();
    server.finish_with(Accounts::answered(trailing.len() as u64));
    for (client, bytes) in clients.iter().zip(trailing) {
        assert!(!client.was_reset_after_its_end(), "{arm}: a reset after {bytes} bytes more");
    }
}

/// Closing at once may leave some of it unread, which makes a reset follow the FIN; a lingering
/// close reads it all.
fn trailing_bytes_beyond_the_buffer(arm: Arm) {
    let trailing = [RECEIVE_BUFFER_BYTES, 5000, 60_000];
    if arm.lingers() {
        no_reset_follows(arm, &trailing);
        return;
    }
    let server = Server::start(arm);
    for bytes in trailing {
        answered(&server, &format!("{bytes} bytes"), &with_trailing(bytes));
    }
    server.finish_with(Accounts::answered(3));
}

/// A peer that goes on when it has been answered already. A lingering close is there to hear it;
/// one at once is not, which must not take the answer away.
fn trailing_bytes_behind_the_answer(arm: Arm) {
    let server = Server::start(arm);
    let mut clients: Vec<_> = (0..8).map(|_| server.connect_and_send(REQUEST)).collect();
    for client in &mut clients {
        client.wait_for(RESPONSE.len());
        client.sends_if_taken(b"and another thing");
        let got = client.read_to_end();
        server.check_one_that_goes_on("late", &got, &Exchange::finished(RESPONSE));
        if arm.lingers() {
            client.half_close();
        }
    }
    server.finish_with(Accounts::answered(8));
    let resets = clients.iter().filter(|client| client.was_reset_after_its_end()).count();
    assert!(!arm.lingers() || resets == 0, "{arm}: {resets} of 8 were reset");
}

/// A peer that goes on sending behind its request, until the server is no longer there. What was
/// answered meanwhile is there to be read.
fn trailing_bytes_without_end(arm: Arm) {
    let server = Server::start(arm);
    let mut client = server.connect_and_send(REQUEST);
    while client.sends_if_taken(&[b'x'; 4096]) {}
    server.check("a flood", &client.read_to_end(), &Exchange::finished(RESPONSE));
    server.still_serves();
    server.finish();
}
