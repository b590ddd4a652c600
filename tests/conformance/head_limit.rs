//! A request head may be so long and not a byte longer, wherever it is cut.

use crate::accounts::Accounts;
use crate::arm::{Arm, scenarios};
use crate::common::{Exchange, HEAD_TOO_LARGE, RESPONSE};
use crate::pieces::{Plan, chance, run};
use crate::server::Server;
use crate::settings::Settings;

scenarios![
    head_of_exactly_the_limit,
    head_one_byte_over_the_limit,
    head_without_end,
    head_one_byte_short_of_the_limit_and_without_end,
    head_without_end_that_goes_on,
    small_limit_in_every_cut,
    long_head_that_takes_many_turns,
];

const LIMIT: usize = 8192;

/// A head of exactly so many bytes, its end included.
fn head(bytes: usize) -> Vec<u8> {
    let mut head = vec![b'x'; bytes - 4];
    head.extend(b"\r\n\r\n");
    head
}

/// In one piece, cut around the limit and around the end, and in random places.
fn cut_up(stream: &[u8]) -> Vec<Plan> {
    let length = stream.len();
    let edges = [1, 1023, 1024, 1025, LIMIT - 2, LIMIT - 1, LIMIT, length - 2, length - 1];
    let edges = edges.into_iter().filter(|&cut| cut < length);
    let mut plans: Vec<_> = edges.map(|cut| Plan::new(stream, &[cut], LIMIT)).collect();
    plans.push(Plan::new(stream, &[], LIMIT));
    let mut random = chance();
    plans.extend((0..40).map(|_| {
        let cuts: Vec<_> = (0..random.usize(1..12)).map(|_| random.usize(..length)).collect();
        Plan::new(stream, &cuts, LIMIT)
    }));
    plans
}

fn too_large(count: usize) -> Accounts {
    let count = count as u64;
    Accounts { heads_too_large: count, answered: count, ..Accounts::default() }
}

fn head_of_exactly_the_limit(arm: Arm) {
    let (server, plans) = (Server::start(arm), cut_up(&head(LIMIT)));
    run(&server, &plans, || false);
    server.finish_with(Accounts::answered(plans.len() as u64));
}

fn head_one_byte_over_the_limit(arm: Arm) {
    let (server, plans) = (Server::start(arm), cut_up(&head(LIMIT + 1)));
    run(&server, &plans, || false);
    server.finish_with(too_large(plans.len()));
}

fn head_without_end(arm: Arm) {
    let (server, plans) = (Server::start(arm), cut_up(&vec![b'\r'; LIMIT]));
    run(&server, &plans, || false);
    server.finish_with(too_large(plans.len()));
}

/// It might still come: nothing is said until the peer ends its stream.
fn head_one_byte_short_of_the_limit_and_without_end(arm: Arm) {
    let (server, plans) = (Server::start(arm), cut_up(&vec![b'x'; LIMIT - 1]));
    run(&server, &plans, || false);
    let count = plans.len() as u64;
    server.finish_with(Accounts { ended_early: count, ..Accounts::default() });
}

/// The peer sends until it is no longer let; the answer is there to be read all the same.
fn head_without_end_that_goes_on(arm: Arm) {
    let server = Server::start(arm);
    for _ in 0..4 {
        let mut client = server.connect();
        while client.sends_if_taken(&[b'x'; 4096]) {}
        let expected = Exchange::finished(HEAD_TOO_LARGE);
        server.check("a flood", &client.read_to_end(), &expected);
    }
    server.finish_with(too_large(4));
}

fn small_limit_in_every_cut(arm: Arm) {
    let limit = 32;
    let settings = Settings { request_head_bytes: limit, ..Settings::default() };
    let server = Server::with_settings(arm, &settings);
    let cut_everywhere = |stream: &[u8]| -> Vec<_> {
        (0..stream.len()).map(|cut| Plan::new(stream, &[cut], limit)).collect()
    };
    let whole = cut_everywhere(&head(limit));
    let mut over = cut_everywhere(&head(limit + 1));
    over.extend(cut_everywhere(&b"\nx".repeat(limit / 2)));
    run(&server, &whole, || false);
    run(&server, &over, || false);
    let accounts = Accounts::answered(whole.len() as u64).plus(too_large(over.len()));
    server.finish_with(accounts);
}

/// Far more than one turn takes, and all of it is there before the first: nothing that happens
/// later makes the server look again.
fn long_head_that_takes_many_turns(arm: Arm) {
    let stream = head(100_000);
    let settings = Settings { request_head_bytes: stream.len(), ..Settings::default() };
    let server = Server::with_settings(arm, &settings);
    let held = server.hold();
    let clients: Vec<_> = (0..4).map(|_| server.connect_and_send(&stream)).collect();
    drop(held);
    for mut client in clients {
        server.check("long", &client.read_to_end(), &Exchange::finished(RESPONSE));
    }
    server.finish_with(Accounts::answered(4));
}
