//! Requests and their fragments; messages.

use std::fmt::Write;
use std::time::Duration;

use super::message::{Direction, MAX_MESSAGE_BYTES};

/// An HTTP request, sent at once or in fragments; or a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    bytes: Vec<u8>,
    /// The end offset of each fragment.
    ends: Vec<usize>,
    pause: Duration,
    /// This request with `Connection: close`, for persistent connections.
    closing: Option<Vec<u8>>,
    /// Length of a message, whose bytes each connection determines.
    message_bytes: Option<usize>,
    /// The direction of a stream of messages.
    stream: Option<Direction>,
}

impl Request {
    /// Creates a request of these bytes, sent at once.
    ///
    /// # Errors
    /// Fails if `bytes` is empty.
    pub fn new(bytes: Vec<u8>) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("a request must not be empty".to_owned());
        }
        let ends = vec![bytes.len()];
        Ok(Self {
            bytes,
            ends,
            pause: Duration::ZERO,
            closing: None,
            message_bytes: None,
            stream: None,
        })
    }

    /// Creates a message of this length, which an echo server (RFC 862) sends back. Its bytes
    /// depend on its connection and its position on it.
    ///
    /// # Errors
    /// Fails if the length is not 1 to 1 GiB.
    pub fn message(bytes: usize) -> Result<Self, String> {
        if !(1..=MAX_MESSAGE_BYTES).contains(&bytes) {
            return Err(format!("a message must have 1 to {MAX_MESSAGE_BYTES} bytes"));
        }
        let (pause, message_bytes) = (Duration::ZERO, Some(bytes));
        let ends = vec![bytes];
        Ok(Self { bytes: Vec::new(), ends, pause, closing: None, message_bytes, stream: None })
    }

    /// Creates a message of this length in a stream of them, for a discard, chargen or echo server
    /// on persistent connections.
    ///
    /// # Errors
    /// As [`Request::message`].
    pub fn stream(bytes: usize, direction: Direction) -> Result<Self, String> {
        Ok(Self { stream: Some(direction), ..Self::message(bytes)? })
    }

    /// The direction of a stream of messages; `None` for other requests.
    pub fn direction(&self) -> Option<Direction> {
        self.stream
    }

    /// Creates a GET request in HTTP/1.0, after which the server closes the connection. Each header
    /// is `Name: value`; a `Host` header replaces `host`.
    ///
    /// # Errors
    /// Fails if the path or a header is not valid in a request.
    pub fn get(path: &str, host: &str, headers: &[String]) -> Result<Self, String> {
        Self::new(request_text(path, host, headers, "HTTP/1.0", "")?)
    }

    /// Creates a GET request in HTTP/1.1, for a persistent connection.
    ///
    /// # Errors
    /// As [`Request::get`]; also fails for a `Connection` header, which the client sends itself.
    pub fn get_persistent(path: &str, host: &str, headers: &[String]) -> Result<Self, String> {
        if headers.iter().any(|header| is_named(header, "connection")) {
            return Err("header `Connection` cannot be set for persistent connections".to_owned());
        }
        let closing = request_text(path, host, headers, "HTTP/1.1", "Connection: close\r\n")?;
        let request = Self::new(request_text(path, host, headers, "HTTP/1.1", "")?)?;
        Ok(Self { closing: Some(closing), ..request })
    }

    /// Splits the request into fragments of nearly equal length, sent with a pause between them.
    ///
    /// # Errors
    /// Fails if `fragments` is 0 or more than the number of bytes.
    pub fn in_fragments(mut self, fragments: usize, pause: Duration) -> Result<Self, String> {
        let length = self.message_bytes.unwrap_or(self.bytes.len());
        if self.message_bytes.is_some() && fragments != 1 {
            return Err("a message cannot be sent in fragments".to_owned());
        } else if fragments == 0 || fragments > length {
            return Err(format!("a request of {length} bytes can have 1 to {length} fragments"));
        }
        self.ends = (1..=fragments).map(|nth| nth * length / fragments).collect();
        self.pause = pause;
        Ok(self)
    }

    /// Length of a message, in bytes; `None` for an HTTP request.
    pub fn message_bytes(&self) -> Option<usize> {
        self.message_bytes
    }

    /// The whole HTTP request.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// This request with `Connection: close`; `None` if the server closes after each response.
    pub fn closing(&self) -> Option<&[u8]> {
        self.closing.as_deref()
    }

    /// Returns true for HEAD, whose response has no body.
    pub fn is_head(&self) -> bool {
        self.bytes.starts_with(b"HEAD ")
    }

    /// Returns the number of fragments.
    pub fn fragments(&self) -> usize {
        self.ends.len()
    }

    /// Returns the pause between two fragments.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Returns the end offset of the fragment that contains `position`.
    pub(super) fn end_of_fragment(&self, position: usize) -> usize {
        let nth = self.ends.partition_point(|&end| end <= position);
        self.ends.get(nth).copied().unwrap_or(self.bytes.len())
    }
}

fn request_text(
    path: &str,
    host: &str,
    headers: &[String],
    version: &str,
    last_header: &str,
) -> Result<Vec<u8>, String> {
    if !path.starts_with('/') || path.contains(|it: char| it.is_whitespace() || it.is_control()) {
        return Err(format!(
            "invalid path `{path}`: it must start with / and have no spaces or control characters"
        ));
    }
    let mut text = format!("GET {path} {version}\r\n");
    if !headers.iter().any(|header| is_named(header, "host")) {
        let _ = write!(text, "Host: {host}\r\n");
    }
    for header in headers {
        check_header(header)?;
        let _ = write!(text, "{header}\r\n");
    }
    text.push_str(last_header);
    text.push_str("\r\n");
    Ok(text.into_bytes())
}

fn is_named(header: &str, name: &str) -> bool {
    header.split_once(':').is_some_and(|(it, _)| it.eq_ignore_ascii_case(name))
}

fn check_header(header: &str) -> Result<(), String> {
    let named = header.split_once(':').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
    });
    if !named || header.contains(['\r', '\n', '\0']) {
        return Err(format!("invalid header `{}`: expected `Name: value`", header.escape_debug()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_has_the_given_headers() {
        let headers = ["Accept: */*".to_owned(), "HOST: b".to_owned()];
        let bytes = |headers| Request::get("/a?b", "localhost:80", headers).unwrap().bytes;
        assert_eq!(bytes(&[]), b"GET /a?b HTTP/1.0\r\nHost: localhost:80\r\n\r\n");
        assert_eq!(bytes(&headers[..]), b"GET /a?b HTTP/1.0\r\nAccept: */*\r\nHOST: b\r\n\r\n");
    }

    #[test]
    fn persistent_request_has_a_closing_form() {
        let request = Request::get_persistent("/a", "b", &["C: d".to_owned()]).unwrap();
        assert_eq!(request.bytes(), b"GET /a HTTP/1.1\r\nHost: b\r\nC: d\r\n\r\n");
        let closing = b"GET /a HTTP/1.1\r\nHost: b\r\nC: d\r\nConnection: close\r\n\r\n";
        assert_eq!(request.closing(), Some(&closing[..]));
        let own = ["connection: close".to_owned()];
        assert!(Request::get_persistent("/", "b", &own).is_err());
        assert_eq!(Request::get("/", "b", &own).unwrap().closing(), None);
    }

    #[test]
    fn invalid_path_and_header_are_refused() {
        for path in ["", "a", "/ a", "/\r\n", "/\u{a0}"] {
            assert!(Request::get(path, "a", &[]).is_err(), "{path:?}");
        }
        for header in ["a", ": b", "a b: c", "a: b\r\nc: d", "a: b\n"] {
            assert!(Request::get("/", "a", &[header.to_owned()]).is_err(), "{header:?}");
        }
        assert!(Request::new(Vec::new()).is_err());
    }

    #[test]
    fn fragments_are_not_empty_and_cover_the_request() {
        let whole = Request::get("/", "a", &[]).unwrap();
        let length = whole.bytes.len();
        for fragments in 1..=length {
            let request = whole.clone().in_fragments(fragments, Duration::ZERO).unwrap();
            let (mut start, mut count) = (0, 0);
            while start < length {
                let end = request.end_of_fragment(start);
                assert!(end > start && request.end_of_fragment(end - 1) == end);
                (start, count) = (end, count + 1);
            }
            assert_eq!((start, count), (length, fragments));
        }
        assert!(whole.clone().in_fragments(0, Duration::ZERO).is_err());
        assert!(whole.in_fragments(length + 1, Duration::ZERO).is_err());
    }
}
