//! What is asked, and in how many pieces.

use std::fmt::Write;
use std::time::Duration;

/// A request that is sent whole or in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    bytes: Vec<u8>,
    /// Where each piece ends; the last one ends where the request does.
    ends: Vec<usize>,
    pause: Duration,
    /// The same request, which asks for the end of its connection, if that would not end without.
    closing: Option<Vec<u8>>,
}

impl Request {
    /// A request of these bytes, sent whole.
    ///
    /// # Errors
    /// When there are none: no answer can be waited for then.
    pub fn new(bytes: Vec<u8>) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("a request must not be empty".to_owned());
        }
        let ends = vec![bytes.len()];
        Ok(Self { bytes, ends, pause: Duration::ZERO, closing: None })
    }

    /// `GET`, in HTTP/1.0: whoever answers closes the connection. A header in `headers` is
    /// `Name: value`, and one named `Host` takes the place of `host`.
    ///
    /// # Errors
    /// When the path or a header would break the request.
    pub fn get(path: &str, host: &str, headers: &[String]) -> Result<Self, String> {
        Self::new(text(path, host, headers, "HTTP/1.0", "")?)
    }

    /// `GET`, in HTTP/1.1, on a connection that persists.
    ///
    /// # Errors
    /// As [`Request::get`]; and when a header is `Connection`, which is the load's own.
    pub fn get_persistent(path: &str, host: &str, headers: &[String]) -> Result<Self, String> {
        if headers.iter().any(|header| is_named(header, "connection")) {
            return Err("on connections that persist `Connection` is not to be given".to_owned());
        }
        let closing = text(path, host, headers, "HTTP/1.1", "Connection: close\r\n")?;
        let request = Self::new(text(path, host, headers, "HTTP/1.1", "")?)?;
        Ok(Self { closing: Some(closing), ..request })
    }

    /// The same in so many pieces of nearly the same length, with a pause between two.
    ///
    /// # Errors
    /// When there are no pieces, or more of them than bytes.
    pub fn in_fragments(mut self, fragments: usize, pause: Duration) -> Result<Self, String> {
        let length = self.bytes.len();
        if fragments == 0 || fragments > length {
            return Err(format!("a request of {length} bytes has 1 to {length} fragments"));
        }
        self.ends = (1..=fragments).map(|nth| nth * length / fragments).collect();
        self.pause = pause;
        Ok(self)
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What asks for the end of the connection as well; `None` where every connection ends.
    pub fn closing(&self) -> Option<&[u8]> {
        self.closing.as_deref()
    }

    /// In how many pieces it is sent.
    pub fn fragments(&self) -> usize {
        self.ends.len()
    }

    /// How long after one piece the next one is sent.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Where the piece ends of which the byte at `position` is a part.
    pub(super) fn end_of_fragment(&self, position: usize) -> usize {
        let nth = self.ends.partition_point(|&end| end <= position);
        self.ends.get(nth).copied().unwrap_or(self.bytes.len())
    }
}

fn text(
    path: &str,
    host: &str,
    headers: &[String],
    version: &str,
    last_header: &str,
) -> Result<Vec<u8>, String> {
    if !path.starts_with('/') || path.contains(|it: char| it.is_whitespace() || it.is_control()) {
        return Err(format!("`{path}` is no path: it starts with / and has no spaces"));
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
        return Err(format!("`{}` is no header: `Name: value` is", header.escape_debug()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_headers_it_is_given() {
        let headers = ["Accept: */*".to_owned(), "HOST: b".to_owned()];
        let bytes = |headers| Request::get("/a?b", "localhost:80", headers).unwrap().bytes;
        assert_eq!(bytes(&[]), b"GET /a?b HTTP/1.0\r\nHost: localhost:80\r\n\r\n");
        assert_eq!(bytes(&headers[..]), b"GET /a?b HTTP/1.0\r\nAccept: */*\r\nHOST: b\r\n\r\n");
    }

    #[test]
    fn a_persistent_request_can_end_its_connection() {
        let request = Request::get_persistent("/a", "b", &["C: d".to_owned()]).unwrap();
        assert_eq!(request.bytes(), b"GET /a HTTP/1.1\r\nHost: b\r\nC: d\r\n\r\n");
        let closing = b"GET /a HTTP/1.1\r\nHost: b\r\nC: d\r\nConnection: close\r\n\r\n";
        assert_eq!(request.closing(), Some(&closing[..]));
        let own = ["connection: close".to_owned()];
        assert!(Request::get_persistent("/", "b", &own).is_err());
        assert_eq!(Request::get("/", "b", &own).unwrap().closing(), None);
    }

    #[test]
    fn what_would_break_a_request_is_refused() {
        for path in ["", "a", "/ a", "/\r\n", "/\u{a0}"] {
            assert!(Request::get(path, "a", &[]).is_err(), "{path:?}");
        }
        for header in ["a", ": b", "a b: c", "a: b\r\nc: d", "a: b\n"] {
            assert!(Request::get("/", "a", &[header.to_owned()]).is_err(), "{header:?}");
        }
        assert!(Request::new(Vec::new()).is_err());
    }

    #[test]
    fn fragments_cover_the_request_and_none_is_empty() {
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
