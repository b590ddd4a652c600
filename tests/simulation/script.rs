//! Requests of a peer on a keep-alive connection, and the responses that are due: a naive
//! implementation on the whole stream, which is compared with every byte that the server sends.

use crate::choices::Choices;
use crate::setup::Setup;

/// Response to a request head that is longer than the limit, and its body.
const HEAD_TOO_LARGE: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\n\
    Content-Type: text/plain\r\nConnection: close\r\nContent-Length: 36\r\n\r\n";
const HEAD_TOO_LARGE_BODY: &str = "431 Request Header Fields Too Large\n";

struct ScriptedRequest {
    /// Offset in the stream at which the response is decided.
    end: usize,
    /// Its response if the connection stays open, and if it is closed.
    responses: [Vec<u8>; 2],
    /// The connection is closed after it in any case.
    is_last: bool,
}

/// All requests of a peer and their responses.
pub(crate) struct Script {
    requests: Vec<ScriptedRequest>,
}

/// Responses contained in the bytes that the server has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseProgress {
    /// Number of complete responses.
    pub(crate) complete: usize,
    /// An incomplete response follows.
    pub(crate) has_partial: bool,
    /// The last complete response closes the connection.
    pub(crate) is_last: bool,
}

const REQUESTS: [&[u8]; 5] = [
    b"GET / HTTP/1.1\r\nHost:a\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost:a\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost:a\r\nContent-Length:3\r\n\r\nGET",
    b"PUT / HTTP/1.1\r\nHost:a\r\nTransfer-Encoding:chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
];

impl Script {
    /// Returns a random stream and its script.
    pub(crate) fn choose(choices: &mut Choices, setup: &Setup) -> (Vec<u8>, Self) {
        let (mut stream, mut requests) = (Vec::new(), Vec::new());
        for _ in 0..choices.below(6) {
            let which = choices.below(REQUESTS.len());
            requests.push(scripted_request(stream.len(), which, setup));
            stream.extend_from_slice(REQUESTS[which]);
        }
        if choices.below(4) == 1 {
            let part = &REQUESTS[0][..choices.below(20)];
            if part.len() >= setup.request_head_bytes {
                requests.push(refusal(stream.len(), true, setup));
            }
            stream.extend_from_slice(part);
        }
        let last = requests.iter().position(|it| it.is_last);
        requests.truncate(last.map_or(requests.len(), |last| last + 1));
        (stream, Self { requests })
    }

    /// Returns the number of responses due after `written` bytes of the stream.
    pub(crate) fn responses_due(&self, written: usize) -> usize {
        self.requests.iter().filter(|it| it.end <= written).count()
    }

    /// Returns true if `delivered` bytes of the stream end between two requests.
    pub(crate) fn is_between_requests(&self, delivered: usize) -> bool {
        delivered == 0 || self.requests.iter().any(|it| it.end == delivered)
    }

    /// Parses the bytes that the server has sent.
    ///
    /// # Panics
    /// If a byte differs from the responses that are due.
    pub(crate) fn response_progress(&self, mut sent: &[u8]) -> ResponseProgress {
        let mut progress = ResponseProgress { complete: 0, has_partial: false, is_last: false };
        for ScriptedRequest { responses, is_last, .. } in &self.requests {
            if sent.is_empty() || progress.is_last {
                break;
            }
            let fits = |response: &&Vec<u8>| {
                let length = response.len().min(sent.len());
                response[..length] == sent[..length]
            };
            let response = responses
                .iter()
                .find(fits)
                .unwrap_or_else(|| panic!("sends a wrong response: {}", sent.escape_ascii()));
            if sent.len() < response.len() {
                progress.has_partial = true;
                return progress;
            }
            progress.complete += 1;
            progress.is_last = *is_last || *response == responses[1];
            sent = &sent[response.len()..];
        }
        assert!(sent.is_empty(), "sends without a request: {}", sent.escape_ascii());
        progress
    }
}

fn scripted_request(start: usize, which: usize, setup: &Setup) -> ScriptedRequest {
    let request = REQUESTS[which];
    let has_body = which != 1;
    let head = request.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |end| end + 4);
    if head > setup.request_head_bytes {
        // If the limit ends within the method, the server cannot know that it is HEAD.
        return refusal(start, has_body || setup.request_head_bytes < 4, setup);
    }
    let response = |field: &str| {
        let body = &setup.response[setup.response_body_start..];
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{field}\r\n");
        [head.as_bytes(), if has_body { body } else { b"" }].concat()
    };
    let is_last = which == 4;
    let close = response("Connection: close\r\n");
    let keep_alive = if is_last { close.clone() } else { response("") };
    ScriptedRequest { end: start + request.len(), responses: [keep_alive, close], is_last }
}

fn refusal(start: usize, has_body: bool, setup: &Setup) -> ScriptedRequest {
    let body = if has_body { HEAD_TOO_LARGE_BODY } else { "" };
    let response = [HEAD_TOO_LARGE, body].concat().into_bytes();
    let end = start + setup.request_head_bytes;
    ScriptedRequest { end, responses: [response.clone(), response], is_last: true }
}
