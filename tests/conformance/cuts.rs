//! However a request is cut up on its way, it is the same request.

use crate::accounts::Accounts;
use crate::arm::{Arm, scenarios};
use crate::common::{Exchange, HEAD_TOO_LARGE, REQUEST, RESPONSE};
use crate::pieces::{Plan, chance, run};
use crate::server::Server;
use crate::settings::Settings;

scenarios![
    whole_request,
    cut_in_one_place,
    cut_in_two_places,
    byte_by_byte,
    thousands_of_random_cuts,
    ends_of_a_request,
    bytes_that_are_not_utf8,
    urgent_byte_beside_the_request,
];

const LIMIT: usize = 8192;

/// Requests that are whole without the last byte or the last two of them, or that look so.
const ENDS: &[&[u8]] =
    &[b"\n\n", b"\n\r\n", b"\r\n\r\n", b"x\n\n", b"\r\n\n", b"\r\r\n\r\r\n\r\n", b"a\n\rb\n\n"];

/// Truncated, overlong, surrogate, beyond the last, bytes that no text has, and zeros.
const NOT_UTF8: &[&[u8]] = &[
    b"GET /\xc3 HTTP/1.0\r\n\r\n",
    b"GET /\xc0\xaf HTTP/1.0\r\n\r\n",
    b"GET /\xed\xa0\x80 HTTP/1.0\r\n\r\n",
    b"GET /\xf4\x90\x80\x80 HTTP/1.0\r\n\r\n",
    b"\xff\xfe\xfd\n\n",
    b"\0\0\0\n\r\n",
];

fn whole_request(arm: Arm) {
    let server = Server::start(arm);
    for _ in 0..10 {
        let answer = server.connect_and_send(REQUEST).read_to_end();
        server.check("whole", &answer, &Exchange::finished(RESPONSE));
    }
    server.finish_with(Accounts::answered(10));
}

fn cut_in_one_place(arm: Arm) {
    let plans: Vec<_> = (1..REQUEST.len()).map(|cut| Plan::new(REQUEST, &[cut], LIMIT)).collect();
    run_all(arm, &plans);
}

fn cut_in_two_places(arm: Arm) {
    let places = 1..REQUEST.len();
    let plans: Vec<_> = places
        .clone()
        .flat_map(|first| (first + 1..REQUEST.len()).map(move |second| [first, second]))
        .map(|cuts| Plan::new(REQUEST, &cuts, LIMIT))
        .collect();
    assert_eq!(plans.len(), 26 * 25 / 2);
    run_all(arm, &plans);
}

fn byte_by_byte(arm: Arm) {
    run_all(arm, &vec![Plan::byte_by_byte(REQUEST, LIMIT); 16]);
}

fn ends_of_a_request(arm: Arm) {
    run_all(arm, &whole_and_in_bytes(ENDS));
}

fn bytes_that_are_not_utf8(arm: Arm) {
    run_all(arm, &whole_and_in_bytes(NOT_UTF8));
}

fn whole_and_in_bytes(streams: &[&[u8]]) -> Vec<Plan> {
    let both = |stream| [Plan::new(stream, &[], LIMIT), Plan::byte_by_byte(stream, LIMIT)];
    streams.iter().copied().flat_map(both).collect()
}

fn run_all(arm: Arm, plans: &[Plan]) {
    let server = Server::start(arm);
    run(&server, plans, || false);
    server.finish_with(Accounts::answered(plans.len() as u64));
}

/// Streams of whatever bytes, mostly those that an end is made of, with or without an end, within
/// the limit and beyond it, in few or many pieces, with pauses between most of them.
fn thousands_of_random_cuts(arm: Arm) {
    const STREAMS: usize = 2000;
    let mut random = chance();
    let request_head_bytes = 100;
    let plans: Vec<_> = (0..STREAMS)
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
            let most = random.usize(..10);
            let cuts: Vec<_> = (0..most).map(|_| random.usize(..stream.len())).collect();
            Plan::new(&stream, &cuts, request_head_bytes)
        })
        .collect();
    for answer in [RESPONSE, HEAD_TOO_LARGE, b""] {
        let count = plans.iter().filter(|plan| plan.expected().bytes == answer).count();
        assert!(count > STREAMS / 100, "only {count} streams end so: {}", answer.escape_ascii());
    }
    let settings = Settings { request_head_bytes, ..Settings::default() };
    let server = Server::with_settings(arm, &settings);
    run(&server, &plans, || random.u8(..4) == 0);
    server.finish();
}

/// Urgent data stands beside the stream: the request is what is left, and alone it is nothing.
fn urgent_byte_beside_the_request(arm: Arm) {
    let server = Server::start(arm);
    let mut alone = server.connect();
    alone.send_urgent(b'!');
    let mut within = server.connect_and_send(&REQUEST[..10]);
    within.send_urgent(b'\n');
    server.stays_quiet();
    for (mut client, rest) in [(within, &REQUEST[10..]), (alone, REQUEST)] {
        client.send(rest);
        server.check("urgent", &client.read_to_end(), &Exchange::finished(RESPONSE));
    }
    server.finish_with(Accounts::answered(2));
}
