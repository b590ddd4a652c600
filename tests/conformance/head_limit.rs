//! The limit of the request head is exact to the byte, for every split.

use crate::configuration::{Configuration, scenarios};
use crate::outcomes::Outcomes;
use crate::pieces::{SplitStream, seeded_random, send_and_check};
use crate::server::TestServer;
use crate::settings::Settings;
use common::{HEAD_TOO_LARGE, RESPONSE, ReceivedStream};

scenarios![
    head_of_exactly_the_limit_is_accepted,
    head_one_byte_over_the_limit_is_refused,
    unterminated_head_is_refused_at_the_limit,
    unterminated_head_below_the_limit_waits,
    endless_head_gets_431,
    small_limit_at_every_split,
    long_head_exceeds_the_read_budget,
];

const LIMIT: usize = 8192;

/// Returns a head of exactly `bytes`, including its terminator.
fn head(bytes: usize) -> Vec<u8> {
    let mut head = vec![b'x'; bytes - 4];
    head.extend(b"\r\n\r\n");
    head
}

/// Returns the stream in one piece, split around the limit and the terminator, and at random.
fn split_plans(stream: &[u8]) -> Vec<SplitStream> {
    let length = stream.len();
    let edges = [1, 1023, 1024, 1025, LIMIT - 2, LIMIT - 1, LIMIT, length - 2, length - 1];
    let edges = edges.into_iter().filter(|&split| split < length);
    let mut streams: Vec<_> =
        edges.map(|split| SplitStream::new(stream, &[split], LIMIT)).collect();
    streams.push(SplitStream::new(stream, &[], LIMIT));
    let mut random = seeded_random();
    streams.extend((0..40).map(|_| {
        let splits: Vec<_> = (0..random.usize(1..12)).map(|_| random.usize(..length)).collect();
        SplitStream::new(stream, &splits, LIMIT)
    }));
    streams
}

fn too_large(count: usize) -> Outcomes {
    let count = count as u64;
    Outcomes { request_heads_too_large: count, responses: count, ..Outcomes::default() }
}

fn head_of_exactly_the_limit_is_accepted(configuration: Configuration) {
    let (server, streams) = (TestServer::start(configuration), split_plans(&head(LIMIT)));
    send_and_check(&server, &streams, || false);
    server.finish_with(Outcomes::responses(streams.len() as u64));
}

fn head_one_byte_over_the_limit_is_refused(configuration: Configuration) {
    let (server, streams) = (TestServer::start(configuration), split_plans(&head(LIMIT + 1)));
    send_and_check(&server, &streams, || false);
    server.finish_with(too_large(streams.len()));
}

fn unterminated_head_is_refused_at_the_limit(configuration: Configuration) {
    let (server, streams) = (TestServer::start(configuration), split_plans(&vec![b'\r'; LIMIT]));
    send_and_check(&server, &streams, || false);
    server.finish_with(too_large(streams.len()));
}

/// The terminator can still arrive, so there is no response before the peer ends its stream.
fn unterminated_head_below_the_limit_waits(configuration: Configuration) {
    let (server, streams) = (TestServer::start(configuration), split_plans(&vec![b'x'; LIMIT - 1]));
    send_and_check(&server, &streams, || false);
    let count = streams.len() as u64;
    server.finish_with(Outcomes { premature_eof: count, ..Outcomes::default() });
}

/// The peer sends until the server closes, and can still read the response.
fn endless_head_gets_431(configuration: Configuration) {
    let server = TestServer::start(configuration);
    for _ in 0..4 {
        let mut client = server.connect();
        while client.try_send(&[b'x'; 4096]) {}
        let expected = ReceivedStream::with_fin(HEAD_TOO_LARGE);
        server.check("a flood", &client.read_to_end(), &expected);
    }
    server.finish_with(too_large(4));
}

fn small_limit_at_every_split(configuration: Configuration) {
    let limit = 32;
    let settings = Settings { request_head_bytes: limit, ..Settings::default() };
    let server = TestServer::with_settings(configuration, &settings);
    let split_everywhere = |stream: &[u8]| -> Vec<_> {
        (0..stream.len()).map(|split| SplitStream::new(stream, &[split], limit)).collect()
    };
    let whole = split_everywhere(&head(limit));
    let mut over = split_everywhere(&head(limit + 1));
    over.extend(split_everywhere(&b"\nx".repeat(limit / 2)));
    send_and_check(&server, &whole, || false);
    send_and_check(&server, &over, || false);
    server.finish_with(Outcomes::responses(whole.len() as u64).plus(too_large(over.len())));
}

/// The whole head is in the receive buffer before the first receive, so no later event reports the
/// bytes beyond the read budget.
fn long_head_exceeds_the_read_budget(configuration: Configuration) {
    let stream = head(100_000);
    let settings = Settings { request_head_bytes: stream.len(), ..Settings::default() };
    let server = TestServer::with_settings(configuration, &settings);
    let paused = server.pause();
    let clients: Vec<_> = (0..4).map(|_| server.connect_and_send(&stream)).collect();
    drop(paused);
    for mut client in clients {
        server.check("long", &client.read_to_end(), &ReceivedStream::with_fin(RESPONSE));
    }
    server.finish_with(Outcomes::responses(4));
}
