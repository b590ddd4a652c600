//! Keep-alive: responses come in the order of the requests for every split, and an invalid request
//! gets an error response that closes the connection.

use std::io::{ErrorKind, Write};

use crate::configuration::{Configuration, scenarios};
use crate::outcomes::Outcomes;
use crate::server::TestServer;
use crate::settings::Settings;
use common::{Client, EVENT_TIMEOUT, ReceivedStream};

scenarios![
    sequential_requests,
    pipelined_requests,
    pipelined_requests_split_at_every_byte,
    pipelined_requests_byte_by_byte,
    alternating_get_and_head,
    http_1_0_with_connection_keep_alive,
    last_allowed_request_gets_connection_close,
    half_close_after_pipelined_requests,
    half_close_between_requests,
    half_close_during_request,
    expect_100_continue,
    pipelined_large_responses,
    refused_requests,
    pipelined_request_is_refused_in_order,
    request_bodies_are_skipped_exactly,
    backpressure_stops_reading_requests,
];

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const CHUNKED: &str = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                       3;x\r\nabc\r\n1\r\nd\r\n0\r\nA: b\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn keep_alive_settings() -> Settings {
    Settings { keep_alive: true, ..Settings::default() }
}

/// Returns head and body of a response with an optional extra header `field`.
fn response(field: &str, body_bytes: usize) -> (String, String) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nDate: Mon, 1 Jan 1996 01:01:01 GMT\r\nContent-Type: text/plain\r\n\
         Content-Length: {body_bytes}\r\n{field}\r\n"
    );
    (head, "Hello, world!".chars().cycle().take(body_bytes).collect())
}

fn ok() -> String {
    let (head, body) = response("", 13);
    head + &body
}

fn ok_head() -> String {
    response("", 13).0
}

fn ok_close() -> String {
    let (head, body) = response("Connection: close\r\n", 13);
    head + &body
}

fn responses_and_fin(responses: &[String]) -> ReceivedStream {
    ReceivedStream::with_fin(responses.concat().as_bytes())
}

/// Sends `stream` on a new connection and checks the responses.
fn check_responses(server: &TestServer, case: &str, stream: &str, responses: &[String]) {
    let mut client = server.connect_and_send(stream.as_bytes());
    server.check(case, &client.read_to_end(), &responses_and_fin(responses));
}

fn sequential_requests(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &keep_alive_settings());
    let mut client = server.connect();
    for (request, expected) in
        [(GET, ok()), (HEAD, ok_head()), (POST, ok()), (CHUNKED, ok())].iter().cycle().take(40)
    {
        client.send(request.as_bytes());
        server.count_pieces(1);
        assert_eq!(
            String::from_utf8(client.read(expected.len())).unwrap(),
            *expected,
            "{configuration}"
        );
    }
    client.send(LAST.as_bytes());
    server.check("the last", &client.read_to_end(), &responses_and_fin(&[ok_close()]));
    drop(client);
    server.finish_with(Outcomes::responses(41));
}

fn pipelined_requests(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &keep_alive_settings());
    let mut sum = 0;
    for count in [1, 2, 16, 100, 1000] {
        let stream = GET.repeat(count) + LAST;
        check_responses(
            &server,
            &format!("{count} at once"),
            &stream,
            &[ok().repeat(count), ok_close()],
        );
        sum += count as u64 + 1;
    }
    server.finish_with(Outcomes::responses(sum));
}

fn pipelined_requests_split_at_every_byte(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &keep_alive_settings());
    let stream = [POST, HEAD, CHUNKED, LAST].concat();
    let expected = responses_and_fin(&[ok(), ok_head(), ok(), ok_close()]);
    for split in 1..stream.len() {
        let received = server.received_bytes();
        let mut client = server.connect_and_send(&stream.as_bytes()[..split]);
        server.wait_until_received(received + split);
        client.send(&stream.as_bytes()[split..]);
        server.count_pieces(1);
        server.check(&format!("split at {split}"), &client.read_to_end(), &expected);
    }
    server.finish_with(Outcomes::responses(4 * (stream.len() as u64 - 1)));
}

fn pipelined_requests_byte_by_byte(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &keep_alive_settings());
    let stream = [CHUNKED, GET, LAST].concat();
    let mut client = server.connect();
    for byte in stream.bytes() {
        client.send(&[byte]);
        server.count_pieces(1);
    }
    server.check(
        "byte by byte",
        &client.read_to_end(),
        &responses_and_fin(&[ok(), ok(), ok_close()]),
    );
    drop(client);
    server.finish_with(Outcomes::responses(3));
}

/// Alternates responses with and without a body. Above its limit of pipelined responses the server
/// may close the connection after a response with `Connection: close`, but never sends a wrong one.
fn alternating_get_and_head(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &keep_alive_settings());
    let stream = [GET, HEAD].concat().repeat(6) + LAST;
    let responses = [[ok(), ok_head()].concat().repeat(6), ok_close()];
    check_responses(&server, "six pairs", &stream, &responses);
    let mut client = server.connect_and_send([GET, HEAD].concat().repeat(30).as_bytes());
    // The server may have closed the connection by now.
    client.try_half_close();
    let got = client.read_to_end();
    let received = String::from_utf8(got.bytes).unwrap();
    let close = "Connection: close\r\n";
    let count = received.matches("HTTP/1.1 200 OK").count();
    assert!(count >= 15, "{configuration}: {count} responses");
    assert!(count == 60 || received.matches(close).count() == 1, "{configuration}: {received}");
    server.count_case();
    server.finish();
}

fn http_1_0_with_connection_keep_alive(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &keep_alive_settings());
    let (head, body) = response("Connection: keep-alive\r\n", 13);
    let stream = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".repeat(3)
        + "GET / HTTP/1.0\r\n\r\n"
        + GET;
    check_responses(&server, "HTTP/1.0", &stream, &[(head + &body).repeat(3), ok_close()]);
    server.finish_with(Outcomes::responses(4));
}

fn last_allowed_request_gets_connection_close(configuration: Configuration) {
    let settings = Settings { requests_per_connection: 3, ..keep_alive_settings() };
    let server = TestServer::with_settings(configuration, &settings);
    check_responses(
        &server,
        "ten requests, three responses",
        &GET.repeat(10),
        &[ok(), ok(), ok_close()],
    );
    server.finish_with(Outcomes::responses(3));
}

fn half_close_after_pipelined_requests(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &keep_alive_settings());
    for count in [1, 5, 200] {
        let mut client = server.connect_and_send(GET.repeat(count).as_bytes());
        client.half_close();
        let expected = responses_and_fin(&[ok().repeat(count)]);
        server.check(&format!("{count} at once"), &client.read_to_end(), &expected);
    }
    server.finish_with(Outcomes::responses(206));
}

fn half_close_between_requests(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &keep_alive_settings());
    let mut client = server.connect_and_send(GET.as_bytes());
    assert_eq!(String::from_utf8(client.read(ok().len())).unwrap(), ok());
    client.half_close();
    server.check("between", &client.read_to_end(), &ReceivedStream::with_fin(b""));
    server.finish_with(Outcomes::responses(1));
}

fn half_close_during_request(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &keep_alive_settings());
    for (case, stream) in
        [("head", [GET, "GET / H"].concat()), ("body", GET.to_owned() + &POST[..45])]
    {
        let mut client = server.connect_and_send(stream.as_bytes());
        client.half_close();
        server.check(case, &client.read_to_end(), &responses_and_fin(&[ok()]));
    }
    server.finish_with(Outcomes { premature_eof: 2, ..Outcomes::responses(2) });
}

fn expect_100_continue(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &keep_alive_settings());
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let mut client = server.connect();
    for _ in 0..3 {
        client.send(head.as_bytes());
        server.count_pieces(2);
        assert_eq!(client.read(CONTINUE.len()), CONTINUE.as_bytes(), "{configuration}");
        client.send(b"abc");
        assert_eq!(String::from_utf8(client.read(ok().len())).unwrap(), ok(), "{configuration}");
    }
    client.send(LAST.as_bytes());
    server.check("the last", &client.read_to_end(), &responses_and_fin(&[ok_close()]));
    drop(client);
    check_responses(
        &server,
        "without waiting",
        &[head, "abc", LAST].concat(),
        &[CONTINUE.to_owned(), ok(), ok_close()],
    );
    server.finish_with(Outcomes::responses(6));
}

fn pipelined_large_responses(configuration: Configuration) {
    for body_bytes in [200_000, 1 << 20] {
        let settings = Settings {
            response_body_bytes: body_bytes,
            send_buffer_bytes: Some(65_536),
            ..keep_alive_settings()
        };
        let server = TestServer::with_settings(configuration, &settings);
        let (head, body) = response("", body_bytes);
        let (last_head, _) = response("Connection: close\r\n", body_bytes);
        let responses = [head.clone() + &body, head.clone() + &body, head, last_head + &body];
        check_responses(&server, "large", &[GET, GET, HEAD, LAST].concat(), &responses);
        server.finish_with(Outcomes::responses(4));
    }
}

/// Invalid requests, with the status of the error response.
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

fn error_response(status: &str) -> String {
    let length = status.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{status}\n"
    )
}

fn refused_requests(configuration: Configuration) {
    let server = TestServer::with_settings(
        configuration,
        &Settings { request_body_bytes: 1000, ..keep_alive_settings() },
    );
    for (stream, status) in REFUSED {
        check_responses(&server, status, stream, &[error_response(status)]);
        check_responses(
            &server,
            status,
            &(GET.to_owned() + stream),
            &[ok(), error_response(status)],
        );
    }
    let count = REFUSED.len() as u64;
    server.finish_with(Outcomes {
        refused: 2 * count,
        responses: 3 * count,
        requests: count,
        ..Outcomes::default()
    });
}

fn pipelined_request_is_refused_in_order(configuration: Configuration) {
    let settings = Settings { request_head_bytes: 100, ..keep_alive_settings() };
    let server = TestServer::with_settings(configuration, &settings);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100));
    let status = "431 Request Header Fields Too Large";
    check_responses(
        &server,
        status,
        &(GET.repeat(3) + &long),
        &[ok().repeat(3), error_response(status)],
    );
    let head = "HEAD / HTTP/1.1\r\n\r\n";
    let refused = error_response("400 Bad Request");
    let refused = refused.split_inclusive("\r\n\r\n").next().unwrap().to_owned();
    check_responses(&server, "HEAD", head, &[refused]);
    server.finish_with(Outcomes {
        request_heads_too_large: 1,
        refused: 1,
        requests: 3,
        responses: 5,
        ..Outcomes::default()
    });
}

/// A request body that contains requests is not parsed as requests.
fn request_bodies_are_skipped_exactly(configuration: Configuration) {
    let server = TestServer::with_settings(configuration, &keep_alive_settings());
    let body = GET.repeat(300);
    let counted =
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let chunks = format!("{:x}\r\n{body}\r\n{:X}\r\n{body}\r\n0\r\n\r\n", body.len(), body.len());
    let chunked =
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let stream = [&counted, GET, &chunked, LAST].concat();
    check_responses(&server, "bodies", &stream, &[ok().repeat(3), ok_close()]);
    server.finish_with(Outcomes::responses(4));
}

/// The server stops reading when its responses fill the buffers of both sides; no request is lost.
fn backpressure_stops_reading_requests(configuration: Configuration) {
    let settings = Settings { send_buffer_bytes: Some(16_384), ..keep_alive_settings() };
    let server = TestServer::with_settings(configuration, &settings);
    let bytes = configuration.slow_receive_buffer_bytes(16_384);
    let mut client = Client::connect_with_receive_buffer(server.address, bytes);
    let block = GET.repeat(1000);
    client.stream.set_write_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
    let (mut written, max) = (0, 64 << 20);
    loop {
        match client.stream.write(&block.as_bytes()[written % GET.len()..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{configuration}: {error}"),
        }
        assert!(written < max, "{configuration}: the server reads without limit");
    }
    // The reader below lets the server continue.
    client.stream.set_write_timeout(Some(EVENT_TIMEOUT)).unwrap();
    let whole = written.div_ceil(GET.len());
    let rest = whole * GET.len() - written;
    let mut reader = client.stream.try_clone().unwrap();
    let responses = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
        bytes
    });
    client.send(&GET.as_bytes()[GET.len() - rest..]);
    client.send(LAST.as_bytes());
    server.count_pieces(written / 500);
    let bytes = responses.join().unwrap();
    assert!(bytes == [ok().repeat(whole), ok_close()].concat().as_bytes(), "{configuration}");
    server.count_case();
    drop(client);
    server.finish_with(Outcomes::responses(whole as u64 + 1));
}
