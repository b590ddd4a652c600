//! The shapes of responses that servers send, under each load: a correct one completes every
//! request, and a wrong one ends in a message that names what was received and what to try.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringpoll::load::{
    CloseBy, Closer, Control, FailureKind, Lifetime, LoadError, Outcome, Plan, Request, Verify, run,
};

use crate::peer::{Peer, plan, reference};
use crate::persistent::serve_each_request;

const REQUESTS: u64 = 24;

/// The requests before the load.
const LEARNING_REQUESTS: u64 = 3;

/// The end of a connection after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closes,
    StaysOpen,
}

/// The loads under which a shape is correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loads {
    All,
    /// The response ends with its connection.
    Churn,
}

use End::{Closes, StaysOpen};
use Loads::{All, Churn};

/// Correct responses: name, response, end, loads, and a part of the warnings. A response is written
/// as [`bytes`] reads it.
const CORRECT: &[(&str, &str, End, Loads, &str)] = &[
    ("Content-Length", "200 OK|CL: 5||hello", StaysOpen, All, ""),
    ("its name in lower case", "200 OK|content-length:5||hello", StaysOpen, All, ""),
    ("no body", "200 OK|CL: 0||", StaysOpen, All, ""),
    ("close", "200 OK|Connection: close|CL: 5||hello", Closes, All, ""),
    ("close in a list", "200 OK|Connection: a, Close|CL: 5||hello", Closes, All, ""),
    ("1.0", "HTTP/1.0 200 OK|CL: 5||hello", Closes, All, ""),
    (
        "1.0 with keep-alive",
        "HTTP/1.0 200 OK|Connection: Keep-Alive|CL: 5||hello",
        StaysOpen,
        All,
        "",
    ),
    ("until close", "200 OK||hello", Closes, Churn, ""),
    ("until close in 1.0", "HTTP/1.0 200 OK|Server: a||hello", Closes, Churn, ""),
    ("until close with no body", "200 OK||", Closes, Churn, ""),
    ("a last coding that is not chunked", "200 OK|TE: gzip||hello", Closes, Churn, ""),
    ("chunked", "200 OK|TE: chunked||5|hello|0||", StaysOpen, All, ""),
    ("Chunked", "200 OK|TE: Chunked||5|hello|0||", StaysOpen, All, ""),
    ("chunks", "200 OK|TE: chunked||2|he|3|llo|0||", StaysOpen, All, ""),
    (
        "sizes in hexadecimal",
        "200 OK|TE: chunked||00B|hello world|a|0123456789|000||",
        StaysOpen,
        All,
        "",
    ),
    ("extensions", "200 OK|TE: chunked||5;a=b;c=\"d\"|hello|0;e||", StaysOpen, All, ""),
    ("trailers", "200 OK|TE: chunked||5|hello|0|A: b|C: d||", StaysOpen, All, ""),
    ("no chunk but the last", "200 OK|TE: chunked||0||", StaysOpen, All, ""),
    ("two codings", "200 OK|TE: gzip, chunked||5|hello|0||", StaysOpen, All, ""),
    ("chunked and close", "200 OK|TE: chunked|Connection: close||5|hello|0||", Closes, All, ""),
    (
        "chunked with a length",
        "200 OK|CL: 9|TE: chunked||5|hello|0||",
        StaysOpen,
        All,
        "which overrides it",
    ),
    ("204", "204 No Content||", StaysOpen, All, ""),
    ("204 with a length", "204 No Content|CL: 5||", StaysOpen, All, "a status that has no body"),
    ("204 in 1.0", "HTTP/1.0 204 No Content||", Closes, All, ""),
    ("304", "304 Not Modified|ETag: \"a\"||", StaysOpen, All, "not a success"),
    ("304 with a length", "304 Not Modified|CL: 5||", StaysOpen, All, "a status that has no body"),
    ("404", "404 Not Found|CL: 2||no", StaysOpen, All, "not a success"),
    ("500", "500 Error|CL: 2|Connection: close||no", Closes, All, "not a success"),
    ("100", "100 Continue||HTTP/1.1 200 OK|CL: 5||hello", StaysOpen, All, "1 interim response"),
    (
        "103",
        "103 Early Hints|Link: </a>||HTTP/1.1 200 OK|CL: 5||hello",
        StaysOpen,
        All,
        "1 interim response",
    ),
    (
        "102 and 103",
        "102 Processing||HTTP/1.1 103 Early Hints||HTTP/1.1 204 No Content||",
        StaysOpen,
        All,
        "2 interim responses",
    ),
    ("equal lengths", "200 OK|CL: 5|CL: 5||hello", StaysOpen, All, "more than once"),
    ("a list of equal lengths", "200 OK|CL: 5, 5||hello", StaysOpen, All, "more than once"),
    ("bare LF", "200 OK\nCL: 5\n\nhello", StaysOpen, All, "LF instead of CRLF"),
    (
        "bare LF in chunks",
        "200 OK|TE: chunked||5\nhello\n0\n\n",
        StaysOpen,
        All,
        "LF instead of CRLF",
    ),
    ("no reason", "200 |CL: 5||hello", StaysOpen, All, ""),
    ("no space before no reason", "200|CL: 5||hello", StaysOpen, All, ""),
    ("an empty value", "200 OK|Server:|CL: 5||hello", StaysOpen, All, ""),
    ("spaces around values", "200 OK|Server:  a\t |CL: \t5  ||hello", StaysOpen, All, ""),
    ("a value in UTF-8", "200 OK|Server: é|CL: 5||hello", StaysOpen, All, ""),
    ("a value in two lines", "200 OK|Server: a|  b|CL: 5||hello", StaysOpen, All, ""),
    ("a body with an empty line", "200 OK|CL: 8||||HTTP", StaysOpen, All, ""),
    ("announced close that does not happen", "HTTP/1.0 200 OK|CL: 5||hello", StaysOpen, Churn, ""),
    ("close without an announcement", "200 OK|CL: 5||hello", Closes, Churn, ""),
];

/// Wrong responses, after which the connection ends: name, response, and parts of the message.
const WRONG: &[(&str, &str, &[&str])] = &[
    ("nothing", "", &["closed the connection without a response", "without TLS?"]),
    ("other text", "hello", &["not HTTP/1.1", "--load rr", "Received: `hello`"]),
    ("an SSH server", "SSH-2.0-OpenSSH_9.2|", &["not HTTP/1.1", "SSH-2.0-OpenSSH"]),
    ("a TLS alert", "\u{15}\u{3}\u{1}\0\u{2}\u{2}P", &["without TLS", "`\\x15\\x03\\x01"]),
    ("an empty line first", "|HTTP/1.1 200 OK||", &["not HTTP/1.1", "`\\r\\n"]),
    (
        "a status that is no number",
        "HTTP/1.1 abc OK||",
        &["invalid response status", "`HTTP/1.1 abc"],
    ),
    ("another version", "HTTP/3.0 200 OK||", &["invalid HTTP version", "`HTTP/3.0"]),
    ("a field without a colon", "200 OK|hello||", &["invalid header name", "curl -v"]),
    ("a NUL", "200 OK|A: \0||", &["invalid header value"]),
    ("half a head", "200 OK|Server: a|", &["its head has no end", "Server: a"]),
    ("only an interim response", "100 Continue||", &["its head has no end", "100 Continue"]),
    ("101", "101 Switching Protocols||", &["status 101", "--header"]),
    (
        "conflicting lengths",
        "200 OK|CL: 5|CL: 6||hello",
        &["two values of Content-Length, 5 and 6", "must send one"],
    ),
    (
        "a list of conflicting lengths",
        "200 OK|CL: 5, 5, 4||hello",
        &["two values of Content-Length, 5 and 4"],
    ),
    ("a length that is no number", "200 OK|CL: five||hello", &["not a number of bytes", "five"]),
    ("a negative length", "200 OK|CL: -5||hello", &["not a number of bytes"]),
    ("a length with a sign", "200 OK|CL: +5||hello", &["not a number of bytes"]),
    ("a length of 65 bits", "200 OK|CL: 18446744073709551616||", &["not a number of bytes"]),
    ("an empty length", "200 OK|Content-Length:||", &["not a number of bytes"]),
    (
        "a body that is too short",
        "200 OK|CL: 5||hell",
        &["Content-Length is 5 bytes, but 4 were received", "curl -v"],
    ),
    (
        "a body that is too long",
        "200 OK|CL: 5||hello!!",
        &["2 bytes follow", "Content-Length is 5 bytes"],
    ),
    ("a body after 204", "204 No Content||hello", &["5 bytes follow", "status of 204 has no body"]),
    (
        "a chunk size that is no number",
        "200 OK|TE: chunked||xyz|hello|",
        &["not a hexadecimal number", "curl --raw"],
    ),
    ("no chunk size", "200 OK|TE: chunked|||hello|", &["not a hexadecimal number"]),
    (
        "a chunk size of 17 digits",
        "200 OK|TE: chunked||10000000000000000|",
        &["not a hexadecimal number"],
    ),
    ("a chunk that is too long", "200 OK|TE: chunked||5|hello!|0||", &["longer than its size"]),
    ("no last chunk", "200 OK|TE: chunked||5|hello|", &["the last chunk is missing"]),
    ("a body that is not chunked", "200 OK|TE: chunked||hello", &["the last chunk is missing"]),
    ("a trailer without a colon", "200 OK|TE: chunked||0|A||", &["not a header field"]),
    (
        "bytes after the last chunk",
        "200 OK|TE: chunked||0||0||",
        &["5 bytes follow", "after the last chunk"],
    ),
];

/// Reads a response of the tables: without `HTTP/1.1 ` before its status, with `|` for CRLF, and
/// with short names of the fields of framing.
fn bytes(response: &str) -> Vec<u8> {
    let version =
        if response.starts_with(|it: char| it.is_ascii_digit()) { "HTTP/1.1 " } else { "" };
    let response = response.replace('|', "\r\n").replace("CL:", "Content-Length:");
    (version.to_owned() + &response.replace("TE:", "Transfer-Encoding:")).into_bytes()
}

pub(crate) const KEEP_ALIVE: Lifetime = Lifetime::Persistent { depth: 1 };
pub(crate) const LIFETIMES: [Lifetime; 4] = [
    KEEP_ALIVE,
    Lifetime::Persistent { depth: 4 },
    Lifetime::Mixed { seed: 1 },
    Lifetime::OneRequest,
];

/// Starts a server whose response depends on the number of the request, and is sent whole or in
/// single bytes.
fn serve(
    response: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
    end: End,
    in_single_bytes: bool,
) -> Peer {
    let number = AtomicU64::new(0);
    serve_each_request(move |_, _, stream: &mut TcpStream| {
        let response = response(number.fetch_add(1, Ordering::Relaxed));
        let piece = if in_single_bytes { 1 } else { response.len().max(1) };
        // The client may have closed the connection.
        response.chunks(piece).all(|piece| stream.write_all(piece).is_ok()) && end == StaysOpen
    })
}

fn plan_of(peer: &Peer, lifetime: Lifetime) -> Plan {
    let request = match lifetime {
        Lifetime::OneRequest => Request::get("/", "a", &[]),
        Lifetime::Persistent { .. } | Lifetime::Mixed { .. } => {
            Request::get_persistent("/", "a", &[])
        }
    };
    let request = request.expect("a valid request");
    Plan { request, lifetime, verify: Verify::Auto, ..plan(peer.address, REQUESTS) }
}

fn run_clean(name: &str, plan: &Plan) -> Outcome {
    let outcome = run(plan, &Control::new()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let failures = &outcome.failures;
    assert!(outcome.is_clean(), "{name}, {:?}: {failures:?}", plan.lifetime);
    assert_eq!(outcome.completed, REQUESTS, "{name}");
    outcome
}

#[test]
fn correct_responses_complete_every_request() {
    for &(name, response, end, loads, warning) in CORRECT {
        for in_single_bytes in [false, true] {
            let expected = bytes(response);
            let served = expected.clone();
            let peer = serve(move |_| served.clone(), end, in_single_bytes);
            let lifetimes = if loads == All { &LIFETIMES[..] } else { &LIFETIMES[3..] };
            for &lifetime in lifetimes {
                let plan = plan_of(&peer, lifetime);
                let outcome = run_clean(name, &plan);
                let interim = String::from_utf8_lossy(&expected).matches("HTTP/1.1 10").count();
                assert_eq!(outcome.interim_responses, interim as u64 * REQUESTS, "{name}");
                assert_eq!(reference(&outcome).bytes(), expected, "{name}");
                let warnings = ringpoll::load::document(&plan, &outcome)["warnings"].to_string();
                assert!(warnings.contains(warning), "{name}: {warnings}");
                let announces = reference(&outcome).announces_close();
                let closer = match end {
                    Closes if announces => Closer::Server,
                    _ => Closer::Client,
                };
                if lifetime == Lifetime::OneRequest {
                    assert_eq!(reference(&outcome).closer(), closer, "{name}");
                }
            }
        }
    }
}

#[test]
fn wrong_responses_end_in_a_message() {
    for &(name, response, parts) in WRONG {
        let served = bytes(response);
        let peer = serve(move |_| served.clone(), Closes, false);
        for lifetime in LIFETIMES {
            let refused = run(&plan_of(&peer, lifetime), &Control::new());
            let Err(LoadError::FirstResponse(_, problem)) = refused else {
                panic!("{name}: {refused:?}")
            };
            let message = problem.to_string();
            for part in parts {
                assert!(message.contains(part), "{name}: {message}");
            }
        }
    }
}

#[test]
fn wrong_responses_during_the_load_are_failures() {
    const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nhello! ";
    for &(name, response, _) in WRONG {
        for lifetime in LIFETIMES {
            let served = bytes(response);
            let good = move |number: u64| match number {
                ..LEARNING_REQUESTS => GOOD.to_vec(),
                _ => served.clone(),
            };
            let peer = serve(good, Closes, false);
            let outcome = run(&plan_of(&peer, lifetime), &Control::new());
            let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(outcome.completed, 0, "{name}, {lifetime:?}");
            let wrong = [FailureKind::WrongBytes, FailureKind::PrematureEof];
            let counted: u64 = wrong.map(|kind| outcome.failures.of(kind)).iter().sum();
            assert_eq!(counted, REQUESTS, "{name}, {lifetime:?}: {:?}", outcome.failures);
        }
    }
}

#[test]
fn response_that_only_its_connection_ends_is_refused_on_persistent_connections() {
    let peer = serve(|_| b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec(), Closes, false);
    let refused = run(&plan_of(&peer, KEEP_ALIVE), &Control::new()).expect_err("no length");
    let message = refused.to_string();
    assert!(message.contains("neither Content-Length nor chunks"), "{message}");
    assert!(message.contains("--load churn"), "{message}");
}

#[test]
fn response_without_an_end_is_refused() {
    for (response, part) in [
        ("", "no response within 300 ms"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "5 bytes, but 4 were received"),
        ("HTTP/1.1 200 OK\r\n\r\nhello", "does not close the connection"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "last chunk"),
    ] {
        let peer = serve(move |_| response.as_bytes().to_vec(), StaysOpen, false);
        for lifetime in [KEEP_ALIVE, Lifetime::OneRequest] {
            let timeout = Duration::from_millis(300);
            let plan = Plan { timeout, ..plan_of(&peer, lifetime) };
            let message = run(&plan, &Control::new()).expect_err("no end").to_string();
            assert!(message.contains(part) && message.contains("--timeout"), "{message}");
        }
    }
}

#[test]
fn long_heads_and_bodies_are_read() {
    let field = format!("A: {}\r\n", "b".repeat(500));
    let body = "c".repeat(300_000);
    let chunk = format!("12c0\r\n{}\r\n", "d".repeat(4800));
    for (name, response) in [
        ("a head of 50 kB", format!("HTTP/1.1 204 No\r\n{}\r\n", field.repeat(99))),
        ("a body of 300 kB", format!("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{body}")),
        (
            "40 chunks",
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
                chunk.repeat(40)
            ),
        ),
        ("until close", format!("HTTP/1.1 200 OK\r\n\r\n{body}")),
    ] {
        let (is_until_close, bytes) = (name == "until close", response.into_bytes());
        let end = if is_until_close { Closes } else { StaysOpen };
        let peer = serve(move |_| bytes.clone(), end, false);
        for lifetime in if is_until_close { &LIFETIMES[3..] } else { &LIFETIMES[..] } {
            run_clean(name, &plan_of(&peer, *lifetime));
        }
    }
    for (head, part) in
        [(field.repeat(200), "longer than 64 KiB"), ("A: b\r\n".repeat(200), "too many headers")]
    {
        let response = format!("HTTP/1.1 204 No\r\n{head}\r\n").into_bytes();
        let peer = serve(move |_| response.clone(), StaysOpen, false);
        let refused = run(&plan_of(&peer, KEEP_ALIVE), &Control::new()).expect_err("too long");
        assert!(refused.to_string().contains(part), "{refused}");
    }
}

/// Returns the number of requests that complete when the response changes half-way.
fn completed_of_changing(
    (verify, lifetime): (Verify, Lifetime),
    (first, second): (&str, &str),
) -> Result<u64, String> {
    let (first, second) = (bytes(first), bytes(second));
    let half = LEARNING_REQUESTS + REQUESTS / 2;
    let response = move |number| if number < half { first.clone() } else { second.clone() };
    let peer = serve(response, StaysOpen, false);
    let plan = Plan { verify, connections: 1, ..plan_of(&peer, lifetime) };
    let outcome = run(&plan, &Control::new()).map_err(|error| error.to_string())?;
    assert_eq!(outcome.completed + outcome.failures.total(), REQUESTS, "{:?}", outcome.failures);
    let wrong = outcome.failures.of(FailureKind::WrongBytes);
    assert_eq!(wrong, outcome.failures.total(), "{:?}", outcome.failures);
    Ok(outcome.completed)
}

#[test]
fn change_of_the_response_during_the_load_is_found() {
    const FIRST: &str = "200 OK|Server: a|CL: 5||hello";
    let (half, all) = (REQUESTS / 2, REQUESTS);
    for (second, [auto, body, status]) in [
        ("200 OK|Server: b|CL: 5||hello", [half, all, all]),
        ("200 OK|CL: 5||hello", [half, all, all]),
        ("200 OK|Server: a|TE: chunked||5|hello|0||", [half, all, all]),
        ("200 OK|Server: a|CL: 5||hullo", [half, half, all]),
        ("200 OK|Server: a|CL: 4||hell", [half, half, all]),
        ("503 No|Server: a|CL: 5||hello", [half, half, half]),
        ("204 OK|Server: a|CL: 5||", [half, half, half]),
    ] {
        for lifetime in [KEEP_ALIVE, Lifetime::OneRequest] {
            for (verify, expected) in [
                (Verify::Auto, auto),
                (Verify::Body, body),
                (Verify::Status, status),
                (Verify::None, all),
            ] {
                // Other checks have one request before the load.
                let learning = if verify == Verify::Auto { 0 } else { LEARNING_REQUESTS - 1 };
                let expected = if expected == all { all } else { expected + learning };
                let completed = completed_of_changing((verify, lifetime), (FIRST, second));
                assert_eq!(completed, Ok(expected), "{second}, {verify:?}, {lifetime:?}");
            }
        }
    }
}

#[test]
fn fields_and_bodies_that_vary_are_left_out_and_named() {
    type Response = fn(u64) -> String;
    let responses: [(Response, &str); 9] = [
        (
            // Three responses can have one length by chance.
            |it| format!("200 OK|CL: {}||{}", (it % 12).to_string().len(), it % 12),
            "header fields verified, except Content-Length (varying)",
        ),
        (
            |it| format!("200 OK|X-Request-Id: {}|CL: 5||hello", it * 7),
            "header fields and every byte of the body verified, except X-Request-Id (varying)",
        ),
        (
            |it| format!("200 OK|Set-Cookie: a={it:09}|X-B: {}|CL: 5||hello", it * 9),
            "verified, except Set-Cookie, X-B (varying)",
        ),
        (
            |it| format!("200 OK{}|CL: 5||hello", if it % 2 == 0 { "|ETag: a" } else { "" }),
            "except ETag (varying)",
        ),
        (
            |it| format!("200 OK|Date: Mon, 23 Nov 2026 14:04:{:02} GMT|CL: 5||hello", it % 60),
            "every byte verified, except Date and Connection",
        ),
        (
            |it| format!("200 OK|Keep-Alive: timeout=5, max={}|CL: 5||hello", 100 - it % 100),
            "every byte verified, except Date and Connection",
        ),
        (
            |it| format!("200 OK|CL: 5||{it:05}"),
            "header fields and the length of the body verified",
        ),
        (
            |it| format!("200 OK|CL: {}||{}", it % 12, "c".repeat(it as usize % 12)),
            "header fields verified, except Content-Length (varying)",
        ),
        (
            |it| match it % 2 {
                0 => "200 OK|A: b|C: d|CL: 5||hello".to_owned(),
                _ => "200 OK|C: d|A: b|CL: 5||hello".to_owned(),
            },
            "status and every byte of the body verified",
        ),
    ];
    for (response, checks) in responses {
        let peer = serve(move |number| bytes(&response(number)), StaysOpen, false);
        for lifetime in LIFETIMES {
            let outcome = run_clean(checks, &plan_of(&peer, lifetime));
            let learned = reference(&outcome).checks().to_string();
            assert!(learned.ends_with(checks), "{learned}");
        }
    }
}

#[test]
fn change_of_what_is_still_checked_is_found() {
    let response = |number: u64| {
        let body = if number < 20 { "hello" } else { "hullo" };
        bytes(&format!("200 OK|X-Request-Id: {}|CL: 5||{body}", number * 7))
    };
    for lifetime in [KEEP_ALIVE, Lifetime::OneRequest] {
        let peer = serve(response, StaysOpen, false);
        let plan = Plan { connections: 1, ..plan_of(&peer, lifetime) };
        let outcome = run(&plan, &Control::new()).expect("the load runs");
        let wrong = outcome.failures.of(FailureKind::WrongBytes);
        assert_eq!((outcome.completed, wrong), (17, REQUESTS - 17), "{:?}", outcome.failures);
        let warnings = ringpoll::load::document(&plan, &outcome)["warnings"].to_string();
        assert!(warnings.contains("except X-Request-Id") && warnings.contains("--verify body"));
    }
}

#[test]
fn status_that_varies_is_refused_or_not_checked() {
    let response =
        |number| bytes(if number % 2 == 0 { "200 OK|CL: 0||" } else { "404 No|CL: 0||" });
    let peer = serve(response, StaysOpen, false);
    let plan = plan_of(&peer, KEEP_ALIVE);
    let message = run(&plan, &Control::new()).expect_err("it varies").to_string();
    assert!(message.contains("(200, 404, 200)") && message.contains("--verify none"), "{message}");
    run_clean("none", &Plan { verify: Verify::None, ..plan });
}

#[test]
fn side_that_closes_can_be_chosen() {
    for (response, end, close, expected) in [
        ("HTTP/1.0 200 OK|CL: 5||hello", Closes, CloseBy::Client, Ok(Closer::Client)),
        ("HTTP/1.0 200 OK|CL: 5||hello", Closes, CloseBy::Server, Ok(Closer::Server)),
        ("200 OK|CL: 5||hello", Closes, CloseBy::Server, Ok(Closer::Server)),
        ("200 OK|CL: 5||hello", StaysOpen, CloseBy::Server, Err("--close client or auto")),
        ("200 OK||hello", Closes, CloseBy::Client, Err("--close server or auto")),
    ] {
        let peer = serve(move |_| bytes(response), end, false);
        let timeout = Duration::from_millis(if expected.is_ok() { 30_000 } else { 300 });
        let plan = Plan { close, timeout, ..plan_of(&peer, Lifetime::OneRequest) };
        match expected {
            Ok(closer) => {
                assert_eq!(reference(&run_clean(response, &plan)).closer(), closer, "{response}");
            }
            Err(part) => {
                let message = run(&plan, &Control::new()).expect_err(response).to_string();
                assert!(message.contains(part), "{message}");
            }
        }
    }
}
