//! Splitting a request into pieces does not change the response.

use crate::configuration::{Configuration, scenarios};
use crate::outcomes::Outcomes;
use crate::pieces::{SplitStream, seeded_random, send_and_check};
use crate::server::TestServer;
use crate::settings::Settings;
use common::{HEAD_TOO_LARGE, REQUEST, RESPONSE, ReceivedStream};

scenarios![
    whole_request,
    split_once,
    split_twice,
    byte_by_byte,
    random_streams_and_splits,
    request_terminators,
    non_utf8_bytes,
    urgent_byte_is_not_part_of_request,
];

const LIMIT: usize = 8192;

/// Valid terminators of a request head, some with prefixes that resemble one.
const TERMINATORS: &[&[u8]] =
    &[b"\n\n", b"\n\r\n", b"\r\n\r\n", b"x\n\n", b"\r\n\n", b"\r\r\n\r\r\n\r\n", b"a\n\rb\n\n"];

/// Truncated, overlong, surrogate, above U+10FFFF, invalid bytes, and zeros.
const NON_UTF8: &[&[u8]] = &[
    b"GET /\xc3 HTTP/1.0\r\n\r\n",
    b"GET /\xc0\xaf HTTP/1.0\r\n\r\n",
    b"GET /\xed\xa0\x80 HTTP/1.0\r\n\r\n",
    b"GET /\xf4\x90\x80\x80 HTTP/1.0\r\n\r\n",
    b"\xff\xfe\xfd\n\n",
    b"\0\0\0\n\r\n",
];

fn whole_request(configuration: Configuration) {
    let server = TestServer::start(configuration);
    for _ in 0..10 {
        let got = server.connect_and_send(REQUEST).read_to_end();
        server.check("whole", &got, &ReceivedStream::with_fin(RESPONSE));
    }
    server.finish_with(Outcomes::responses(10));
}

fn split_once(configuration: Configuration) {
    let streams: Vec<_> =
        (1..REQUEST.len()).map(|split| SplitStream::new(REQUEST, &[split], LIMIT)).collect();
    run_all(configuration, &streams);
}

fn split_twice(configuration: Configuration) {
    let streams: Vec<_> = (1..REQUEST.len())
        .flat_map(|first| (first + 1..REQUEST.len()).map(move |second| [first, second]))
        .map(|splits| SplitStream::new(REQUEST, &splits, LIMIT))
        .collect();
    assert_eq!(streams.len(), 26 * 25 / 2);
    run_all(configuration, &streams);
}

fn byte_by_byte(configuration: Configuration) {
    run_all(configuration, &vec![SplitStream::byte_by_byte(REQUEST, LIMIT); 16]);
}

fn request_terminators(configuration: Configuration) {
    run_all(configuration, &whole_and_byte_by_byte(TERMINATORS));
}

fn non_utf8_bytes(configuration: Configuration) {
    run_all(configuration, &whole_and_byte_by_byte(NON_UTF8));
}

fn whole_and_byte_by_byte(streams: &[&[u8]]) -> Vec<SplitStream> {
    let both =
        |stream| [SplitStream::new(stream, &[], LIMIT), SplitStream::byte_by_byte(stream, LIMIT)];
    streams.iter().copied().flat_map(both).collect()
}

fn run_all(configuration: Configuration, streams: &[SplitStream]) {
    let server = TestServer::start(configuration);
    send_and_check(&server, streams, || false);
    server.finish_with(Outcomes::responses(streams.len() as u64));
}

/// Random streams, mostly of bytes that occur in terminators, with and without a terminator, below
/// and above the limit of the head, in random pieces.
fn random_streams_and_splits(configuration: Configuration) {
    let count = if common::is_full() { 2000 } else { 500 };
    let mut random = seeded_random();
    let request_head_bytes = 100;
    let streams: Vec<_> = (0..count)
        .map(|_| {
            let alphabet = if random.bool() { &b"\n\rab\xff\0"[..] } else { b"\rabcdef\xc3" };
            let length = random.usize(1..150);
            let mut stream: Vec<u8> =
                (0..length).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
            if random.u8(..4) > 0 {
                stream.extend([&b"\n\n"[..], b"\n\r\n"][random.usize(..2)]);
            }
            if random.u8(..4) == 0 {
                stream.extend(b"trailing\n\n");
            }
            let splits = 0..random.usize(..10);
            let splits: Vec<_> = splits.map(|_| random.usize(..stream.len())).collect();
            SplitStream::new(&stream, &splits, request_head_bytes)
        })
        .collect();
    for response in [RESPONSE, HEAD_TOO_LARGE, b""] {
        let with_it = streams.iter().filter(|stream| stream.expected().bytes == response).count();
        assert!(with_it > count / 100, "only {with_it} streams get {}", response.escape_ascii());
    }
    let settings = Settings { request_head_bytes, ..Settings::default() };
    let server = TestServer::with_settings(configuration, &settings);
    send_and_check(&server, &streams, || random.u8(..4) == 0);
    server.finish();
}

/// Without SO_OOBINLINE, urgent data is not in the stream (tcp(7)).
fn urgent_byte_is_not_part_of_request(configuration: Configuration) {
    let server = TestServer::start(configuration);
    let mut alone = server.connect();
    alone.send_urgent(b'!');
    let mut within = server.connect_and_send(&REQUEST[..10]);
    within.send_urgent(b'\n');
    server.stay_idle();
    for (mut client, rest) in [(within, &REQUEST[10..]), (alone, REQUEST)] {
        client.send(rest);
        server.check("urgent", &client.read_to_end(), &ReceivedStream::with_fin(RESPONSE));
    }
    server.finish_with(Outcomes::responses(2));
}
