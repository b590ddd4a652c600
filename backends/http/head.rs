//! The head of a request: its line, its fields, and the empty line behind them.

use super::body::Body;
use super::characters::{self, HOST, TARGET, TOKEN, VALUE};
use super::field::{Facts, Name, NameSoFar, ValueSoFar};
use super::{End, Persistence, Reading, Request, RequestRules, Status};

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before the request; an empty line or two in front of it are skipped (RFC 9112, 2.2).
    Before,
    BeforeLineFeed,
    Method,
    /// The first byte of the target.
    TargetStart,
    Target,
    /// `*`, which nothing but a blank follows.
    Asterisk,
    /// The scheme of an absolute URI, and how many bytes of `://` have come.
    Scheme(u8),
    /// So many bytes of `HTTP/1.1`.
    Version(u8),
    LineFeed,
    /// The first byte of a line.
    LineStart,
    FieldName(NameSoFar),
    FieldValue,
    FieldLineFeed,
    /// The CR of the empty line.
    LastLineFeed,
}

/// A head as far as it has come.
#[derive(Clone, Debug)]
pub(super) struct Head {
    state: State,
    value: ValueSoFar,
    facts: Facts,
    /// Its letters one above the other; too many for a method that is known push out the first.
    method: u64,
    minor_version: u8,
    is_asterisk: bool,
    bytes: usize,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            state: State::Before,
            value: ValueSoFar::begin(Name::Other),
            facts: Facts::default(),
            method: 0,
            minor_version: 1,
            is_asterisk: false,
            bytes: 0,
        }
    }
}

const VERSION: &[u8; 5] = b"HTTP/";

/// A method as [`Head`] keeps it.
const fn method(name: &[u8]) -> u64 {
    let mut letters = 0;
    let mut index = 0;
    while index < name.len() {
        letters = letters << 8 | name[index] as u64;
        index += 1;
    }
    letters
}

const GET: u64 = method(b"GET");
const HEAD: u64 = method(b"HEAD");
const POST: u64 = method(b"POST");
const PUT: u64 = method(b"PUT");
const PATCH: u64 = method(b"PATCH");
const DELETE: u64 = method(b"DELETE");
const OPTIONS: u64 = method(b"OPTIONS");
const CONNECT: u64 = method(b"CONNECT");

/// The longest method that fits is one byte shorter than this, so that none that is longer can be
/// taken for one that is known.
const METHOD_FULL: u64 = 1 << 56;

impl Head {
    /// Reads to its end, or to the end of the piece.
    pub(super) fn read(&mut self, piece: &[u8], rules: &RequestRules) -> Reading {
        let room = rules.head_bytes - self.bytes;
        let within = &piece[..piece.len().min(room)];
        let mut position = 0;
        while position < within.len() {
            match self.step(&within[position..]) {
                Ok(0) => {
                    self.bytes += position + 1;
                    return (position + 1, Some(Ok(End)));
                }
                Ok(count) => position += count,
                Err(status) => return (position, Some(Err(status))),
            }
        }
        self.bytes += position;
        let too_large = self.bytes >= rules.head_bytes;
        (position, too_large.then_some(Err(Status::HeadTooLarge)))
    }

    /// Reads some bytes, of which there is one at least; 0 when it is the last of the head.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Status> {
        let byte = bytes[0];
        self.state = match self.state {
            State::FieldValue => return self.field_value(bytes),
            State::FieldName(name) => return self.field_name(name, bytes),
            State::Target => return self.target(bytes),
            State::LineStart => match byte {
                b'\r' => State::LastLineFeed,
                b'\n' => return Ok(0),
                _ if characters::is(byte, TOKEN) => State::FieldName(NameSoFar::begin(byte)),
                // A blank would fold the line; a colon would have no name in front of it.
                _ => return Err(Status::BadRequest),
            },
            State::LastLineFeed if byte == b'\n' => return Ok(0),
            State::FieldLineFeed if byte == b'\n' => {
                self.value.end(&mut self.facts)?;
                State::LineStart
            }
            State::LineFeed if byte == b'\n' => State::LineStart,
            State::BeforeLineFeed if byte == b'\n' => State::Before,
            State::Before | State::Method => self.method_byte(byte)?,
            State::TargetStart => self.target_start(byte)?,
            State::Asterisk if byte == b' ' => State::Version(0),
            State::Scheme(count) => scheme(count, byte)?,
            State::Version(count) => self.version(count, byte)?,
            _ => return Err(Status::BadRequest),
        };
        Ok(1)
    }

    fn method_byte(&mut self, byte: u8) -> Result<State, Status> {
        match (byte, self.state) {
            (b'\r', State::Before) => Ok(State::BeforeLineFeed),
            (b'\n', State::Before) => Ok(State::Before),
            (b' ', State::Method) => Ok(State::TargetStart),
            _ if characters::is(byte, TOKEN) => {
                // What is too long stays too long.
                let full = self.method & !(METHOD_FULL - 1);
                self.method = full | self.method << 8 | u64::from(byte);
                Ok(State::Method)
            }
            _ => Err(Status::BadRequest),
        }
    }

    fn target_start(&mut self, byte: u8) -> Result<State, Status> {
        match byte {
            b'/' => Ok(State::Target),
            b'*' => {
                self.is_asterisk = true;
                Ok(State::Asterisk)
            }
            // It is refused, but not for its form.
            _ if self.method == CONNECT && characters::is(byte, HOST) => Ok(State::Target),
            _ if byte.is_ascii_alphabetic() => Ok(State::Scheme(0)),
            _ => Err(Status::BadRequest),
        }
    }

    fn target(&mut self, bytes: &[u8]) -> Result<usize, Status> {
        let count = characters::run(bytes, TARGET);
        match bytes.get(count) {
            None => Ok(count),
            Some(b' ') => {
                self.state = State::Version(0);
                Ok(count + 1)
            }
            Some(_) => Err(Status::BadRequest),
        }
    }

    fn version(&mut self, count: u8, byte: u8) -> Result<State, Status> {
        match (count, byte) {
            (0..5, _) if VERSION[count as usize] == byte => {}
            (5, b'1') | (6, b'.') => {}
            (5, b'0'..=b'9') => return Err(Status::VersionNotSupported),
            (7, b'0'..=b'9') => self.minor_version = byte - b'0',
            (8, b'\r') => return Ok(State::LineFeed),
            (8, b'\n') => return Ok(State::LineStart),
            _ => return Err(Status::BadRequest),
        }
        Ok(State::Version(count + 1))
    }

    fn field_name(&mut self, mut name: NameSoFar, bytes: &[u8]) -> Result<usize, Status> {
        let count = characters::run(bytes, TOKEN);
        for &byte in &bytes[..count] {
            if name.is_other() {
                break;
            }
            name.push(byte);
        }
        match bytes.get(count) {
            None => {
                self.state = State::FieldName(name);
                Ok(count)
            }
            Some(b':') => {
                self.value = ValueSoFar::begin(name.end());
                self.state = State::FieldValue;
                Ok(count + 1)
            }
            Some(_) => Err(Status::BadRequest),
        }
    }

    fn field_value(&mut self, bytes: &[u8]) -> Result<usize, Status> {
        let count = characters::run(bytes, VALUE);
        if self.value.matters() {
            for &byte in &bytes[..count] {
                self.value.push(byte, &mut self.facts)?;
            }
        }
        self.state = match bytes.get(count) {
            None => return Ok(count),
            Some(b'\r') => State::FieldLineFeed,
            Some(b'\n') => {
                self.value.end(&mut self.facts)?;
                State::LineStart
            }
            Some(_) => return Err(Status::BadRequest),
        };
        Ok(count + 1)
    }

    /// The head has ended: how its body is framed, if it has one.
    pub(super) fn framing(&self, rules: &RequestRules) -> Result<Option<Body>, Status> {
        let facts = &self.facts;
        if self.minor_version > 0 && !facts.has_host {
            return Err(Status::BadRequest);
        }
        if facts.has_encoding {
            let may_differ = self.minor_version == 0 || facts.length.is_some();
            if may_differ || !facts.is_chunked {
                return Err(Status::BadRequest);
            }
        }
        if self.is_asterisk && self.method != OPTIONS {
            return Err(Status::BadRequest);
        }
        let is_known = matches!(self.method, GET | HEAD | POST | PUT | PATCH | DELETE | OPTIONS);
        if !is_known || facts.has_other_encoding {
            return Err(Status::NotImplemented);
        }
        if facts.expects_other {
            return Err(Status::ExpectationFailed);
        }
        let length = facts.length.unwrap_or(0);
        if length > rules.body_bytes {
            return Err(Status::ContentTooLarge);
        }
        Ok(match (facts.is_chunked, length) {
            (true, _) => Some(Body::chunked()),
            (false, 0) => None,
            (false, length) => Some(Body::of_length(length)),
        })
    }

    /// Whether somebody waits to be told to go on. HTTP/1.0 does not know of it.
    pub(super) fn waits_for_continue(&self) -> bool {
        self.facts.expects_continue && self.minor_version > 0
    }

    /// What is asked for.
    pub(super) fn request(&self) -> Request {
        let Facts { close, keep_alive, .. } = self.facts;
        Request {
            wants_body: !self.is_head_method(),
            persistence: match self.minor_version {
                _ if close => Persistence::Close,
                0 if keep_alive => Persistence::PersistentIfTold,
                0 => Persistence::Close,
                _ => Persistence::Persistent,
            },
        }
    }

    /// Whether it is known to be HEAD.
    pub(super) fn is_head_method(&self) -> bool {
        self.method == HEAD
    }

    /// Whether nothing of it has come.
    pub(super) fn is_untouched(&self) -> bool {
        self.bytes == 0
    }
}

/// A byte of a scheme, or of the `://` behind it.
fn scheme(count: u8, byte: u8) -> Result<State, Status> {
    match (count, byte) {
        (0, b':') | (1, b'/') => Ok(State::Scheme(count + 1)),
        (2, b'/') => Ok(State::Target),
        (0, b'+' | b'-' | b'.') => Ok(State::Scheme(0)),
        (0, _) if byte.is_ascii_alphanumeric() => Ok(State::Scheme(0)),
        _ => Err(Status::BadRequest),
    }
}
