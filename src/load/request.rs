//! Requests and their fragments; messages.

use std::fmt::Write;
use std::time::Duration;

use super::message::{Direction, MAX_MESSAGE_BYTES};
use super::message_text::MessageText;

/// An HTTP request, sent at once or in fragments; or a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    bytes: Vec<u8>,
    /// The end offset of each fragment; of the head and of the body if the request waits for
    /// 100 Continue.
    ends: Vec<usize>,
    pause: Duration,
    /// This request with `Connection: close`, for persistent connections.
    closing: Option<Vec<u8>>,
    /// Length of the body at the end of `bytes`.
    body_bytes: usize,
    /// Set if the body is sent after 100 Continue.
    expects_continue: bool,
    /// Length of a message, whose bytes each connection determines.
    message_bytes: Option<usize>,
    /// The direction of a stream of messages.
    stream: Option<Direction>,
    /// Set for a request of another protocol, whose response is always the same.
    is_text: bool,
}

/// The parts of an HTTP request.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// The method, such as `GET`.
    pub method: &'a str,
    /// The path.
    pub path: &'a str,
    /// The value of `Host`, unless a header names it.
    pub host: &'a str,
    /// Headers, each as `Name: value`.
    pub headers: &'a [String],
    /// The body, if any.
    pub body: &'a [u8],
    /// True if the body is sent after the server has agreed to that (`Expect: 100-continue`).
    pub expects_continue: bool,
}

/// Methods whose requests have a body, so that one without it has the length 0 (RFC 9110, section
/// 8.6).
const METHODS_WITH_BODY: [&str; 3] = ["POST", "PUT", "PATCH"];

/// Header fields that the client sets itself, and the flag that does.
const OWN_FIELDS: [(&str, &str); 3] = [
    ("Content-Length", "--body"),
    ("Transfer-Encoding", "--body"),
    ("Expect", "--expect-continue"),
];

impl Request {
    /// Creates a request of these bytes, sent at once.
    ///
    /// # Errors
    /// Fails if `bytes` is empty.
    pub fn new(bytes: Vec<u8>) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("a request must not be empty".to_owned());
        }
        Ok(Self { ends: vec![bytes.len()], ..Self::of(bytes) })
    }

    fn of(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            ends: Vec::new(),
            pause: Duration::ZERO,
            closing: None,
            body_bytes: 0,
            expects_continue: false,
            message_bytes: None,
            stream: None,
            is_text: false,
        }
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
        Ok(Self { ends: vec![bytes], message_bytes: Some(bytes), ..Self::of(Vec::new()) })
    }

    /// Creates a message of this length in a stream of them, for a discard, chargen or echo server
    /// on persistent connections.
    ///
    /// # Errors
    /// As [`Request::message`].
    pub fn stream(bytes: usize, direction: Direction) -> Result<Self, String> {
        Ok(Self { stream: Some(direction), ..Self::message(bytes)? })
    }

    /// Creates a request of another protocol than HTTP, whose response is always the same.
    pub fn text(message: &MessageText) -> Self {
        let bytes = message.bytes().to_vec();
        Self { ends: vec![bytes.len()], is_text: true, ..Self::of(bytes) }
    }

    /// Returns true for a request made by [`Request::text`].
    pub fn is_text(&self) -> bool {
        self.is_text
    }

    /// Returns true if the request is in HTTP.
    pub fn is_http(&self) -> bool {
        self.message_bytes.is_none() && !self.is_text
    }

    /// The direction of a stream of messages; `None` for other requests.
    pub fn direction(&self) -> Option<Direction> {
        self.stream
    }

    /// Creates a request in HTTP/1.0, after which the server closes the connection. A `Host` header
    /// replaces `host`. With `expects_continue`, it is one in HTTP/1.1 with `Connection: close`,
    /// since servers ignore `Expect` in HTTP/1.0 (RFC 9110, section 10.1.1).
    ///
    /// # Errors
    /// Fails if the method, the path or a header is not valid in a request.
    pub fn http(parts: &RequestParts<'_>) -> Result<Self, String> {
        if !parts.expects_continue {
            return Self::with_parts(request_text(parts, "HTTP/1.0", "")?, parts);
        }
        let is_named = parts.headers.iter().any(|header| is_named(header, "connection"));
        let last_header = if is_named { "" } else { "Connection: close\r\n" };
        Self::with_parts(request_text(parts, "HTTP/1.1", last_header)?, parts)
    }

    /// Creates a request in HTTP/1.1, for a persistent connection.
    ///
    /// # Errors
    /// As [`Request::http`]; also fails for a `Connection` header, which the client sends itself.
    pub fn http_persistent(parts: &RequestParts<'_>) -> Result<Self, String> {
        if parts.headers.iter().any(|header| is_named(header, "connection")) {
            return Err("header `Connection` cannot be set for persistent connections".to_owned());
        }
        let closing = request_text(parts, "HTTP/1.1", "Connection: close\r\n")?;
        let request = Self::with_parts(request_text(parts, "HTTP/1.1", "")?, parts)?;
        Ok(Self { closing: Some(closing), ..request })
    }

    /// Creates a GET request as [`Request::http`].
    ///
    /// # Errors
    /// As [`Request::http`].
    pub fn get(path: &str, host: &str, headers: &[String]) -> Result<Self, String> {
        Self::http(&RequestParts::get(path, host, headers))
    }

    /// Creates a GET request as [`Request::http_persistent`].
    ///
    /// # Errors
    /// As [`Request::http_persistent`].
    pub fn get_persistent(path: &str, host: &str, headers: &[String]) -> Result<Self, String> {
        Self::http_persistent(&RequestParts::get(path, host, headers))
    }

    fn with_parts(bytes: Vec<u8>, parts: &RequestParts<'_>) -> Result<Self, String> {
        let (length, body_bytes) = (bytes.len(), parts.body.len());
        let mut request = Self { body_bytes, ..Self::new(bytes)? };
        if parts.waits() {
            request.expects_continue = true;
            request.ends = vec![length - body_bytes, length];
        }
        Ok(request)
    }

    /// Splits the request into fragments of nearly equal length, sent with a pause between them.
    ///
    /// # Errors
    /// Fails if `fragments` is 0 or more than the number of bytes.
    pub fn in_fragments(mut self, fragments: usize, pause: Duration) -> Result<Self, String> {
        let length = self.message_bytes.unwrap_or(self.bytes.len());
        if self.message_bytes.is_some() && fragments != 1 {
            return Err("a message cannot be sent in fragments".to_owned());
        } else if self.expects_continue && fragments != 1 {
            return Err("--fragments cannot be used with --expect-continue".to_owned());
        } else if self.expects_continue {
            return Ok(self);
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

    /// The method and the path of an HTTP request, or the text of another one.
    pub fn line(&self) -> String {
        if self.is_text {
            return self.bytes.escape_ascii().to_string();
        }
        let mut words = self.bytes.split(|&byte| byte == b' ');
        let mut word = || words.next().unwrap_or(&[]).escape_ascii().to_string();
        format!("{} {}", word(), word())
    }

    /// Length of the body, in bytes.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Returns true if the body is sent after 100 Continue.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// Returns the number of fragments.
    pub fn fragments(&self) -> usize {
        if self.expects_continue { 1 } else { self.ends.len() }
    }

    /// Returns true if one part of the request is sent after another.
    pub(super) fn is_sent_in_parts(&self) -> bool {
        self.ends.len() > 1
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

impl<'a> RequestParts<'a> {
    /// A GET request without a body.
    pub fn get(path: &'a str, host: &'a str, headers: &'a [String]) -> Self {
        Self { method: "GET", path, host, headers, body: &[], expects_continue: false }
    }

    /// Returns true if there is a body, and it waits for 100 Continue.
    fn waits(&self) -> bool {
        self.expects_continue && !self.body.is_empty()
    }
}

fn request_text(
    parts: &RequestParts<'_>,
    version: &str,
    last_header: &str,
) -> Result<Vec<u8>, String> {
    let RequestParts { method, path, host, headers, body, .. } = *parts;
    check_method(method)?;
    if !path.starts_with('/') || path.contains(|it: char| it.is_whitespace() || it.is_control()) {
        return Err(format!(
            "invalid path `{path}`: it must start with / and have no spaces or control characters"
        ));
    }
    let mut text = format!("{method} {path} {version}\r\n");
    if !headers.iter().any(|header| is_named(header, "host")) {
        let _ = write!(text, "Host: {host}\r\n");
    }
    for header in headers {
        check_header(header)?;
        let _ = write!(text, "{header}\r\n");
    }
    if !body.is_empty() || METHODS_WITH_BODY.contains(&method) {
        let _ = write!(text, "Content-Length: {}\r\n", body.len());
    }
    if parts.waits() {
        text.push_str("Expect: 100-continue\r\n");
    }
    text.push_str(last_header);
    text.push_str("\r\n");
    Ok([text.as_bytes(), body].concat())
}

fn check_method(method: &str) -> Result<(), String> {
    // A token (RFC 9110, section 5.6.2).
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if method.is_empty() || !method.bytes().all(is_token) {
        let method = method.escape_debug();
        return Err(format!("invalid method `{method}`: expected a name such as GET or POST"));
    } else if method == "CONNECT" {
        return Err(
            "method CONNECT opens a tunnel and has no response to verify. Use the load of \
                    the protocol in it, without a proxy."
                .to_owned(),
        );
    }
    Ok(())
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
    if let Some((name, flag)) = OWN_FIELDS.iter().find(|(name, _)| is_named(header, name)) {
        return Err(format!("header `{name}` cannot be set: {flag} sends it"));
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
    fn body_has_a_length_and_can_wait_for_continue() {
        let parts =
            RequestParts { method: "PUT", body: b"hello", ..RequestParts::get("/", "a", &[]) };
        let text = |request: &Request| String::from_utf8(request.bytes.clone()).unwrap();
        let plain = Request::http(&parts).unwrap();
        let head = "PUT / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n";
        assert_eq!(text(&plain), format!("{head}\r\nhello"));
        assert_eq!((plain.line(), plain.body_bytes()), ("PUT /".to_owned(), 5));
        assert!(!plain.is_sent_in_parts());
        let waiting = RequestParts { expects_continue: true, ..parts };
        let request = Request::http(&waiting).unwrap();
        let last = "Expect: 100-continue\r\nConnection: close\r\n\r\nhello";
        assert_eq!(text(&request), head.replace("1.0", "1.1") + last);
        assert_eq!(request.end_of_fragment(0), text(&request).len() - 5);
        assert_eq!((request.fragments(), request.is_sent_in_parts()), (1, true));
        assert!(request.clone().in_fragments(2, Duration::ZERO).is_err());
        assert_eq!(request.clone().in_fragments(1, Duration::ZERO), Ok(request));
        let persistent = Request::http_persistent(&waiting).unwrap();
        assert!(!text(&persistent).contains("Connection") && persistent.closing().is_some());
        let empty = Request::http(&RequestParts { body: &[], ..waiting }).unwrap();
        assert!(text(&empty).contains("Content-Length: 0") && !empty.expects_continue());
    }

    #[test]
    fn methods_that_have_no_response_to_verify_are_refused() {
        for method in ["", "CONNECT", "G ET", "GET\r\n", "GÉT"] {
            let parts = RequestParts { method, ..RequestParts::get("/", "a", &[]) };
            assert!(Request::http(&parts).is_err(), "{method:?}");
        }
    }

    #[test]
    fn invalid_path_and_header_are_refused() {
        for path in ["", "a", "/ a", "/\r\n", "/\u{a0}"] {
            assert!(Request::get(path, "a", &[]).is_err(), "{path:?}");
        }
        for header in [
            "a",
            ": b",
            "a b: c",
            "a: b\r\nc: d",
            "a: b\n",
            "content-length: 5",
            "Transfer-Encoding: chunked",
            "Expect: 100-continue",
        ] {
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
