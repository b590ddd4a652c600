//! The fields that matter: which one a name is, and what its value says. Both are compared as they
//! come, exactly and in any case of letters, and nothing of them is kept.

use super::Status;
use super::characters::{self, HOST};

/// The fields that decide about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Expect,
    Other,
}

impl Name {
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

/// A name as far as it has come: the one that it can still become, and how much of that it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameSoFar {
    candidate: Name,
    matched: u8,
}

/// Where the two that begin with `con` part.
const CONNECTION_OR_CONTENT: u8 = 3;

impl NameSoFar {
    /// By its first byte.
    pub(super) fn begin(first: u8) -> Self {
        let candidate = match first.to_ascii_lowercase() {
            b'h' => Name::Host,
            b'c' => Name::Connection,
            b't' => Name::TransferEncoding,
            b'e' => Name::Expect,
            _ => Name::Other,
        };
        Self { candidate, matched: 1 }
    }

    /// Whether no more of it needs to be looked at.
    pub(super) fn is_other(self) -> bool {
        self.candidate == Name::Other
    }

    pub(super) fn push(&mut self, byte: u8) {
        let byte = byte.to_ascii_lowercase();
        if self.matched == CONNECTION_OR_CONTENT
            && self.candidate == Name::Connection
            && byte == b't'
        {
            self.candidate = Name::ContentLength;
        }
        if self.candidate.spelling().get(self.matched as usize) == Some(&byte) {
            self.matched += 1;
        } else {
            self.candidate = Name::Other;
        }
    }

    /// Its colon has come.
    pub(super) fn end(self) -> Name {
        let is_whole = self.matched as usize == self.candidate.spelling().len();
        if is_whole { self.candidate } else { Name::Other }
    }
}

/// What all fields of a head together say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) has_host: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) has_encoding: bool,
    pub(super) is_chunked: bool,
    /// An encoding that is not known here.
    pub(super) has_other_encoding: bool,
    pub(super) expects_continue: bool,
    pub(super) expects_other: bool,
    pub(super) length: Option<u64>,
}

/// How far a word of a value has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Nothing but blanks.
    Before,
    /// So many bytes, all of them as they are spelled in the word that it can become.
    Matching(u8),
    /// The word, and blanks behind it.
    Matched,
    /// Another one.
    Other,
}

impl Word {
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

    /// Whether it was the word of that length; and it starts anew.
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

/// The value of a field as far as it has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValueSoFar {
    name: Name,
    word: Word,
    /// Connection: the same element, compared with the other word.
    second: Word,
    /// Content-Length: the number so far.
    number: u64,
    /// Content-Length and Host: whether something has come, and whether a blank came behind it.
    has_begun: bool,
    has_ended: bool,
}

impl ValueSoFar {
    pub(super) fn begin(name: Name) -> Self {
        Self {
            name,
            word: Word::Before,
            second: Word::Before,
            number: 0,
            has_begun: false,
            has_ended: false,
        }
    }

    /// Whether what it says matters.
    pub(super) fn matters(&self) -> bool {
        self.name != Name::Other
    }

    /// One byte more, which may stand in a value.
    pub(super) fn push(&mut self, byte: u8, facts: &mut Facts) -> Result<(), Status> {
        match self.name {
            Name::Other => {}
            Name::Connection | Name::TransferEncoding if byte == b',' => self.end_element(facts)?,
            Name::Connection => {
                self.word.push(byte, CLOSE);
                self.second.push(byte, KEEP_ALIVE);
            }
            Name::TransferEncoding => self.word.push(byte, CHUNKED),
            Name::Expect => self.word.push(byte, CONTINUE),
            Name::ContentLength => self.push_single(byte, |this| this.push_digit(byte))?,
            Name::Host => self.push_single(byte, |_| {
                if characters::is(byte, HOST) { Ok(()) } else { Err(Status::BadRequest) }
            })?,
        }
        Ok(())
    }

    /// A value that is one word, with blanks around it.
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

    /// An element of a list has ended. An empty one says nothing.
    fn end_element(&mut self, facts: &mut Facts) -> Result<(), Status> {
        if self.word == Word::Before {
            self.second = Word::Before;
            return Ok(());
        }
        if self.name == Name::Connection {
            facts.close |= self.word.end(CLOSE);
            facts.keep_alive |= self.second.end(KEEP_ALIVE);
            return Ok(());
        }
        if facts.is_chunked {
            // Nothing can be encoded once more behind what marks the end (RFC 9112, 6.1).
            return Err(Status::BadRequest);
        }
        if self.word.end(CHUNKED) {
            facts.is_chunked = true;
        } else {
            facts.has_other_encoding = true;
        }
        Ok(())
    }

    /// The line has ended.
    pub(super) fn end(&mut self, facts: &mut Facts) -> Result<(), Status> {
        match self.name {
            Name::Other => {}
            Name::Connection => self.end_element(facts)?,
            Name::TransferEncoding => {
                facts.has_encoding = true;
                self.end_element(facts)?;
            }
            Name::Expect if self.word.end(CONTINUE) => facts.expects_continue = true,
            Name::Expect => facts.expects_other = true,
            Name::ContentLength => {
                let is_first_or_same = facts.length.is_none_or(|length| length == self.number);
                if !self.has_begun || !is_first_or_same {
                    return Err(Status::BadRequest);
                }
                facts.length = Some(self.number);
            }
            Name::Host if facts.has_host => return Err(Status::BadRequest),
            Name::Host => facts.has_host = true,
        }
        Ok(())
    }
}
