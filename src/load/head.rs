//! The head of an HTTP response.

use std::ops::Range;

use super::date;

/// The parsed head of a response. A response that is not HTTP consists of a body only.
#[derive(Default)]
pub(super) struct Head {
    /// Length up to the body; 0 if the head is incomplete or not HTTP.
    pub(super) length: usize,
    pub(super) status_line: Option<String>,
    pub(super) content_length: Option<u64>,
    pub(super) is_chunked: bool,
    /// True for `Connection: close`, false for `Connection: keep-alive`.
    closes: Option<bool>,
    /// Byte range of a `Date` value in the form of RFC 9110.
    pub(super) date: Option<Range<usize>>,
}

impl Head {
    /// Returns true if the server closes the connection after the response.
    pub(super) fn announces_close(&self) -> bool {
        let is_old = self.status_line.as_ref().is_some_and(|line| line.starts_with("HTTP/1.0"));
        self.closes.unwrap_or(is_old || self.status_line.is_none())
    }

    /// Responses with status 204 and 304 have no body (RFC 9112, section 6.3).
    pub(super) fn has_no_body(&self) -> bool {
        let status = self.status_line.as_ref().and_then(|line| line.split(' ').nth(1));
        matches!(status, Some("204" | "304"))
    }

    /// Parses the head of the response that starts with `bytes`.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut head = Self::default();
        if !bytes.starts_with(b"HTTP/") {
            return head;
        }
        let mut start = 0;
        while let Some(length) = bytes[start..].iter().position(|&byte| byte == b'\n') {
            let line = bytes[start..start + length].trim_ascii_end();
            if line.is_empty() {
                head.length = start + length + 1;
                return head;
            }
            head.parse_line(line, start);
            start += length + 1;
        }
        Self::default()
    }

    fn parse_line(&mut self, line: &[u8], start: usize) {
        if start == 0 {
            self.status_line = Some(line.escape_ascii().to_string());
            return;
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            self.content_length = str::from_utf8(value).ok().and_then(|value| value.parse().ok());
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"connection") {
            let has = |token: &[u8]| {
                let mut tokens = value.split(|&byte| byte == b',');
                tokens.any(|it| it.trim_ascii().eq_ignore_ascii_case(token))
            };
            self.closes = has(b"close").then_some(true).or(has(b"keep-alive").then_some(false));
        } else if name.eq_ignore_ascii_case(b"date") && date::is_http_date(value) {
            let end = start + line.len();
            self.date = Some(end - value.len()..end);
        }
    }
}
