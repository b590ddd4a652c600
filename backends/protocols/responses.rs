//! Every response of a keep-alive server, made at startup and immutable: to send is to return a
//! slice. Small responses are stored several times in a row, so that one send carries the responses
//! to several pipelined requests.

use std::ops::Range;
use std::sync::Arc;

use super::http::Status;
use crate::error::{BackendError, ErrorKind};
use crate::output::Output;

/// Bytes of equal responses in a row.
const RUN_BYTES: usize = 16 * 1024;

/// Longest body that is copied after each of its heads, in bytes; a longer one is sent by a
/// separate send.
const MAX_COPIED_BODY_BYTES: usize = 256 * 1024;

/// The `Connection` field of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionField {
    /// Absent: an HTTP/1.1 connection is persistent by default (RFC 9112, 9.3).
    None,
    /// `keep-alive`, for an HTTP/1.0 client that sent it.
    KeepAlive,
    /// `close`: this response is the last.
    Close,
}

/// One response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// The response that the server was started with.
    Success { field: ConnectionField, has_body: bool },
    /// 100 Continue.
    Continue,
    /// An error status.
    Refusal { status: Status, has_body: bool },
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A response in [`Responses::copies`].
#[derive(Clone, Debug)]
struct CopiedResponse {
    /// The head, and the body after it if that is copied.
    range: Range<usize>,
    head_bytes: usize,
    /// Copies in a row; 0 if the body is not copied.
    copies: usize,
}

/// Every response of a keep-alive server, made from one HTTP/1.0 response.
#[derive(Debug)]
pub struct Responses {
    response: Arc<[u8]>,
    body_start: usize,
    copies: Arc<[u8]>,
    /// In the order of [`ConnectionField`].
    copied: [CopiedResponse; 3],
}

impl Responses {
    /// Makes the HTTP/1.1 responses from a complete HTTP/1.0 response: its fields, its body, and a
    /// `Connection` field where needed.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it is not a response with a correct `Content-Length`.
    pub fn new(response: Arc<[u8]>) -> Result<Self, BackendError> {
        let wrong = |cause: &str| BackendError::new(ErrorKind::Usage, "response", cause);
        let end = response.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.ok_or_else(|| wrong("it has no end of the head"))?;
        let head =
            std::str::from_utf8(&response[..end]).map_err(|_| wrong("its head is not text"))?;
        let fields = head
            .strip_prefix("HTTP/1.0 ")
            .or_else(|| head.strip_prefix("HTTP/1.1 "))
            .ok_or_else(|| wrong("it does not start with HTTP/1.0"))?;
        let body_start = end + 4;
        let length = format!("content-length: {}", response.len() - body_start);
        if !fields.lines().any(|line| line.eq_ignore_ascii_case(&length)) {
            return Err(wrong("its Content-Length is not that of its body"));
        }
        let mut copies = Vec::new();
        let places = ["", "Connection: keep-alive\r\n", "Connection: close\r\n"].map(|field| {
            let head = format!("HTTP/1.1 {fields}\r\n{field}\r\n");
            add(&mut copies, head.as_bytes(), &response[body_start..])
        });
        Ok(Self { body_start, copies: copies.into(), copied: places, response })
    }

    /// Returns the length of a response in bytes.
    pub(super) fn length(&self, response: Response) -> usize {
        match response {
            Response::Success { field, has_body } => {
                let body_bytes = if has_body { self.response.len() - self.body_start } else { 0 };
                self.copied[field as usize].head_bytes + body_bytes
            }
            Response::Continue => CONTINUE.len(),
            Response::Refusal { status, has_body: true } => status.response().len(),
            Response::Refusal { status, has_body: false } => status.head().len(),
        }
    }

    /// Appends a response to the output, without a copy.
    pub(super) fn push(&self, response: Response, output: &mut Output) {
        match response {
            Response::Success { field, has_body } => {
                let copied = &self.copied[field as usize];
                let range = copied.range.clone();
                if has_body && copied.copies > 0 {
                    let length = self.length(response);
                    return output.push_repeated(&self.copies, range, length);
                }
                output.push_shared(&self.copies, range.start..range.start + copied.head_bytes);
                if has_body {
                    output.push_shared(&self.response, self.body_start..self.response.len());
                }
            }
            // It is not the response to a request.
            Response::Continue => return output.push_static(CONTINUE),
            Response::Refusal { status, has_body: true } => output.push_static(status.response()),
            Response::Refusal { status, has_body: false } => output.push_static(status.head()),
        }
        output.end_message();
    }
}

/// Appends a response, several times if it is small.
fn add(copies: &mut Vec<u8>, head: &[u8], body: &[u8]) -> CopiedResponse {
    let start = copies.len();
    let times = if body.len() > MAX_COPIED_BODY_BYTES {
        copies.extend_from_slice(head);
        0
    } else {
        let times = (RUN_BYTES / (head.len() + body.len())).max(1);
        for _ in 0..times {
            copies.extend_from_slice(head);
            copies.extend_from_slice(body);
        }
        times
    };
    CopiedResponse { range: start..copies.len(), head_bytes: head.len(), copies: times }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body_bytes: usize) -> Arc<[u8]> {
        let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {body_bytes}\r\n\r\n");
        [head.as_bytes(), &vec![b'b'; body_bytes]].concat().into()
    }

    /// Returns everything that is sent for `count` responses, by sends of at most `most` bytes.
    fn sent(responses: &Responses, response: Response, count: u32, most: usize) -> Vec<u8> {
        let (mut all, mut output, mut messages) = (Vec::new(), Output::default(), 0);
        for _ in 0..count {
            responses.push(response, &mut output);
        }
        while !output.is_empty() {
            let (rest, _) = output.submit();
            let taken = &rest[..rest.len().min(most)];
            all.extend_from_slice(taken);
            let count = taken.len();
            messages += output.on_sent(count).messages;
            assert_eq!(messages as usize, all.len() / responses.length(response));
        }
        assert_eq!(messages, count);
        all
    }

    #[test]
    fn output_is_the_response_repeated() {
        for body_bytes in [0, 13, 9000, MAX_COPIED_BODY_BYTES, MAX_COPIED_BODY_BYTES + 1] {
            let responses = Responses::new(response(body_bytes)).unwrap();
            for (field, line) in [
                (ConnectionField::None, ""),
                (ConnectionField::KeepAlive, "Connection: keep-alive\r\n"),
                (ConnectionField::Close, "Connection: close\r\n"),
            ] {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {body_bytes}\r\n{line}\r\n");
                let whole = [head.as_bytes(), &vec![b'b'; body_bytes]].concat();
                for most in [1 + body_bytes / 50, 1 << 20] {
                    let kind = Response::Success { field, has_body: true };
                    assert!(sent(&responses, kind, 7, most) == whole.repeat(7));
                    let kind = Response::Success { field, has_body: false };
                    assert!(sent(&responses, kind, 3, most) == head.repeat(3).as_bytes());
                }
            }
        }
    }

    #[test]
    fn several_responses_are_in_one_send() {
        let responses = Responses::new(response(13)).unwrap();
        let kind = Response::Success { field: ConnectionField::None, has_body: true };
        let mut output = Output::default();
        for _ in 0..16 {
            responses.push(kind, &mut output);
        }
        let length = responses.length(kind);
        assert_eq!(output.submit().0.len(), 16 * length);
        // One that arrives meanwhile extends the same segment.
        responses.push(kind, &mut output);
        let sent = output.on_sent(16 * length);
        assert_eq!((sent.messages, sent.is_short), (16, false));
        assert!(!output.take_back(length + 1) && output.take_back(length) && output.is_empty());
    }

    #[test]
    fn submitted_bytes_cannot_be_taken_back() {
        let responses = Responses::new(response(MAX_COPIED_BODY_BYTES + 1)).unwrap();
        let kind = Response::Success { field: ConnectionField::None, has_body: true };
        let (length, mut output) = (responses.length(kind), Output::default());
        responses.push(kind, &mut output);
        output.submit();
        assert!(!output.take_back(length));
        responses.push(kind, &mut output);
        assert!(output.take_back(length));
        assert_eq!(output.len(), length);
    }

    #[test]
    fn invalid_responses_are_refused() {
        for bytes in [
            &b"HTTP/1.0 200 OK\r\n"[..],
            b"hello\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\nhello",
            b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nhello",
        ] {
            assert_eq!(Responses::new(bytes.into()).unwrap_err().kind, ErrorKind::Usage);
        }
    }
}
