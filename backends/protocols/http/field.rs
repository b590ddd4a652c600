//! The fields that decide about framing and persistence. Names and values are compared byte by
//! byte, ignoring case, and not stored.

use super::Status;
use super::characters::{self, HOST};

/// A field name that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldName {
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Expect,
    Other,
}

impl FieldName {
    const fn spelling(self) -> &'static [u8] {
        match self {
            Self::Host => b"host",
            Self::Connection => b"connection",
            Self::ContentLength => b"content-length",
            Self::TransferEncoding => b"transfer-encoding",
            Self::Expect => b"expect",
            Self::Other => b"",
        }
    }
}

/// The state of matching a name: the only candidate, and the bytes that match it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldNameMatcher {
    candidate: FieldName,
    matched: u8,
}

/// The index where `connection` and `content-length` differ.
const CONNECTION_OR_CONTENT: u8 = 3;

impl FieldNameMatcher {
    pub(super) fn begin(first: u8) -> Self {
        let candidate = match first.to_ascii_lowercase() {
            b'h' => FieldName::Host,
            b'c' => FieldName::Connection,
            b't' => FieldName::TransferEncoding,
            b'e' => FieldName::Expect,
            _ => FieldName::Other,
        };
        Self { candidate, matched: 1 }
    }

    pub(super) fn is_other(self) -> bool {
        self.candidate == FieldName::Other
    }

    pub(super) fn push(&mut self, byte: u8) {
        let byte = byte.to_ascii_lowercase();
        if self.matched == CONNECTION_OR_CONTENT
            && self.candidate == FieldName::Connection
            && byte == b't'
        {
            self.candidate = FieldName::ContentLength;
        }
        if self.candidate.spelling().get(self.matched as usize) == Some(&byte) {
            self.matched += 1;
        } else {
            self.candidate = FieldName::Other;
        }
    }

    /// Returns the name, at its colon.
    pub(super) fn end(self) -> FieldName {
        let is_complete = self.matched as usize == self.candidate.spelling().len();
        if is_complete { self.candidate } else { FieldName::Other }
    }
}

/// The content of all fields of a head that matter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FramingFields {
    pub(super) has_host: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) has_encoding: bool,
    pub(super) is_chunked: bool,
    /// An unknown transfer coding.
    pub(super) has_other_encoding: bool,
    pub(super) expects_continue: bool,
    pub(super) expects_other: bool,
    pub(super) length: Option<u64>,
}

/// The state of matching one word of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WordMatcher {
    /// Only whitespace so far.
    Before,
    /// This many bytes match.
    Matching(u8),
    /// The word, and whitespace after it.
    Matched,
    /// Another word.
    Other,
}

impl WordMatcher {
    fn push(&mut self, byte: u8, spelling: &[u8]) {
        let is_blank = matches!(byte, b' ' | b'\t');
        *self = match *self {
            Self::Before if is_blank => Self::Before,
            Self::Before if byte.eq_ignore_ascii_case(&spelling[0]) => Self::Matching(1),
            Self::Matching(count) if is_blank && count as usize == spelling.len() => Self::Matched,
            Self::Matching(count)
                if spelling
                    .get(count as usize)
                    .is_some_and(|wanted| wanted.eq_ignore_ascii_case(&byte)) =>
            {
                Self::Matching(count + 1)
            }
            Self::Matched if is_blank => Self::Matched,
            _ => Self::Other,
        };
    }

    /// Returns true if the word matched, and starts again.
    fn end(&mut self, spelling: &[u8]) -> bool {
        match std::mem::replace(self, Self::Before) {
            Self::Matched => true,
            Self::Matching(count) => count as usize == spelling.len(),
            Self::Before | Self::Other => false,
        }
    }
}

const CLOSE: &[u8] = b"close";
const KEEP_ALIVE: &[u8] = b"keep-alive";
const CHUNKED: &[u8] = b"chunked";
const CONTINUE: &[u8] = b"100-continue";

/// The state of parsing a field value.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldValueParser {
    name: FieldName,
    word: WordMatcher,
    /// Connection: the element, compared with the other word.
    second: WordMatcher,
    /// Content-Length: the value so far.
    number: u64,
    /// Content-Length and Host: a byte of the value, and whitespace after it, were seen.
    has_begun: bool,
    has_ended: bool,
}

impl FieldValueParser {
    pub(super) fn begin(name: FieldName) -> Self {
        Self {
            name,
            word: WordMatcher::Before,
            second: WordMatcher::Before,
            number: 0,
            has_begun: false,
            has_ended: false,
        }
    }

    pub(super) fn matters(&self) -> bool {
        self.name != FieldName::Other
    }

    /// Handles a byte that is valid in a value.
    pub(super) fn push(&mut self, byte: u8, fields: &mut FramingFields) -> Result<(), Status> {
        match self.name {
            FieldName::Other => {}
            FieldName::Connection | FieldName::TransferEncoding if byte == b',' => {
                self.end_element(fields)?;
            }
            FieldName::Connection => {
                self.word.push(byte, CLOSE);
                self.second.push(byte, KEEP_ALIVE);
            }
            FieldName::TransferEncoding => self.word.push(byte, CHUNKED),
            FieldName::Expect => self.word.push(byte, CONTINUE),
            FieldName::ContentLength => self.push_single(byte, |this| this.push_digit(byte))?,
            FieldName::Host => self.push_single(byte, |_| {
                if characters::is(byte, HOST) { Ok(()) } else { Err(Status::BadRequest) }
            })?,
        }
        Ok(())
    }

    /// Handles a byte of a value that is one word with optional whitespace around it.
    fn push_single(
        &mut self,
        byte: u8,
        push: impl FnOnce(&mut Self) -> Result<(), Status>,
    ) -> Result<(), Status> {
        if matches!(byte, b' ' | b'\t') {
            self.has_ended = self.has_begun;
            return Ok(());
        }
        if self.has_ended {
            return Err(Status::BadRequest);
        }
        self.has_begun = true;
        push(self)
    }

    fn push_digit(&mut self, byte: u8) -> Result<(), Status> {
        if !byte.is_ascii_digit() {
            return Err(Status::BadRequest);
        }
        let digit = u64::from(byte - b'0');
        let number = self.number.checked_mul(10).and_then(|it| it.checked_add(digit));
        self.number = number.ok_or(Status::BadRequest)?;
        Ok(())
    }

    /// Ends an element of a list. Empty elements are ignored (RFC 9110, 5.6.1.2).
    fn end_element(&mut self, fields: &mut FramingFields) -> Result<(), Status> {
        if self.word == WordMatcher::Before {
            self.second = WordMatcher::Before;
            return Ok(());
        }
        if self.name == FieldName::Connection {
            fields.close |= self.word.end(CLOSE);
            fields.keep_alive |= self.second.end(KEEP_ALIVE);
            return Ok(());
        }
        if fields.is_chunked {
            // `chunked` must be the final transfer coding (RFC 9112, 6.1).
            return Err(Status::BadRequest);
        }
        if self.word.end(CHUNKED) {
            fields.is_chunked = true;
        } else {
            fields.has_other_encoding = true;
        }
        Ok(())
    }

    /// Ends the value, at the end of its line.
    pub(super) fn end(&mut self, fields: &mut FramingFields) -> Result<(), Status> {
        match self.name {
            FieldName::Other => {}
            FieldName::Connection => self.end_element(fields)?,
            FieldName::TransferEncoding => {
                fields.has_encoding = true;
                self.end_element(fields)?;
            }
            FieldName::Expect if self.word.end(CONTINUE) => fields.expects_continue = true,
            FieldName::Expect => fields.expects_other = true,
            FieldName::ContentLength => {
                let is_first_or_same = fields.length.is_none_or(|length| length == self.number);
                if !self.has_begun || !is_first_or_same {
                    return Err(Status::BadRequest);
                }
                fields.length = Some(self.number);
            }
            FieldName::Host if fields.has_host => return Err(Status::BadRequest),
            FieldName::Host => fields.has_host = true,
        }
        Ok(())
    }
}
