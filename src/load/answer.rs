//! What every answer must be: learned from one, then held against all others, byte by byte.

use std::fmt;
use std::ops::Range;

use super::date;
use super::head::Head;

/// An answer that is known to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    bytes: Vec<u8>,
    body_start: usize,
    status_line: Option<String>,
    /// Where the value of a `Date` header stands that follows the clock.
    date: Option<Range<usize>>,
    /// Whether it says that nothing follows on its connection.
    announces_end: bool,
    /// On connections that persist: the same answer as the last one of its connection.
    last: Option<Box<Reference>>,
}

/// Why an answer cannot be what all others are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The connection ended without a byte.
    Empty,
    /// Its head promises another length than came.
    ContentLength {
        /// What the head says, in bytes.
        promised: u64,
        /// What came, in bytes.
        came: u64,
    },
    /// The body is not as long as was expected.
    BodyLength {
        /// What was expected, in bytes.
        expected: u64,
        /// What came, in bytes.
        came: u64,
    },
    /// It comes in chunks, and where it ends is not known before.
    Chunked,
    /// Its head does not say how long it is.
    NoLength,
    /// As the last answer of a connection it has another body.
    OtherLastBody,
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("the connection ended without an answer"),
            Self::ContentLength { promised, came } => {
                write!(formatter, "its Content-Length says {promised} bytes, but {came} came")
            }
            Self::BodyLength { expected, came } => {
                write!(formatter, "a body of {expected} bytes was expected, but {came} came")
            }
            Self::Chunked => formatter.write_str(
                "the answer is chunked (Transfer-Encoding), which this load does not read; a \
                 server that sends Content-Length is needed, or one connection a request (--load churn)",
            ),
            Self::NoLength => formatter.write_str(
                "the answer has no Content-Length, so that only the end of its connection ends \
                 it; one connection a request can be asked of this server (--load churn)",
            ),
            Self::OtherLastBody => {
                formatter.write_str("with `Connection: close` it is answered with another body")
            }
        }
    }
}

/// Where an answer differs from what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which byte of the answer, the first being 0.
    pub at: usize,
    /// What should have stood there; `None` if the answer should have ended before.
    pub expected: Option<u8>,
    /// What stands there.
    pub found: u8,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found.escape_ascii();
        write!(formatter, "byte {} is '{found}' instead of ", self.at)?;
        match self.expected {
            Some(expected) => write!(formatter, "'{}'", expected.escape_ascii()),
            None => formatter.write_str("the end"),
        }
    }
}

impl Reference {
    /// Takes a whole answer, up to the end of its connection, as the right one.
    ///
    /// # Errors
    /// When it contradicts itself, or is not as long as `expected_body_bytes`.
    pub fn learn(bytes: Vec<u8>, expected_body_bytes: Option<u64>) -> Result<Self, Unfit> {
        if bytes.is_empty() {
            return Err(Unfit::Empty);
        }
        let head = Head::of(&bytes);
        let came = (bytes.len() - head.length) as u64;
        if let Some(promised) = head.content_length
            && promised != came
        {
            return Err(Unfit::ContentLength { promised, came });
        }
        if let Some(expected) = expected_body_bytes
            && expected != came
        {
            return Err(Unfit::BodyLength { expected, came });
        }
        let announces_end = head.announces_end();
        let Head { length: body_start, status_line, date, .. } = head;
        Ok(Self { bytes, body_start, status_line, date, announces_end, last: None })
    }

    /// How long the answer is that begins with these bytes, if its head has come.
    ///
    /// # Errors
    /// When only the end of its connection would end it.
    pub(super) fn length_of(bytes: &[u8]) -> Result<Option<usize>, Unfit> {
        let head = Head::of(bytes);
        if head.length == 0 {
            // What cannot become HTTP never has a head.
            let start = &bytes[..bytes.len().min(5)];
            return if b"HTTP/".starts_with(start) { Ok(None) } else { Err(Unfit::NoLength) };
        }
        match head.content_length {
            _ if head.is_chunked => Err(Unfit::Chunked),
            Some(body) => Ok(Some(head.length.saturating_add(body as usize))),
            None if head.has_no_body() => Ok(Some(head.length)),
            None => Err(Unfit::NoLength),
        }
    }

    /// The same, which also knows what it looks like as the last one of a connection.
    ///
    /// # Errors
    /// When that one has another body.
    pub(super) fn with_last(mut self, last: Self) -> Result<Self, Unfit> {
        if self.bytes[self.body_start..] != last.bytes[last.body_start..] {
            return Err(Unfit::OtherLastBody);
        }
        self.last = Some(Box::new(last));
        Ok(self)
    }

    /// On connections that persist: the answer that says that no other follows.
    pub(super) fn last(&self) -> Option<&Self> {
        self.last.as_deref()
    }

    /// The usual answer, or the last one.
    pub(super) fn form(&self, is_last: bool) -> &Self {
        if is_last { self.last().unwrap_or(self) } else { self }
    }

    /// Whether it says that nothing follows on its connection: with `Connection: close`, or in
    /// HTTP/1.0 without `Connection: keep-alive`.
    pub fn announces_end(&self) -> bool {
        self.announces_end
    }

    /// The answer.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How long its body is; without an HTTP head, all of it.
    pub fn body_bytes(&self) -> usize {
        self.bytes.len() - self.body_start
    }

    /// The first line of its HTTP head.
    pub fn status_line(&self) -> Option<&str> {
        self.status_line.as_deref()
    }

    /// Whether the status says that the request succeeded; `None` without an HTTP head.
    pub fn is_success(&self) -> Option<bool> {
        self.status_line.as_ref().map(|line| line.split(' ').nth(1).is_some_and(is_success))
    }

    /// Whether its `Date` header follows the clock, and so may differ from answer to answer.
    pub fn has_moving_date(&self) -> bool {
        self.date.is_some()
    }

    /// Holds the next piece of an answer, of which `matched` bytes have been right, against what
    /// must stand there. Returns how many bytes are right now.
    pub(super) fn check(&self, matched: usize, piece: &[u8]) -> Result<usize, Mismatch> {
        let end = matched + piece.len();
        if let Some(expected) = self.bytes.get(matched..end)
            && expected == piece
        {
            return Ok(end);
        }
        self.check_slowly(matched, piece)
    }

    /// Byte by byte: something differs, if only the date.
    #[cold]
    fn check_slowly(&self, matched: usize, piece: &[u8]) -> Result<usize, Mismatch> {
        for (at, &found) in (matched..).zip(piece) {
            let expected = self.bytes.get(at).copied();
            if expected == Some(found) {
                continue;
            }
            match &self.date {
                Some(date) if date.contains(&at) && date::fits(at - date.start, found) => {}
                _ => return Err(Mismatch { at, expected, found }),
            }
        }
        Ok(matched + piece.len())
    }
}

fn is_success(status: &str) -> bool {
    status.len() == 3 && status.starts_with('2')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 14:04:17 GMT\r\n\
        Content-Length: 5\r\n\r\nhello";

    fn reference() -> Reference {
        Reference::learn(ANSWER.to_vec(), Some(5)).unwrap()
    }

    #[test]
    fn what_the_head_says_is_understood() {
        let reference = reference();
        assert_eq!(reference.status_line(), Some("HTTP/1.1 200 OK"));
        assert_eq!(reference.is_success(), Some(true));
        assert_eq!(reference.body_bytes(), 5);
        assert!(reference.has_moving_date());
    }

    #[test]
    fn an_answer_that_contradicts_itself_is_no_reference() {
        let cut = ANSWER[..ANSWER.len() - 1].to_vec();
        let unfit = Unfit::ContentLength { promised: 5, came: 4 };
        assert_eq!(Reference::learn(cut, None), Err(unfit));
        let unfit = Unfit::BodyLength { expected: 6, came: 5 };
        assert_eq!(Reference::learn(ANSWER.to_vec(), Some(6)), Err(unfit));
        assert_eq!(Reference::learn(Vec::new(), None), Err(Unfit::Empty));
    }

    #[test]
    fn where_an_answer_ends_is_read_from_its_head() {
        for length in 0..=ANSWER.len() {
            let head = ANSWER.len() - 5;
            let told = (length >= head).then_some(ANSWER.len());
            assert_eq!(Reference::length_of(&ANSWER[..length]), Ok(told), "{length}");
        }
        for (answer, length) in [
            (&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..], Err(Unfit::Chunked)),
            (b"HTTP/1.1 200 OK\r\n\r\n", Err(Unfit::NoLength)),
            (b"HTTP/1.1 204 No Content\r\n\r\n", Ok(Some(27))),
            (b"hello", Err(Unfit::NoLength)),
        ] {
            assert_eq!(Reference::length_of(answer), length);
        }
    }

    #[test]
    fn an_answer_says_whether_another_can_follow() {
        for (head, announces_end) in [
            ("HTTP/1.1 200 OK", false),
            ("HTTP/1.1 200 OK\r\nConnection: close", true),
            ("HTTP/1.1 200 OK\r\nCONNECTION: a, Close", true),
            ("HTTP/1.0 200 OK", true),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive", false),
        ] {
            let answer = format!("{head}\r\nContent-Length: 0\r\n\r\n").into_bytes();
            let reference = Reference::learn(answer, None).unwrap();
            assert_eq!(reference.announces_end(), announces_end, "{head}");
        }
        let other = Reference::learn(b"HTTP/1.1 200 OK\r\n\r\nother".to_vec(), None).unwrap();
        assert_eq!(reference().with_last(other), Err(Unfit::OtherLastBody));
    }

    #[test]
    fn what_is_not_http_is_all_body() {
        for answer in [&b"hello"[..], b"HTTP/1.0 200 OK\r\nA: b", b"\n\n"] {
            let reference = Reference::learn(answer.to_vec(), None).unwrap();
            assert_eq!((reference.body_bytes(), reference.status_line()), (answer.len(), None));
            assert_eq!(reference.is_success(), None);
        }
    }

    #[test]
    fn an_error_is_told_from_a_success() {
        for (line, success) in [("HTTP/1.0 404 Not Found", false), ("HTTP/1.0 204", true)] {
            let answer = format!("{line}\r\n\r\n").into_bytes();
            assert_eq!(Reference::learn(answer, None).unwrap().is_success(), Some(success));
        }
    }

    #[test]
    fn every_wrong_byte_is_found_wherever_the_answer_is_cut() {
        let reference = reference();
        for wrong in 0..ANSWER.len() {
            let mut answer = ANSWER.to_vec();
            answer[wrong] = 0x1f;
            let expected = Some(ANSWER[wrong]);
            let mismatch = Err(Mismatch { at: wrong, expected, found: 0x1f });
            for cut in 0..=answer.len() {
                let first = reference.check(0, &answer[..cut]);
                let both = first.and_then(|matched| reference.check(matched, &answer[cut..]));
                assert_eq!(both, mismatch, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_byte_too_many_is_found() {
        let mismatch = Err(Mismatch { at: ANSWER.len(), expected: None, found: b'!' });
        assert_eq!(reference().check(ANSWER.len(), b"!"), mismatch);
        let longer = [ANSWER, b"!"].concat();
        assert_eq!(reference().check(0, &longer), mismatch);
    }

    #[test]
    fn only_a_date_that_follows_the_clock_may_differ() {
        let later = b"Date: Tue, 01 Dec 2026 09:59:58 GMT\r\n";
        let mut answer = ANSWER.to_vec();
        answer[17..17 + later.len()].copy_from_slice(later);
        for cut in 0..=answer.len() {
            let matched = reference().check(0, &answer[..cut]).unwrap();
            assert_eq!(reference().check(matched, &answer[cut..]), Ok(answer.len()));
        }
        // The day has one digit only, so no clock wrote it.
        let fixed = b"HTTP/1.0 200 OK\r\nDate: Mon, 1 Jan 1996 01:01:01 GMT\r\n\r\n".to_vec();
        let reference = Reference::learn(fixed.clone(), None).unwrap();
        let mut answer = fixed;
        answer[45] = b'2';
        assert!(reference.check(0, &answer).is_err());
    }
}
