//! Tests of the parser, for every way to split a stream.

use super::*;

const LIMITS: RequestLimits = RequestLimits { head_bytes: 200, body_bytes: 20 };

/// Returns the results in words: `request`, `head` for HEAD, `1.0` if the response needs
/// `Connection: keep-alive`, `last`, `continue`, or the refusal; and the position after them.
fn found<'stream>(pieces: impl IntoIterator<Item = &'stream [u8]>) -> Vec<String> {
    let mut parser = RequestParser::default();
    let mut words = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            let (count, found) = parser.read(piece, &LIMITS);
            piece = &piece[count..];
            let Some(found) = found else {
                assert!(piece.is_empty(), "the parser stops within a piece");
                break;
            };
            words.push(word(found));
            if matches!(found, Found::Refused { .. }) {
                return words;
            }
        }
    }
    words.push(format!("{:?}", parser.position()).to_lowercase());
    words
}

fn word(found: Found) -> String {
    match found {
        Found::Continue => "continue".to_owned(),
        Found::Refused { status, wants_body } => {
            format!("{status:?}{}", if wants_body { "" } else { " without a body" })
        }
        Found::Request(Request { wants_body, persistence }) => {
            let what = if wants_body { "request" } else { "head" };
            let more = match persistence {
                Persistence::Persistent => "",
                Persistence::PersistentWithField => " 1.0",
                Persistence::Close => " last",
            };
            format!("{what}{more}")
        }
    }
}

/// Streams with their results.
const CASES: &[(&str, &[&str])] = &[
    ("", &["before"]),
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &["request", "before"]),
    ("GET / HTTP/1.1\nHost: a\n\n", &["request", "before"]),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost:\r\n\r\nG", &["request", "head"]),
    (
        "GET /a?b HTTP/1.1\r\nhOsT:\t[::1]:80 \r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &["request", "request", "before"],
    ),
    ("GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", &["request", "before"]),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &["request", "before"]),
    ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", &["head", "before"]),
    ("GET / HTTP/1.7\r\nHost: a\r\n\r\n", &["request", "before"]),
    ("GET / HTTP/1.0\r\n\r\n", &["request last", "before"]),
    ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &["request 1.0", "before"]),
    ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", &["request last", "before"]),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: , x ,\tCLOSE \r\n\r\n", &["request last", "before"]),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n",
        &["request last", "before"],
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close x, closes, clos\r\n\r\n",
        &["request", "before"],
    ),
    // Names that are nearly those that matter.
    (
        "GET / HTTP/1.1\r\nHost: a\r\nHosts: b\r\nHos: c\r\nContent-Lengt: 5\r\nConnection-x: close\r\n\r\n",
        &["request", "before"],
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\nconteNt-length: 3\r\n\r\nabcGET", &["request", "head"]),
    // Bodies.
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc", &["body"]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &["request", "before"]),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length:5\r\n\r\nabcde",
        &["request", "before"],
    ),
    ("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n\r\n", &["request last", "before"]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n", &["body"]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\n", &["ContentTooLarge"]),
    (
        "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\n",
        &["ContentTooLarge without a body"],
    ),
    (
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
      3\r\nabc\r\n00A;x=\"y\";z\r\n0\r\n\r\n56789\r\n0\r\n\r\nGET",
        &["request", "head"],
    ),
    (
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked,\r\n\r\n\
      0 ;x\r\nTrailer: x\r\nContent-Length: 5\r\n\r\n",
        &["request", "before"],
    ),
    ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n", &["ContentTooLarge"]),
    ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n", &["body"]),
    (
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        &["ContentTooLarge"],
    ),
    // Expectations.
    (
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\nx",
        &["continue", "request", "before"],
    ),
    ("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", &["request", "before"]),
    (
        "PUT / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx",
        &["request last", "before"],
    ),
    ("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continued\r\n\r\n", &["ExpectationFailed"]),
    // Versions and methods.
    ("GET / HTTP/2.0\r\n\r\n", &["VersionNotSupported"]),
    ("GET / HTTP/0.9\r\n\r\n", &["VersionNotSupported"]),
    ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", &["NotImplemented"]),
    ("get / HTTP/1.1\r\nHost: a\r\n\r\n", &["NotImplemented"]),
    ("AAAAAAAAGET / HTTP/1.1\r\nHost: a\r\n\r\n", &["NotImplemented"]),
    ("CONNECTOPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", &["NotImplemented"]),
    ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", &["NotImplemented"]),
    ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", &["NotImplemented"]),
    ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", &["NotImplemented"]),
];

/// Starts of bad requests, each followed by the end of a head.
const BAD: &[&str] = &[
    "GET /\r\n",
    "GET / \r\n",
    "GET  / HTTP/1.1\r\nHost: a",
    "GET / HTTP/1.1 \r\nHost: a",
    "GET / HTTP/1.1\rHost: a",
    "GET / HTTP/1.10\r\nHost: a",
    "GET / http/1.1\r\nHost: a",
    "GET / HTTP/1,1\r\nHost: a",
    "GET a HTTP/1.1\r\nHost: a",
    "GET http:/a HTTP/1.1\r\nHost: a",
    "GET ?a HTTP/1.1\r\nHost: a",
    "GET /#a HTTP/1.1\r\nHost: a",
    "GET /\u{7f} HTTP/1.1\r\nHost: a",
    "GET * HTTP/1.1\r\nHost: a",
    "OPTIONS *a HTTP/1.1\r\nHost: a",
    " GET / HTTP/1.1\r\nHost: a",
    "G(T / HTTP/1.1\r\nHost: a",
    "\rGET / HTTP/1.1\r\nHost: a",
    // Fields.
    "GET / HTTP/1.1\r\nA: b",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: a",
    "GET / HTTP/1.1\r\nHost: a b",
    "GET / HTTP/1.1\r\nHost: a/b",
    "GET / HTTP/1.1\r\nHost : a",
    "GET / HTTP/1.1\r\nHost: a\r\nA\t: b",
    "GET / HTTP/1.1\r\n Host: a",
    "GET / HTTP/1.1\r\nHost: a\r\n folded",
    "GET / HTTP/1.1\r\nHost: a\r\n: b",
    "GET / HTTP/1.1\r\nHost: a\r\nA",
    "GET / HTTP/1.1\r\nHost: a\r\nA: b\rC: d",
    "GET / HTTP/1.1\r\nHost: a\r\nA: b\0",
    "GET / HTTP/1.1\r\nHost: a\r\nA: b\u{b}",
    // Lengths and encodings.
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length:",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +1",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616",
    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1",
    "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked",
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked x",
];

/// Chunks of bad requests, after a head with `Transfer-Encoding: chunked`.
const BAD_CHUNKS: &[&str] = &[
    "x\r\n",
    "\r\n",
    " 1\r\n",
    ";x\r\n",
    "+1\r\n",
    "0x1\r\n",
    "1\n",
    "1 \r\n",
    "1\rx",
    "1;x\n",
    "1;\0",
    "1\r\nab",
    "1\r\na\n",
    "1\r\na\rb",
    "00000000000000001\r\n",
    "0\r\n\n",
    "0\r\nA b: c\r\n",
    "0\r\n a: b\r\n",
    "0\r\nA: b\n",
    "0\r\n\rx",
];

/// Checks a stream in one piece, byte by byte, and split at every place.
fn check(stream: &[u8], expected: &[&str]) {
    let shown = stream.escape_ascii();
    assert_eq!(found([stream]), expected, "{shown}");
    assert_eq!(found(stream.chunks(1)), expected, "byte by byte: {shown}");
    for cut in 0..stream.len() {
        let (first, second) = stream.split_at(cut);
        assert_eq!(found([first, second]), expected, "split at {cut}: {shown}");
    }
}

#[test]
fn requests_are_found_for_every_split() {
    for (stream, expected) in CASES {
        check(stream.as_bytes(), expected);
    }
}

#[test]
fn ambiguous_requests_are_refused() {
    for stream in BAD {
        let stream = format!("{stream}\r\n\r\n");
        check(stream.as_bytes(), &["BadRequest"]);
    }
    for chunks in BAD_CHUNKS {
        let head = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(format!("{head}{chunks}").as_bytes(), &["BadRequest"]);
    }
}

#[test]
fn non_ascii_bytes_are_allowed_only_in_values() {
    check(b"GET / HTTP/1.1\r\nHost: a\r\nA: \xff\x80\r\n\r\n", &["request", "before"]);
    check(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", &["BadRequest"]);
    check(b"GET / HTTP/1.1\r\nHost: a\r\n\xff: a\r\n\r\n", &["BadRequest"]);
}

#[test]
fn head_limit_is_inclusive() {
    let start = "GET / HTTP/1.1\r\nHost: a\r\nA: ";
    for (length, expected) in [
        (LIMITS.head_bytes, &["request", "before"][..]),
        (LIMITS.head_bytes + 1, &["HeadTooLarge"]),
    ] {
        let filling = "x".repeat(length - start.len() - 4);
        check(format!("{start}{filling}\r\n\r\n").as_bytes(), expected);
    }
    check("\r\n".repeat(LIMITS.head_bytes).as_bytes(), &["HeadTooLarge"]);
}

#[test]
fn chunk_extensions_and_trailers_are_limited() {
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let filling = "x".repeat(LIMITS.head_bytes + 1);
    check(format!("{head}1;{filling}").as_bytes(), &["BadRequest"]);
    check(format!("{head}0\r\nA: {filling}").as_bytes(), &["HeadTooLarge"]);
    check(format!("{head}{}", "1;xx\r\na\r\n".repeat(20)).as_bytes(), &["body"]);
}

/// Combines parts of the streams above at random, and corrupts some bytes.
#[test]
fn random_streams_give_the_same_result_for_every_split() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let parts: Vec<&str> = CASES.iter().map(|case| case.0).chain(BAD.iter().copied()).collect();
    let (mut requests, mut refusals) = (0, 0);
    for _ in 0..20_000 {
        let mut stream = Vec::new();
        for _ in 0..1 + random(4) {
            stream.extend_from_slice(parts[random(parts.len())].as_bytes());
        }
        if !stream.is_empty() && random(2) == 0 {
            let place = random(stream.len());
            stream[place] = b"\r\n :,0aA\0;\t"[random(11)];
        }
        let whole = found([&stream[..]]);
        requests += whole.iter().filter(|it| it.starts_with("request")).count();
        refusals += usize::from(whole.last().is_some_and(|it| it.ends_with("Request")));
        assert_eq!(found(stream.chunks(1)), whole, "{}", stream.escape_ascii());
        let (mut pieces, mut rest) = (Vec::new(), &stream[..]);
        while !rest.is_empty() {
            let (piece, remainder) = rest.split_at(1 + random(rest.len().min(30)));
            pieces.push(piece);
            rest = remainder;
        }
        assert_eq!(found(pieces), whole, "{}", stream.escape_ascii());
    }
    assert!(requests > 1000 && refusals > 1000, "{requests} requests, {refusals} refusals");
}
