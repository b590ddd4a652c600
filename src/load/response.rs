//! The reference response: every response is compared with the first one, byte by byte.

use std::fmt;
use std::ops::Range;

use super::date;
use super::head::Head;

/// A response that every other one must equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    bytes: Vec<u8>,
    body_start: usize,
    status_line: Option<String>,
    /// Byte range of a `Date` value that may differ from response to response.
    date: Option<Range<usize>>,
    /// Set if the server closes the connection after it.
    announces_close: bool,
    /// On persistent connections: the response to a request with `Connection: close`.
    closing: Option<Box<Reference>>,
}

/// A response that cannot be a [`Reference`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceError {
    /// The connection ended before the first byte.
    NoBytes,
    /// Content-Length contradicts the length of the body.
    ContentLength {
        /// Content-Length, in bytes.
        declared: u64,
        /// Length of the body, in bytes.
        received: u64,
    },
    /// The body does not have the expected length.
    BodyLength {
        /// Expected length, in bytes.
        expected: u64,
        /// Length of the body, in bytes.
        received: u64,
    },
    /// It has a Transfer-Encoding, which this client does not decode.
    Chunked,
    /// It has no Content-Length, so only the end of the connection ends it.
    NoContentLength,
    /// The response to a request with `Connection: close` has a different body.
    ClosingBodyDiffers,
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBytes => formatter.write_str("the connection ended without a response"),
            Self::ContentLength { declared, received } => {
                write!(
                    formatter,
                    "Content-Length is {declared} bytes, but {received} were received"
                )
            }
            Self::BodyLength { expected, received } => {
                write!(formatter, "expected a body of {expected} bytes, but received {received}")
            }
            Self::Chunked => formatter.write_str(
                "the response has a Transfer-Encoding, which is not supported on persistent \
                 connections. Use a server that sends Content-Length, or --load churn.",
            ),
            Self::NoContentLength => formatter.write_str(
                "the response has no Content-Length, so it ends only with its connection. \
                 Use a server that sends Content-Length, or --load churn.",
            ),
            Self::ClosingBodyDiffers => formatter
                .write_str("the response to a request with `Connection: close` has another body"),
        }
    }
}

/// The first byte in which a response differs from the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Offset in the response.
    pub offset: usize,
    /// The byte of the reference; `None` if the reference ends before.
    pub expected: Option<u8>,
    /// The byte received.
    pub found: u8,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found.escape_ascii();
        write!(formatter, "byte {} is '{found}' instead of ", self.offset)?;
        match self.expected {
            Some(expected) => write!(formatter, "'{}'", expected.escape_ascii()),
            None => formatter.write_str("the end of the response"),
        }
    }
}

impl Reference {
    /// Creates a reference from a whole response.
    ///
    /// # Errors
    /// Fails if the response is empty, contradicts its Content-Length, or if its body does not
    /// have `expected_body_bytes`.
    pub fn new(bytes: Vec<u8>, expected_body_bytes: Option<u64>) -> Result<Self, ReferenceError> {
        if bytes.is_empty() {
            return Err(ReferenceError::NoBytes);
        }
        let head = Head::parse(&bytes);
        let received = (bytes.len() - head.length) as u64;
        if let Some(declared) = head.content_length
            && declared != received
        {
            return Err(ReferenceError::ContentLength { declared, received });
        }
        if let Some(expected) = expected_body_bytes
            && expected != received
        {
            return Err(ReferenceError::BodyLength { expected, received });
        }
        let announces_close = head.announces_close();
        let Head { length: body_start, status_line, date, .. } = head;
        Ok(Self { bytes, body_start, status_line, date, announces_close, closing: None })
    }

    /// Returns the length of the response that starts with `bytes`; `None` if its head is
    /// incomplete.
    ///
    /// # Errors
    /// Fails if the length cannot be read from the head.
    pub(super) fn response_length(bytes: &[u8]) -> Result<Option<usize>, ReferenceError> {
        let head = Head::parse(bytes);
        if head.length == 0 {
            // Bytes that are not HTTP have no head, so more of them do not help.
            let start = &bytes[..bytes.len().min(5)];
            let is_http = b"HTTP/".starts_with(start);
            return if is_http { Ok(None) } else { Err(ReferenceError::NoContentLength) };
        }
        match head.content_length {
            _ if head.is_chunked => Err(ReferenceError::Chunked),
            Some(body) => Ok(Some(head.length.saturating_add(body as usize))),
            None if head.has_no_body() => Ok(Some(head.length)),
            None => Err(ReferenceError::NoContentLength),
        }
    }

    /// Adds the response to a request with `Connection: close`.
    ///
    /// # Errors
    /// Fails if it has another body.
    pub(super) fn with_closing(mut self, closing: Self) -> Result<Self, ReferenceError> {
        if self.bytes[self.body_start..] != closing.bytes[closing.body_start..] {
            return Err(ReferenceError::ClosingBodyDiffers);
        }
        self.closing = Some(Box::new(closing));
        Ok(self)
    }

    /// On persistent connections: the response to a request with `Connection: close`.
    pub(super) fn closing(&self) -> Option<&Self> {
        self.closing.as_deref()
    }

    /// Returns the reference for a response with or without `Connection: close`.
    pub(super) fn expected(&self, is_closing: bool) -> &Self {
        if is_closing { self.closing().unwrap_or(self) } else { self }
    }

    /// Returns true if the server closes the connection after this response: with
    /// `Connection: close`, or in HTTP/1.0 without `Connection: keep-alive`.
    pub fn announces_close(&self) -> bool {
        self.announces_close
    }

    /// The whole response.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Length of the body; without an HTTP head, of the whole response.
    pub fn body_bytes(&self) -> usize {
        self.bytes.len() - self.body_start
    }

    /// The status line, such as `HTTP/1.1 200 OK`; `None` without an HTTP head.
    pub fn status_line(&self) -> Option<&str> {
        self.status_line.as_deref()
    }

    /// Returns true for a 2xx status; `None` without an HTTP head.
    pub fn is_success(&self) -> Option<bool> {
        self.status_line.as_ref().map(|line| line.split(' ').nth(1).is_some_and(is_success))
    }

    /// Returns true if the value of `Date` is a time stamp, which may differ between responses.
    pub fn date_may_differ(&self) -> bool {
        self.date.is_some()
    }

    /// Compares the next bytes of a response, of which `matched` bytes were equal so far. Returns
    /// the new number of equal bytes.
    pub(super) fn check(&self, matched: usize, bytes: &[u8]) -> Result<usize, Mismatch> {
        let end = matched + bytes.len();
        if let Some(expected) = self.bytes.get(matched..end)
            && expected == bytes
        {
            return Ok(end);
        }
        self.check_bytewise(matched, bytes)
    }

    /// Finds the byte that differs, or accepts a different date.
    #[cold]
    fn check_bytewise(&self, matched: usize, bytes: &[u8]) -> Result<usize, Mismatch> {
        for (offset, &found) in (matched..).zip(bytes) {
            let expected = self.bytes.get(offset).copied();
            if expected == Some(found) {
                continue;
            }
            match &self.date {
                Some(date)
                    if date.contains(&offset) && date::is_valid_at(offset - date.start, found) => {}
                _ => return Err(Mismatch { offset, expected, found }),
            }
        }
        Ok(matched + bytes.len())
    }
}

fn is_success(status: &str) -> bool {
    status.len() == 3 && status.starts_with('2')
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 14:04:17 GMT\r\n\
        Content-Length: 5\r\n\r\nhello";

    fn reference() -> Reference {
        Reference::new(RESPONSE.to_vec(), Some(5)).unwrap()
    }

    #[test]
    fn head_is_parsed() {
        let reference = reference();
        assert_eq!(reference.status_line(), Some("HTTP/1.1 200 OK"));
        assert_eq!(reference.is_success(), Some(true));
        assert_eq!(reference.body_bytes(), 5);
        assert!(reference.date_may_differ());
    }

    #[test]
    fn response_with_contradictory_length_is_rejected() {
        let split = RESPONSE[..RESPONSE.len() - 1].to_vec();
        let error = ReferenceError::ContentLength { declared: 5, received: 4 };
        assert_eq!(Reference::new(split, None), Err(error));
        let error = ReferenceError::BodyLength { expected: 6, received: 5 };
        assert_eq!(Reference::new(RESPONSE.to_vec(), Some(6)), Err(error));
        assert_eq!(Reference::new(Vec::new(), None), Err(ReferenceError::NoBytes));
    }

    #[test]
    fn response_length_is_read_from_head() {
        for length in 0..=RESPONSE.len() {
            let head = RESPONSE.len() - 5;
            let known = (length >= head).then_some(RESPONSE.len());
            assert_eq!(Reference::response_length(&RESPONSE[..length]), Ok(known), "{length}");
        }
        for (response, length) in [
            (
                &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
                Err(ReferenceError::Chunked),
            ),
            (b"HTTP/1.1 200 OK\r\n\r\n", Err(ReferenceError::NoContentLength)),
            (b"HTTP/1.1 204 No Content\r\n\r\n", Ok(Some(27))),
            (b"hello", Err(ReferenceError::NoContentLength)),
        ] {
            assert_eq!(Reference::response_length(response), length);
        }
    }

    #[test]
    fn announced_close_is_recognized() {
        for (head, announces_end) in [
            ("HTTP/1.1 200 OK", false),
            ("HTTP/1.1 200 OK\r\nConnection: close", true),
            ("HTTP/1.1 200 OK\r\nCONNECTION: a, Close", true),
            ("HTTP/1.0 200 OK", true),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive", false),
        ] {
            let response = format!("{head}\r\nContent-Length: 0\r\n\r\n").into_bytes();
            let reference = Reference::new(response, None).unwrap();
            assert_eq!(reference.announces_close(), announces_end, "{head}");
        }
        let other = Reference::new(b"HTTP/1.1 200 OK\r\n\r\nother".to_vec(), None).unwrap();
        assert_eq!(reference().with_closing(other), Err(ReferenceError::ClosingBodyDiffers));
    }

    #[test]
    fn response_without_http_head_is_all_body() {
        for response in [&b"hello"[..], b"HTTP/1.0 200 OK\r\nA: b", b"\n\n"] {
            let reference = Reference::new(response.to_vec(), None).unwrap();
            assert_eq!((reference.body_bytes(), reference.status_line()), (response.len(), None));
            assert_eq!(reference.is_success(), None);
        }
    }

    #[test]
    fn success_needs_status_2xx() {
        for (line, success) in [("HTTP/1.0 404 Not Found", false), ("HTTP/1.0 204", true)] {
            let response = format!("{line}\r\n\r\n").into_bytes();
            assert_eq!(Reference::new(response, None).unwrap().is_success(), Some(success));
        }
    }

    #[test]
    fn every_wrong_byte_is_found_however_the_response_is_split() {
        let reference = reference();
        for wrong in 0..RESPONSE.len() {
            let mut response = RESPONSE.to_vec();
            response[wrong] = 0x1f;
            let expected = Some(RESPONSE[wrong]);
            let mismatch = Err(Mismatch { offset: wrong, expected, found: 0x1f });
            for split in 0..=response.len() {
                let first = reference.check(0, &response[..split]);
                let both = first.and_then(|matched| reference.check(matched, &response[split..]));
                assert_eq!(both, mismatch, "split at {split}");
            }
        }
    }

    #[test]
    fn extra_byte_is_found() {
        let mismatch = Err(Mismatch { offset: RESPONSE.len(), expected: None, found: b'!' });
        assert_eq!(reference().check(RESPONSE.len(), b"!"), mismatch);
        let longer = [RESPONSE, b"!"].concat();
        assert_eq!(reference().check(0, &longer), mismatch);
    }

    #[test]
    fn only_a_standard_date_may_differ() {
        let later = b"Date: Tue, 01 Dec 2026 09:59:58 GMT\r\n";
        let mut response = RESPONSE.to_vec();
        response[17..17 + later.len()].copy_from_slice(later);
        for split in 0..=response.len() {
            let matched = reference().check(0, &response[..split]).unwrap();
            assert_eq!(reference().check(matched, &response[split..]), Ok(response.len()));
        }
        // The day has one digit, so this is no date of RFC 9110.
        let fixed = b"HTTP/1.0 200 OK\r\nDate: Mon, 1 Jan 1996 01:01:01 GMT\r\n\r\n".to_vec();
        let reference = Reference::new(fixed.clone(), None).unwrap();
        let mut response = fixed;
        response[45] = b'2';
        assert!(reference.check(0, &response).is_err());
    }
}
