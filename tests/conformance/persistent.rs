//! Connections that persist: each request is answered in its turn, whatever the cuts, and what is
//! not a request ends the connection with a word about why.

use std::io::{ErrorKind, Write};

use crate::accounts::Accounts;
use crate::arm::{Arm, scenarios};
use crate::common::{Client, Exchange, PATIENCE};
use crate::server::Server;
use crate::settings::Settings;

scenarios![
    one_after_the_other,
    pipelined,
    pipelined_and_cut_at_every_byte,
    byte_by_byte,
    kinds_in_turns,
    http_1_0_persists_if_it_is_told,
    the_last_of_so_many_says_so,
    half_close_behind_pipelined_requests,
    half_close_between_requests,
    half_close_in_the_middle_of_a_request,
    who_waits_to_go_on_is_told,
    large_bodies_one_behind_the_other,
    refusals,
    refused_behind_others,
    bodies_are_skipped_to_the_byte,
    who_asks_and_does_not_read_is_not_heard_without_end,
];

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const CHUNKED: &str = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                       3;x\r\nabc\r\n1\r\nd\r\n0\r\nA: b\r\n\r\n";
const GOES_ON: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn persistent() -> Settings {
    Settings { keep_alive: true, ..Settings::default() }
}

/// An answer with this field, if it is one, and a body of so many bytes.
fn answer(field: &str, body_bytes: usize) -> (String, String) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nDate: Mon, 1 Jan 1996 01:01:01 GMT\r\nContent-Type: text/plain\r\n\
         Content-Length: {body_bytes}\r\n{field}\r\n"
    );
    (head, "Hello, world!".chars().cycle().take(body_bytes).collect())
}

fn ok() -> String {
    let (head, body) = answer("", 13);
    head + &body
}

fn ok_head() -> String {
    answer("", 13).0
}

fn ok_last() -> String {
    let (head, body) = answer("Connection: close\r\n", 13);
    head + &body
}

fn finished(answers: &[String]) -> Exchange {
    Exchange::finished(answers.concat().as_bytes())
}

/// One connection that says all of this at once.
fn says(server: &Server, case: &str, stream: &str, answers: &[String]) {
    let mut client = server.connect_and_send(stream.as_bytes());
    server.check(case, &client.read_to_end(), &finished(answers));
}

fn one_after_the_other(arm: Arm) {
    let server = Server::with_settings(arm, &persistent());
    let mut client = server.connect();
    for (request, expected) in
        [(GET, ok()), (HEAD, ok_head()), (POST, ok()), (CHUNKED, ok())].iter().cycle().take(40)
    {
        client.send(request.as_bytes());
        server.count_pieces(1);
        assert_eq!(String::from_utf8(client.read(expected.len())).unwrap(), *expected, "{arm}");
    }
    client.send(LAST.as_bytes());
    server.check("the last", &client.read_to_end(), &finished(&[ok_last()]));
    drop(client);
    server.finish_with(Accounts::answered(41));
}

fn pipelined(arm: Arm) {
    let server = Server::with_settings(arm, &persistent());
    let mut sum = 0;
    for count in [1, 2, 16, 100, 1000] {
        let stream = GET.repeat(count) + LAST;
        says(&server, &format!("{count} at once"), &stream, &[ok().repeat(count), ok_last()]);
        sum += count as u64 + 1;
    }
    server.finish_with(Accounts::answered(sum));
}

fn pipelined_and_cut_at_every_byte(arm: Arm) {
    let server = Server::with_settings(arm, &persistent());
    let stream = [POST, HEAD, CHUNKED, LAST].concat();
    let expected = finished(&[ok(), ok_head(), ok(), ok_last()]);
    for cut in 1..stream.len() {
        let received = server.received_bytes();
        let mut client = server.connect_and_send(&stream.as_bytes()[..cut]);
        server.settle(received + cut);
        client.send(&stream.as_bytes()[cut..]);
        server.count_pieces(1);
        server.check(&format!("cut at {cut}"), &client.read_to_end(), &expected);
    }
    server.finish_with(Accounts::answered(4 * (stream.len() as u64 - 1)));
}

fn byte_by_byte(arm: Arm) {
    let server = Server::with_settings(arm, &persistent());
    let stream = [CHUNKED, GET, LAST].concat();
    let mut client = server.connect();
    for byte in stream.bytes() {
        client.send(&[byte]);
        server.count_pieces(1);
    }
    server.check("byte by byte", &client.read_to_end(), &finished(&[ok(), ok(), ok_last()]));
    drop(client);
    server.finish_with(Accounts::answered(3));
}

/// Answers with a body and without, in turns. Beyond some turns at once a peer may be told to come
/// again, with an answer that says so; it gets no wrong one.
fn kinds_in_turns(arm: Arm) {
    let server = Server::with_settings(arm, &persistent());
    let stream = [GET, HEAD].concat().repeat(6) + LAST;
    let answers = [[ok(), ok_head()].concat().repeat(6), ok_last()];
    says(&server, "six turns", &stream, &answers);
    let mut client = server.connect_and_send([GET, HEAD].concat().repeat(30).as_bytes());
    // Whoever was told to come again may have been closed by now, with requests unread.
    client.half_close_if_open();
    let got = client.read_to_end();
    let told = String::from_utf8(got.bytes).unwrap();
    let close = "Connection: close\r\n";
    let answered = told.matches("HTTP/1.1 200 OK").count();
    assert!(answered >= 15, "{arm}: {answered} answers");
    assert!(answered == 60 || told.matches(close).count() == 1, "{arm}: {told}");
    server.count_case();
    server.finish();
}

fn http_1_0_persists_if_it_is_told(arm: Arm) {
    let server = Server::with_settings(arm, &persistent());
    let (head, body) = answer("Connection: keep-alive\r\n", 13);
    let stream = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".repeat(3)
        + "GET / HTTP/1.0\r\n\r\n"
        + GET;
    says(&server, "HTTP/1.0", &stream, &[(head + &body).repeat(3), ok_last()]);
    server.finish_with(Accounts::answered(4));
}

fn the_last_of_so_many_says_so(arm: Arm) {
    let settings = Settings { requests_per_connection: 3, ..persistent() };
    let server = Server::with_settings(arm, &settings);
    says(&server, "ten, and three are answered", &GET.repeat(10), &[ok(), ok(), ok_last()]);
    server.finish_with(Accounts::answered(3));
}

fn half_close_behind_pipelined_requests(arm: Arm) {
    let server = Server::with_settings(arm, &persistent());
    for count in [1, 5, 200] {
        let mut client = server.connect_and_send(GET.repeat(count).as_bytes());
        client.half_close();
        let expected = finished(&[ok().repeat(count)]);
        server.check(&format!("{count} at once"), &client.read_to_end(), &expected);
    }
    server.finish_with(Accounts::answered(206));
}

fn half_close_between_requests(arm: Arm) {
    let server = Server::with_settings(arm, &persistent());
    let mut client = server.connect_and_send(GET.as_bytes());
    assert_eq!(String::from_utf8(client.read(ok().len())).unwrap(), ok());
    client.half_close();
    server.check("between", &client.read_to_end(), &Exchange::finished(b""));
    server.finish_with(Accounts::answered(1));
}

fn half_close_in_the_middle_of_a_request(arm: Arm) {
    let server = Server::with_settings(arm, &persistent());
    for (case, stream) in
        [("head", [GET, "GET / H"].concat()), ("body", GET.to_owned() + &POST[..45])]
    {
        let mut client = server.connect_and_send(stream.as_bytes());
        client.half_close();
        server.check(case, &client.read_to_end(), &finished(&[ok()]));
    }
    server.finish_with(Accounts { ended_early: 2, ..Accounts::answered(2) });
}

fn who_waits_to_go_on_is_told(arm: Arm) {
    let server = Server::with_settings(arm, &persistent());
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let mut client = server.connect();
    for _ in 0..3 {
        client.send(head.as_bytes());
        server.count_pieces(2);
        assert_eq!(client.read(GOES_ON.len()), GOES_ON.as_bytes(), "{arm}");
        client.send(b"abc");
        assert_eq!(String::from_utf8(client.read(ok().len())).unwrap(), ok(), "{arm}");
    }
    client.send(LAST.as_bytes());
    server.check("the last", &client.read_to_end(), &finished(&[ok_last()]));
    drop(client);
    says(
        &server,
        "it does not wait",
        &[head, "abc", LAST].concat(),
        &[GOES_ON.to_owned(), ok(), ok_last()],
    );
    server.finish_with(Accounts::answered(6));
}

fn large_bodies_one_behind_the_other(arm: Arm) {
    for body_bytes in [200_000, 1 << 20] {
        let settings = Settings {
            response_body_bytes: body_bytes,
            send_buffer_bytes: Some(65_536),
            ..persistent()
        };
        let server = Server::with_settings(arm, &settings);
        let (head, body) = answer("", body_bytes);
        let (last_head, _) = answer("Connection: close\r\n", body_bytes);
        let answers = [head.clone() + &body, head.clone() + &body, head, last_head + &body];
        says(&server, "large", &[GET, GET, HEAD, LAST].concat(), &answers);
        server.finish_with(Accounts::answered(4));
    }
}

/// What is refused, and how.
const REFUSED: &[(&str, &str)] = &[
    ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 Bad Request"),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 Bad Request"),
    ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "400 Bad Request"),
    ("GET / HTTP/1.1\r\nHost: a\r\nA: b\rC: d\r\n\r\n", "400 Bad Request"),
    (
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "400 Bad Request",
    ),
    (
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "400 Bad Request",
    ),
    ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "400 Bad Request"),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 HTTP Version Not Supported"),
    ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", "501 Not Implemented"),
    (
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "501 Not Implemented",
    ),
    ("PUT / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", "417 Expectation Failed"),
    ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", "413 Content Too Large"),
    (
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n",
        "413 Content Too Large",
    ),
];

fn refusal(status: &str) -> String {
    let length = status.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{status}\n"
    )
}

fn refusals(arm: Arm) {
    let server = Server::with_settings(arm, &Settings { request_body_bytes: 1000, ..persistent() });
    for (stream, status) in REFUSED {
        says(&server, status, stream, &[refusal(status)]);
        says(&server, status, &(GET.to_owned() + stream), &[ok(), refusal(status)]);
    }
    let count = REFUSED.len() as u64;
    server.finish_with(Accounts {
        refused: 2 * count,
        answered: 3 * count,
        requests: count,
        ..Accounts::default()
    });
}

fn refused_behind_others(arm: Arm) {
    let settings = Settings { request_head_bytes: 100, ..persistent() };
    let server = Server::with_settings(arm, &settings);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100));
    let status = "431 Request Header Fields Too Large";
    says(&server, status, &(GET.repeat(3) + &long), &[ok().repeat(3), refusal(status)]);
    let head = "HEAD / HTTP/1.1\r\n\r\n";
    let refused = refusal("400 Bad Request");
    let refused = refused.split_inclusive("\r\n\r\n").next().unwrap().to_owned();
    says(&server, "HEAD", head, &[refused]);
    server.finish_with(Accounts {
        heads_too_large: 1,
        refused: 1,
        requests: 3,
        answered: 5,
        ..Accounts::default()
    });
}

/// A body that looks like requests is none.
fn bodies_are_skipped_to_the_byte(arm: Arm) {
    let server = Server::with_settings(arm, &persistent());
    let body = GET.repeat(300);
    let counted =
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let chunks = format!("{:x}\r\n{body}\r\n{:X}\r\n{body}\r\n0\r\n\r\n", body.len(), body.len());
    let chunked =
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let stream = [&counted, GET, &chunked, LAST].concat();
    says(&server, "bodies", &stream, &[ok().repeat(3), ok_last()]);
    server.finish_with(Accounts::answered(4));
}

/// The buffers between the two are full at some time: then the server does not read any more. And
/// nothing is lost by it.
fn who_asks_and_does_not_read_is_not_heard_without_end(arm: Arm) {
    let settings = Settings { send_buffer_bytes: Some(16_384), ..persistent() };
    let server = Server::with_settings(arm, &settings);
    let bytes = arm.receive_buffer_bytes(16_384);
    let mut client = Client::connect_with_receive_buffer(server.address, bytes);
    let block = GET.repeat(1000);
    client.stream.set_write_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
    let (mut written, most) = (0, 64 << 20);
    loop {
        match client.stream.write(&block.as_bytes()[written % GET.len()..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{arm}: {error}"),
        }
        assert!(written < most, "{arm}: it is heard without end");
    }
    // From here on the server may take its time.
    client.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let whole = written.div_ceil(GET.len());
    let rest = whole * GET.len() - written;
    let mut reader = client.stream.try_clone().unwrap();
    let answers = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
        bytes
    });
    client.send(&GET.as_bytes()[GET.len() - rest..]);
    client.send(LAST.as_bytes());
    server.count_pieces(written / 500);
    let bytes = answers.join().unwrap();
    assert!(bytes == [ok().repeat(whole), ok_last()].concat().as_bytes(), "{arm}");
    server.count_case();
    drop(client);
    server.finish_with(Accounts::answered(whole as u64 + 1));
}
