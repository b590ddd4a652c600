//! Requests with a method, headers and a body, from a list, and with `Expect: 100-continue`, under
//! each load.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringpoll::load::{
    Burst, ContinueCounts, Control, FailureKind, Lifetime, Outcome, Pace, Plan, Rate, Request,
    RequestList, RequestParts, Verify, run,
};
use serde_json::Value;

use crate::command::{exited, ringpoll};
use crate::peer::{Peer, plan, reference};
use crate::persistent::serve_each_request;
use crate::responses::{KEEP_ALIVE, LIFETIMES};

const REQUESTS: u64 = 24;

/// The requests before the load.
const LEARNING_REQUESTS: u64 = 3;

/// A request as a server received it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Received {
    /// The method and the path.
    line: String,
    /// The other fields than those of the client itself.
    fields: Vec<String>,
    body: Vec<u8>,
}

type Log = Arc<Mutex<Vec<Received>>>;

/// The response of a server to the head of a request that waits for 100 Continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    Continue,
    /// It waits for the body, as a server that does not know the field.
    Nothing,
    /// A final response.
    Refusal,
}

const REFUSAL: &[u8] = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";

fn has_field(head: &str, field: &str) -> bool {
    head.lines().any(|line| line.eq_ignore_ascii_case(field))
}

/// Starts a server that records its requests. `respond` returns the response to one.
fn record(
    reaction: Reaction,
    respond: impl Fn(&Received) -> String + Send + Sync + 'static,
) -> (Peer, Log) {
    let log = Log::default();
    let records = Arc::clone(&log);
    let peer = Peer::start(move |_, stream| {
        let (respond, records) = (&respond, Arc::clone(&records));
        serve(stream, reaction, &records, respond);
    });
    (peer, log)
}

fn serve(
    mut stream: TcpStream,
    reaction: Reaction,
    log: &Log,
    respond: &(impl Fn(&Received) -> String + Sync),
) {
    stream.set_nodelay(true).expect("a TCP socket");
    while let Some((received, is_last)) = receive(&mut stream, reaction) {
        let response = respond(&received);
        log.lock().unwrap().push(received);
        if stream.write_all(response.as_bytes()).is_err() || is_last {
            break;
        }
    }
}

/// Receives a request, and returns true with it if its connection has no other. Returns `None` at
/// the end of the stream, or after a refusal.
fn receive(stream: &mut TcpStream, reaction: Reaction) -> Option<(Received, bool)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            assert_eq!(head.len(), 0, "the client closed inside a head");
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("a head in ASCII");
    if has_field(&head, "Expect: 100-continue") {
        assert!(head.contains(" HTTP/1.1\r\n"), "{head}");
        match reaction {
            Reaction::Continue => stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?,
            Reaction::Nothing => {}
            Reaction::Refusal => {
                let _ = stream.write_all(REFUSAL);
                // The connection ends, without the body.
                assert_eq!(stream.read(&mut byte).unwrap_or(0), 0, "the body was sent");
                return None;
            }
        }
    }
    let own = ["host:", "content-length:", "connection:", "expect:"];
    let is_own = |line: &&str| own.iter().any(|name| line.to_lowercase().starts_with(name));
    let (first, fields) = head.split_once("\r\n").expect("a request line");
    let (line, version) = first.rsplit_once(' ').expect("a version");
    let fields: Vec<&str> = fields.lines().filter(|line| !line.is_empty()).collect();
    let length = fields.iter().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |it| it.parse().expect("a length"))];
    stream.read_exact(&mut body).ok()?;
    let fields = fields.into_iter().filter(|line| !is_own(line)).map(str::to_owned).collect();
    let is_last = version == "HTTP/1.0" || has_field(&head, "Connection: close");
    Some((Received { line: line.to_owned(), fields, body }, is_last))
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn request(lifetime: Lifetime, parts: &RequestParts<'_>) -> Request {
    let request = match lifetime {
        Lifetime::OneRequest => Request::http(parts),
        Lifetime::Persistent { .. } | Lifetime::Mixed { .. } => Request::http_persistent(parts),
    };
    request.expect("a valid request")
}

/// A plan on one connection, because [`record`] serves one at a time.
fn plan_of(peer: &Peer, lifetime: Lifetime, parts: &RequestParts<'_>) -> Plan {
    let request = request(lifetime, parts);
    let plan = plan(peer.address, REQUESTS);
    Plan { request, lifetime, connections: 1, verify: Verify::Auto, ..plan }
}

fn run_clean(plan: &Plan) -> Outcome {
    let outcome = run(plan, &Control::new()).unwrap_or_else(|error| panic!("{error}"));
    assert!(outcome.is_clean(), "{:?}: {:?}", plan.lifetime, outcome.failures);
    assert_eq!(outcome.completed, REQUESTS);
    outcome
}

#[test]
fn method_headers_and_body_are_sent_with_every_request() {
    let headers = ["Accept: */*".to_owned(), "X-A: b".to_owned()];
    // More than the buffers of the socket, which is sent in parts.
    let large: Vec<u8> = (0..3_000_000_u32).map(|it| (it * 7 + it / 251) as u8).collect();
    for (method, body) in [
        ("POST", &b"a=b"[..]),
        ("POST", b""),
        ("PUT", &large),
        ("PATCH", b"\0\r\n\r\n\xff"),
        ("DELETE", b""),
        ("OPTIONS", b""),
        ("QUERY", b"select"),
    ] {
        for lifetime in LIFETIMES {
            let (peer, log) =
                record(Reaction::Nothing, |received| ok(&format!("{} bytes", received.body.len())));
            let (path, host) = ("/a?b=c", "a");
            let expects_continue = false;
            let headers = &headers[..];
            let parts = RequestParts { method, path, host, headers, body, expects_continue };
            let outcome = run_clean(&plan_of(&peer, lifetime, &parts));
            let expected = format!("{} bytes", body.len());
            assert!(reference(&outcome).bytes().ends_with(expected.as_bytes()));
            peer.end();
            let log = log.lock().unwrap();
            assert_eq!(log.len() as u64, LEARNING_REQUESTS + REQUESTS, "{method}, {lifetime:?}");
            for received in &*log {
                assert_eq!(received.line, format!("{method} /a?b=c"));
                assert_eq!(received.fields, headers);
                assert!(received.body == body, "{method}, {lifetime:?}: another body");
            }
        }
    }
}

#[test]
fn response_to_head_has_no_body() {
    for lifetime in LIFETIMES {
        for framing in ["Content-Length: 5", "Transfer-Encoding: chunked", "Server: a"] {
            let (peer, _) =
                record(Reaction::Nothing, move |_| format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"));
            let parts = RequestParts { method: "HEAD", ..RequestParts::get("/", "a", &[]) };
            run_clean(&plan_of(&peer, lifetime, &parts));
        }
    }
    let served = |_: usize, _: usize, stream: &mut TcpStream| {
        stream.write_all(ok("hello").as_bytes()).is_ok()
    };
    let peer = serve_each_request(served);
    let parts = RequestParts { method: "HEAD", ..RequestParts::get("/", "a", &[]) };
    let refused = run(&plan_of(&peer, KEEP_ALIVE, &parts), &Control::new()).expect_err("a body");
    assert!(refused.to_string().contains("5 bytes follow"), "{refused}");
}

fn list(lifetime: Lifetime, paths: &[&str], seed: u64) -> Arc<RequestList> {
    let request = |path: &&str| request(lifetime, &RequestParts::get(path, "a", &[]));
    let requests = paths.iter().map(request).collect();
    Arc::new(RequestList::new("list", requests, seed).expect("a valid list"))
}

/// Returns the lines of the load, in the order in which the server received them.
fn drawn(lifetime: Lifetime, seed: u64) -> Vec<String> {
    const PATHS: [&str; 4] = ["/a", "/bb", "/ccc", "/a"];
    let (peer, log) = record(Reaction::Nothing, |received| ok(&received.line.repeat(2)));
    let list = list(lifetime, &PATHS, seed);
    let distinct = list.requests().len();
    let plan = plan_of(&peer, lifetime, &RequestParts::get("/a", "a", &[]));
    let outcome = run_clean(&Plan { list: Some(list), ..plan });
    assert_eq!((distinct, outcome.references.len()), (3, 3));
    peer.end();
    let mut lines: Vec<_> = log.lock().unwrap().iter().map(|it| it.line.clone()).collect();
    let load = lines.split_off(lines.len() - REQUESTS as usize);
    let mut learning: BTreeMap<String, u64> = BTreeMap::new();
    lines.into_iter().for_each(|line| *learning.entry(line).or_default() += 1);
    let each = ["GET /a", "GET /bb", "GET /ccc"].map(|it| (it.to_owned(), LEARNING_REQUESTS));
    assert_eq!(learning, each.into(), "requests before the load");
    load
}

#[test]
fn requests_of_a_list_are_drawn_in_the_order_of_the_seed() {
    for lifetime in LIFETIMES {
        let lines = drawn(lifetime, 1);
        let count = |line: &str| lines.iter().filter(|&it| it == line).count();
        assert!(count("GET /a") > count("GET /bb") && count("GET /bb") > 0, "{lines:?}");
        assert!(count("GET /ccc") > 0, "{lines:?}");
        assert_eq!(drawn(lifetime, 1), lines);
        assert_ne!(drawn(lifetime, 2), lines);
    }
}

#[test]
fn wrong_response_to_one_request_of_a_list_is_named_with_it() {
    for lifetime in LIFETIMES {
        let seen = Mutex::new(0);
        let (peer, _) = record(Reaction::Nothing, move |received| {
            let mut seen = seen.lock().unwrap();
            *seen += u64::from(received.line == "GET /bb");
            // The response changes after the requests before the load.
            let is_wrong = received.line == "GET /bb" && *seen > LEARNING_REQUESTS;
            ok(if is_wrong { "wrong" } else { "right" })
        });
        let list = list(lifetime, &["/a", "/bb"], 1);
        let plan = plan_of(&peer, lifetime, &RequestParts::get("/a", "a", &[]));
        let plan = Plan { list: Some(list), ..plan };
        let outcome = run(&plan, &Control::new()).unwrap_or_else(|error| panic!("{error}"));
        let wrong = outcome.failures.of(FailureKind::WrongBytes);
        assert!(wrong > 0 && outcome.completed > 0, "{lifetime:?}: {:?}", outcome.failures);
        let text = outcome.failures.first_text(FailureKind::WrongBytes, &plan).expect("a failure");
        assert!(text.starts_with("GET /bb: "), "{text}");
    }
}

/// Runs a load of requests with `Expect: 100-continue`.
fn expecting(reaction: Reaction, lifetime: Lifetime, requests: u64) -> (Outcome, Vec<Received>) {
    let (peer, log) = record(reaction, |received| ok(&format!("{}", received.body.len())));
    let (method, body, expects_continue) = ("POST", &[b'a'; 100_000][..], true);
    let parts = RequestParts { method, body, expects_continue, ..RequestParts::get("/", "a", &[]) };
    let plan = plan_of(&peer, lifetime, &parts);
    let outcome = run(&Plan { requests: Some(requests), ..plan }, &Control::new());
    let outcome = outcome.unwrap_or_else(|error| panic!("{reaction:?}, {lifetime:?}: {error}"));
    assert_eq!(outcome.failures.total(), 0, "{reaction:?}, {lifetime:?}: {:?}", outcome.failures);
    assert_eq!(outcome.completed, requests);
    peer.end();
    let log = log.lock().unwrap().clone();
    (outcome, log)
}

const EXPECTING_LIFETIMES: [Lifetime; 3] =
    [KEEP_ALIVE, Lifetime::Mixed { seed: 1 }, Lifetime::OneRequest];

#[test]
fn body_is_sent_after_100_continue() {
    for lifetime in EXPECTING_LIFETIMES {
        let (outcome, log) = expecting(Reaction::Continue, lifetime, REQUESTS);
        let counts = ContinueCounts { continued: REQUESTS, ..ContinueCounts::default() };
        assert_eq!(outcome.continues, counts, "{lifetime:?}");
        assert!(log.iter().all(|it| it.body.len() == 100_000), "{lifetime:?}");
    }
}

#[test]
fn body_is_sent_after_a_second_without_a_response() {
    for lifetime in EXPECTING_LIFETIMES {
        let began = Instant::now();
        let (outcome, log) = expecting(Reaction::Nothing, lifetime, 2);
        let counts = ContinueCounts { timed_out: 2, ..ContinueCounts::default() };
        assert_eq!(outcome.continues, counts, "{lifetime:?}");
        assert!(log.iter().all(|it| it.body.len() == 100_000), "{lifetime:?}");
        // Each of two requests, and those before the load, wait for a second.
        assert!(began.elapsed() >= Duration::from_secs(3), "{lifetime:?}");
    }
}

#[test]
fn body_is_not_sent_after_a_final_response() {
    for lifetime in EXPECTING_LIFETIMES {
        let (outcome, log) = expecting(Reaction::Refusal, lifetime, REQUESTS);
        let counts = ContinueCounts { final_response: REQUESTS, ..ContinueCounts::default() };
        assert_eq!(outcome.continues, counts, "{lifetime:?}");
        assert_eq!(reference(&outcome).bytes(), REFUSAL);
        assert_eq!(log, [], "{lifetime:?}");
    }
}

#[test]
fn bodies_are_sent_in_open_loops_bursts_and_fragments() {
    let body = vec![b'a'; 20_000];
    let parts = RequestParts { method: "POST", body: &body, ..RequestParts::get("/", "a", &[]) };
    let pause = Duration::from_millis(1);
    let rate = Pace::OpenLoop(Rate::per_second(500.0).expect("a valid rate"));
    let burst = Some(Burst { connections: 1, pause });
    for lifetime in [KEEP_ALIVE, Lifetime::OneRequest] {
        let (peer, log) =
            record(Reaction::Nothing, |received| ok(&received.body.len().to_string()));
        let plan = plan_of(&peer, lifetime, &parts);
        run_clean(&Plan { pace: rate, ..plan.clone() });
        if lifetime == Lifetime::OneRequest {
            run_clean(&Plan { burst, ..plan.clone() });
            let request = plan.request.clone().in_fragments(5, pause).expect("as many bytes");
            run_clean(&Plan { request, ..plan });
        }
        peer.end();
        assert!(log.lock().unwrap().iter().all(|it| it.body == body), "{lifetime:?}");
    }
}

#[test]
fn response_may_be_sent_while_the_request_is_received() {
    const BYTES: usize = 4_000_000;
    let echo = |_: usize, _: usize, stream: &mut TcpStream| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n");
        let mut buffer = vec![0; 64 * 1024];
        let mut left = BYTES;
        let mut is_sent = stream.write_all(head.as_bytes()).is_ok();
        while left > 0 && is_sent {
            let room = buffer.len().min(left);
            let count = stream.read(&mut buffer[..room]).unwrap_or(0);
            is_sent = count > 0 && stream.write_all(&buffer[..count]).is_ok();
            left -= count;
        }
        is_sent
    };
    let body = vec![b'a'; BYTES];
    for lifetime in LIFETIMES {
        let peer = serve_each_request(echo);
        let parts =
            RequestParts { method: "POST", body: &body, ..RequestParts::get("/", "a", &[]) };
        let plan = plan_of(&peer, lifetime, &parts);
        run_clean(&Plan { requests: Some(REQUESTS), ..plan });
    }
}

#[test]
fn command_line_describes_requests() {
    let (peer, log) = record(Reaction::Continue, |received| ok(&received.line));
    let directory = tempfile::tempdir().unwrap();
    let (body, list) = (directory.path().join("body"), directory.path().join("list"));
    std::fs::write(&body, b"\0\xff").unwrap();
    std::fs::write(&list, "# paths\n/a\nPUT /b\n\nGET /c\n").unwrap();
    let common = "--load keep-alive --requests 30 --connections 1 --json -";
    let run = |arguments: &str| -> Value {
        let output = ringpoll(peer.address, &format!("{common} {arguments}")).output().unwrap();
        serde_json::from_str(exited(&output, 0).0).expect("JSON")
    };

    let one = run(&format!("--body @{} --header Accept:a --expect-continue", body.display()));
    assert_eq!(
        (&one["load"]["request"], &one["load"]["request_body_bytes"]),
        (&Value::from("POST /"), &Value::from(2))
    );
    assert_eq!(one["expect_continue"]["continued"], 30);
    assert_eq!(one["responses"], Value::Null);
    let expected = Received {
        line: "POST /".to_owned(),
        fields: vec!["Accept:a".to_owned()],
        body: b"\0\xff".to_vec(),
    };
    assert!(log.lock().unwrap().drain(..).all(|it| it == expected));

    let several = run(&format!("--requests-from {} --body x", list.display()));
    assert_eq!(several["load"]["requests_from"]["distinct"], 3);
    assert_eq!(several["responses"]["status_lines"]["HTTP/1.1 200 OK"], 3);
    let received = |line: &str, body: &str| Received {
        line: line.to_owned(),
        fields: Vec::new(),
        body: body.as_bytes().to_vec(),
    };
    let expected = [received("POST /a", "x"), received("PUT /b", "x"), received("GET /c", "")];
    let mut log: Vec<_> = log.lock().unwrap().drain(..).collect();
    log.sort();
    log.dedup();
    assert_eq!(log.len(), 3, "{log:?}");
    assert!(expected.iter().all(|it| log.contains(it)), "{log:?}");
}

#[test]
fn flags_of_requests_that_contradict_each_other_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("list");
    std::fs::write(&list, "/a\nhttp://a/b\n").unwrap();
    let list = list.display();
    for (arguments, part) in [
        ("--expect-continue".to_owned(), "--body"),
        ("--body @/absent".to_owned(), "--body @/absent: No such file"),
        (format!("--requests-from {list} --path /"), "cannot be used with"),
        (format!("--requests-from {list}"), "line 2: expected a path that starts with /"),
        ("--requests-from /dev/null".to_owned(), "there is no request in it"),
        ("--method CONNECT".to_owned(), "opens a tunnel"),
        ("--method G(T".to_owned(), "invalid method"),
        ("--header Content-Length:5".to_owned(), "--body sends it"),
        ("--header Expect:100-continue".to_owned(), "--expect-continue sends it"),
        ("--load rr --body a".to_owned(), "--body cannot be used with --load rr"),
        ("--load large --method HEAD".to_owned(), "its response has no body"),
        ("--load pipelined --body a --expect-continue".to_owned(), "do not wait for a response"),
        ("--body a --expect-continue --fragments 2".to_owned(), "--fragments cannot be used"),
    ] {
        let output = ringpoll("127.0.0.1:1".parse().unwrap(), &arguments).output().unwrap();
        let (printed, errors) = exited(&output, 2);
        assert_eq!(printed, "");
        assert!(errors.contains(part), "{arguments}: {errors}");
    }
}
