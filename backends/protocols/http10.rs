//! HTTP/1.0 as in the reference programs: any request gets the same response, and the connection
//! ends.

use std::sync::Arc;

use super::request_head::RequestHead;
use crate::output::Output;
use crate::protocol::{Awaits, Next, Protocol};

const HEAD_TOO_LARGE: &[u8] = b"HTTP/1.0 431 Request Header Fields Too Large\r\n\
    Content-Type: text/plain\r\nContent-Length: 36\r\n\r\n\
    The request head exceeds the limit.\n";

/// One request and one response on each connection: any request head gets the same response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Http10 {
    /// The complete response.
    pub response: Arc<[u8]>,
    /// Longest request head, its end included, in bytes; a longer one is refused with 431.
    pub request_head_bytes: usize,
}

impl Http10 {
    /// Makes the protocol with a complete response, and heads of up to 8 KiB.
    pub fn new(response: impl Into<Arc<[u8]>>) -> Self {
        Self { response: response.into(), request_head_bytes: 8 * 1024 }
    }
}

/// The state of one connection.
#[derive(Clone, Debug, Default)]
pub struct Http10Connection {
    head: RequestHead,
    request_bytes: usize,
}

impl Protocol for Http10 {
    type Connection = Http10Connection;

    const IS_ONE_EXCHANGE: bool = true;

    fn on_open(&mut self, _output: &mut Output) -> Http10Connection {
        Http10Connection::default()
    }

    /// A head is too large when its end is not within the limit. That depends on the stream alone,
    /// not on how it is split.
    fn on_recv(
        &mut self,
        connection: &mut Http10Connection,
        bytes: &[u8],
        output: &mut Output,
    ) -> Next {
        let end = connection.head.scan(bytes).map(|end| connection.request_bytes + end);
        connection.request_bytes += bytes.len();
        match end {
            Some(end) if end <= self.request_head_bytes => {
                output.count_request();
                output.push_shared(&self.response, 0..self.response.len());
            }
            None if connection.request_bytes < self.request_head_bytes => return Next::Recv,
            _ => {
                output.count_head_too_large();
                output.push_static(HEAD_TOO_LARGE);
            }
        }
        output.end_message();
        // Further bytes change nothing.
        Next::Shutdown
    }

    fn on_end_of_stream(&mut self, _: &mut Http10Connection, _: &mut Output) -> Next {
        Next::Close
    }

    fn awaits(&self, connection: &Http10Connection) -> Awaits {
        if connection.request_bytes == 0 { Awaits::FirstMessage } else { Awaits::Head }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_limit_does_not_depend_on_how_the_stream_is_split() {
        let mut http = Http10 { request_head_bytes: 8, ..Http10::new(*b"ok") };
        for (stream, response) in [
            (&b"123456\n\n"[..], &b"ok"[..]),
            (b"1234567\n\n", HEAD_TOO_LARGE),
            (b"12345678", HEAD_TOO_LARGE),
            (b"1\n\n4567890123", b"ok"),
        ] {
            for cut in 0..stream.len() {
                let mut output = Output::default();
                let mut connection = http.on_open(&mut output);
                let (first, second) = stream.split_at(cut);
                let mut next = Next::Recv;
                for piece in [first, second].into_iter().filter(|piece| !piece.is_empty()) {
                    if next == Next::Recv {
                        next = http.on_recv(&mut connection, piece, &mut output);
                    }
                }
                assert_eq!(next, Next::Shutdown, "{stream:?} split at {cut}");
                assert_eq!(output.to_vec(), response, "{stream:?} split at {cut}");
            }
        }
    }

    #[test]
    fn head_too_large_has_its_content_length() {
        let text = std::str::from_utf8(HEAD_TOO_LARGE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
    }
}
