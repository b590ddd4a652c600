//! The HTTP server with routes: as a protocol without I/O, and on every engine.

use std::io::{Read, Write};

use ringpoll_backends::{Next, Output, Protocol};

use crate::{Example, variants};

#[path = "../../backends/examples/http.rs"]
#[allow(dead_code, reason = "its main function runs in the example itself")]
mod example;

/// Requests, and the status and the body of their responses, in which `N` is the number of requests
/// so far. The last request ends the connection.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "Hello, world!\n"),
    ("GET /count?x=/y HTTP/1.1\r\nhOST:\r\nContent-Length: 0\r\n\r\n", "200 OK", "N\n"),
    ("\r\nGET /other HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", "Not found\n"),
    ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "Hello, world!\n"),
    ("GET * HTTP/1.1\r\nHost: a\r\nConnection: x, closed\r\n\r\n", "404 Not Found", "Not found\n"),
    ("GET /count HTTP/1.1\nHost: a\n\n", "200 OK", "N\n"),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x,  Close\r\n\r\n", "200 OK", "Hello, world!\n"),
];

/// Other requests that end the connection.
const LAST_REQUESTS: &[(&str, &str, &str)] = &[
    ("GET /count HTTP/1.0\r\n\r\n", "200 OK", "N\n"),
    ("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "200 OK", "Hello, world!\n"),
    ("GET /a HTTP/1.0\r\n\r\n", "404 Not Found", "Not found\n"),
    ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request", ""),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 Bad Request", ""),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 Bad Request", ""),
    ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "400 Bad Request", ""),
    ("GET / HTTP/2.0\r\n\r\n", "400 Bad Request", ""),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n\n", "413 Content Too Large", ""),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "413 Content Too Large",
        "",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 4\r\n\r\nbody",
        "413 Content Too Large",
        "",
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", "501 Not Implemented", ""),
];

/// A request that does not end the connection.
const REQUEST: (&str, &str, &str) = REQUESTS[2];

/// Returns the responses, the last of which ends the connection if `is_end`. Adds to `count` the
/// requests that are not refused.
fn responses(requests: &[(&str, &str, &str)], is_end: bool, count: &mut usize) -> String {
    let mut all = String::new();
    for (index, (request, status, body)) in requests.iter().enumerate() {
        *count += usize::from(matches!(&status[..3], "200" | "404"));
        let is_last = is_end && index + 1 == requests.len();
        let connection = if is_last { "Connection: close\r\n" } else { "" };
        let body = if *body == "N\n" { format!("{count}\n") } else { (*body).to_owned() };
        let length = body.len();
        all += &format!(
            "HTTP/1.1 {status}\r\n{connection}Content-Type: text/plain\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        if !request.starts_with("HEAD") {
            all += &body;
        }
    }
    all
}

fn stream(requests: &[(&str, &str, &str)]) -> Vec<u8> {
    requests.iter().flat_map(|it| it.0.bytes()).collect()
}

/// Returns the responses of the protocol without I/O to a stream in pieces, until it ends the
/// connection.
fn run(pieces: &[&[u8]]) -> (String, Next) {
    let (mut site, mut output) = (example::Site::default(), Output::default());
    let (mut input, mut next) = (site.on_open(&mut output), Next::Recv);
    for piece in pieces.iter().filter(|it| !it.is_empty()) {
        if next == Next::Recv {
            next = site.on_recv(&mut input, piece, &mut output);
        }
    }
    (String::from_utf8(output.to_vec()).expect("text"), next)
}

/// Returns a request whose head has this length and number of fields.
fn head_of(bytes: usize, fields: usize) -> String {
    let fields = "a: b\r\n".repeat(fields - 2);
    let start = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}long: ");
    format!("{start}{:a<1$}\r\n\r\n", "", bytes - start.len() - 4)
}

#[test]
fn requests_may_be_split_anywhere() {
    let expected = (responses(REQUESTS, true, &mut 0), Next::Shutdown);
    let requests = stream(REQUESTS);
    for split in 0..requests.len() {
        let (first, second) = requests.split_at(split);
        assert_eq!(run(&[first, second]), expected, "{split}");
        let pieces: Vec<_> = requests.chunks(split + 1).collect();
        assert_eq!(run(&pieces), expected, "pieces of {}", split + 1);
    }
    for &last in LAST_REQUESTS {
        let requests = stream(&[REQUEST, last, REQUEST]);
        let expected = responses(&[REQUEST, last], true, &mut 0);
        for split in 0..requests.len() {
            let (first, second) = requests.split_at(split);
            assert_eq!(run(&[first, second]), (expected.clone(), Next::Shutdown), "{split}");
        }
    }
}

#[test]
fn head_limits_do_not_depend_on_splits() {
    const LIMIT: usize = 8 * 1024;
    let too_large = "431 Request Header Fields Too Large";
    for (bytes, fields, status, body) in [
        (LIMIT, 2, "200 OK", "Hello, world!\n"),
        (LIMIT, 64, "200 OK", "Hello, world!\n"),
        (LIMIT + 1, 2, too_large, ""),
        (LIMIT + 2, 2, too_large, ""),
        (LIMIT / 2, 65, too_large, ""),
        (2 * LIMIT, 2, too_large, ""),
    ] {
        let head = head_of(bytes, fields);
        assert_eq!(head.len(), bytes);
        let requests = [REQUEST, (&head, status, body), LAST_REQUESTS[0]];
        let count = if status == too_large { 2 } else { 3 };
        let expected = responses(&requests[..count], true, &mut 0);
        let requests = stream(&requests);
        let near_the_limit = REQUEST.0.len() + LIMIT - 10..REQUEST.0.len() + LIMIT + 10;
        for split in (0..requests.len()).step_by(500).chain(near_the_limit) {
            let (first, second) = requests.split_at(split.min(requests.len()));
            let received = run(&[first, second]);
            assert_eq!(received, (expected.clone(), Next::Shutdown), "{bytes}, {fields}: {split}");
        }
    }
    // The limit is that of one head, not of a piece.
    let many = [REQUEST; 1000];
    assert_eq!(run(&[&stream(&many)]), (responses(&many, false, &mut 0), Next::Recv));
    // Empty lines before a request belong to its head.
    let refusal = responses(&[("", too_large, "")], true, &mut 0);
    assert_eq!(run(&[&b"\r\n".repeat(LIMIT / 2)]), (refusal, Next::Shutdown));
    assert_eq!(run(&[&b"\r\n".repeat(LIMIT / 2 - 1)]), (String::new(), Next::Recv));
}

#[test]
fn http_responds_on_every_engine_however_requests_are_split() {
    let (requests, head) = (stream(REQUESTS), head_of(8 * 1024 + 1, 2));
    for variant in variants("http_responds_on_every_engine_however_requests_are_split") {
        let (server, mut count) = (Example::start("http", variant), 0);
        let exchange = |pieces: &[&[u8]]| String::from_utf8(server.exchange(pieces)).expect("text");
        for split in 0..requests.len() {
            let (first, second) = requests.split_at(split);
            let expected = responses(REQUESTS, true, &mut count);
            assert_eq!(exchange(&[first, second]), expected, "{variant}: {split}");
        }
        let too_large = (&*head, "431 Request Header Fields Too Large", "");
        for &last in LAST_REQUESTS.iter().chain([&too_large]) {
            let expected = responses(&[REQUEST, last], true, &mut count);
            let received = exchange(&[&stream(&[REQUEST, last, REQUEST])]);
            assert_eq!(received, expected, "{variant}: {last:?}");
        }
    }
}

#[test]
fn http_drops_a_request_that_the_end_of_the_stream_cuts() {
    // Without the last request, which ends the connection.
    let all = &REQUESTS[..REQUESTS.len() - 1];
    for variant in variants("http_drops_a_request_that_the_end_of_the_stream_cuts") {
        let (server, mut count) = (Example::start("http", variant), 0);
        for end in 0..=stream(all).len() {
            let complete = (0..=all.len()).rfind(|&it| stream(&all[..it]).len() <= end);
            let complete = &all[..complete.expect("an empty stream")];
            let received = server.exchange(&[&stream(all)[..end]]);
            let expected = responses(complete, false, &mut count);
            assert_eq!(String::from_utf8_lossy(&received), expected, "{variant}: {end}");
        }
    }
}

#[test]
fn http_ends_its_stream_first() {
    for variant in variants("http_ends_its_stream_first") {
        let (server, mut count) = (Example::start("http", variant), 0);
        for requests in [&REQUESTS[REQUESTS.len() - 1..], &LAST_REQUESTS[..1], &LAST_REQUESTS[3..4]]
        {
            let (mut connection, mut received) = (server.connect(), String::new());
            connection.write_all(&stream(requests)).expect("a socket");
            connection.read_to_string(&mut received).expect("an end of the stream");
            assert_eq!(received, responses(requests, true, &mut count), "{variant}");
        }
        // Any other connection stays open.
        let mut connection = server.connect();
        for _ in 0..3 {
            connection.write_all(REQUEST.0.as_bytes()).expect("a socket");
            let expected = responses(&[REQUEST], false, &mut count);
            let mut received = vec![0; expected.len()];
            connection.read_exact(&mut received).expect("a response");
            assert_eq!(String::from_utf8_lossy(&received), expected, "{variant}");
        }
    }
}
