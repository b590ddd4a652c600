//! What the head of an answer says of it.

use std::ops::Range;

use super::date;

/// What the head of an HTTP answer says. Anything that is not HTTP is all body.
#[derive(Default)]
pub(super) struct Head {
    /// Where the body begins; 0 without a whole head.
    pub(super) length: usize,
    pub(super) status_line: Option<String>,
    pub(super) content_length: Option<u64>,
    pub(super) is_chunked: bool,
    /// Whether `Connection` says so; `None` if it says neither.
    closes: Option<bool>,
    /// Where the value of a `Date` stands that follows the clock.
    pub(super) date: Option<Range<usize>>,
}

impl Head {
    /// Whether nothing follows on its connection.
    pub(super) fn announces_end(&self) -> bool {
        let is_old = self.status_line.as_ref().is_some_and(|line| line.starts_with("HTTP/1.0"));
        self.closes.unwrap_or(is_old || self.status_line.is_none())
    }

    /// 204 and 304 have none, whatever else they say.
    pub(super) fn has_no_body(&self) -> bool {
        let status = self.status_line.as_ref().and_then(|line| line.split(' ').nth(1));
        matches!(status, Some("204" | "304"))
    }

    /// Of the answer that begins with these bytes.
    pub(super) fn of(answer: &[u8]) -> Self {
        let mut head = Self::default();
        if !answer.starts_with(b"HTTP/") {
            return head;
        }
        let mut start = 0;
        while let Some(length) = answer[start..].iter().position(|&byte| byte == b'\n') {
            let line = answer[start..start + length].trim_ascii_end();
            if line.is_empty() {
                head.length = start + length + 1;
                return head;
            }
            head.take_line(line, start);
            start += length + 1;
        }
        Self::default()
    }

    fn take_line(&mut self, line: &[u8], start: usize) {
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
        } else if name.eq_ignore_ascii_case(b"date") && date::is_of_the_clock(value) {
            let end = start + line.len();
            self.date = Some(end - value.len()..end);
        }
    }
}
