//! The head of a request: request line, fields, and the empty line after them.

use super::body::Body;
use super::characters::{self, HOST, TARGET, TOKEN, VALUE};
use super::field::{FieldName, FieldNameMatcher, FieldValueParser, FramingFields};
use super::{End, Persistence, Progress, Request, RequestLimits, Status};

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before the request; empty lines are skipped (RFC 9112, 2.2).
    Before,
    BeforeLineFeed,
    Method,
    /// The first byte of the target.
    TargetStart,
    Target,
    /// After `*`, which only a space may follow.
    Asterisk,
    /// In the scheme of an absolute URI, after this many bytes of `://`.
    Scheme(u8),
    /// After this many bytes of `HTTP/1.1`.
    Version(u8),
    LineFeed,
    /// The first byte of a line.
    LineStart,
    FieldName(FieldNameMatcher),
    FieldValue,
    FieldLineFeed,
    /// After the CR of the empty line.
    LastLineFeed,
}

/// The state of parsing a head.
#[derive(Clone, Debug)]
pub(super) struct Head {
    state: State,
    value: FieldValueParser,
    fields: FramingFields,
    /// Bytes of the method as an integer; [`METHOD_FULL`] marks one longer than any known method.
    method: u64,
    minor_version: u8,
    is_asterisk: bool,
    bytes: usize,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            state: State::Before,
            value: FieldValueParser::begin(FieldName::Other),
            fields: FramingFields::default(),
            method: 0,
            minor_version: 1,
            is_asterisk: false,
            bytes: 0,
        }
    }
}

const VERSION: &[u8; 5] = b"HTTP/";

/// Returns a method as an integer.
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

/// The bit that a longer method sets, so that it never equals a known one.
const METHOD_FULL: u64 = 1 << 56;

impl Head {
    /// Parses up to the end of the head or of the piece.
    pub(super) fn read(&mut self, piece: &[u8], limits: &RequestLimits) -> Progress {
        let room = limits.head_bytes - self.bytes;
        let within = &piece[..piece.len().min(room)];
        let mut position = 0;
        while position < within.len() {
            match self.advance(&within[position..]) {
                Ok(0) => {
                    self.bytes += position + 1;
                    return (position + 1, Some(Ok(End)));
                }
                Ok(count) => position += count,
                Err(status) => return (position, Some(Err(status))),
            }
        }
        self.bytes += position;
        let too_large = self.bytes >= limits.head_bytes;
        (position, too_large.then_some(Err(Status::HeadTooLarge)))
    }

    /// Consumes at least one byte and returns the count; 0 if the byte is the last of the head.
    fn advance(&mut self, bytes: &[u8]) -> Result<usize, Status> {
        let byte = bytes[0];
        self.state = match self.state {
            State::FieldValue => return self.field_value(bytes),
            State::FieldName(name) => return self.field_name(name, bytes),
            State::Target => return self.target(bytes),
            State::LineStart => match byte {
                b'\r' => State::LastLineFeed,
                b'\n' => return Ok(0),
                _ if characters::is(byte, TOKEN) => State::FieldName(FieldNameMatcher::begin(byte)),
                // A space would fold the line (RFC 9112, 5.2); a colon needs a name before it.
                _ => return Err(Status::BadRequest),
            },
            State::LastLineFeed if byte == b'\n' => return Ok(0),
            State::FieldLineFeed if byte == b'\n' => {
                self.value.end(&mut self.fields)?;
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
                // A method that is too long stays so.
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
            // Valid syntax (RFC 9112, 3.2.3), refused later as not implemented.
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

    fn field_name(&mut self, mut name: FieldNameMatcher, bytes: &[u8]) -> Result<usize, Status> {
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
                self.value = FieldValueParser::begin(name.end());
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
                self.value.push(byte, &mut self.fields)?;
            }
        }
        self.state = match bytes.get(count) {
            None => return Ok(count),
            Some(b'\r') => State::FieldLineFeed,
            Some(b'\n') => {
                self.value.end(&mut self.fields)?;
                State::LineStart
            }
            Some(_) => return Err(Status::BadRequest),
        };
        Ok(count + 1)
    }

    /// Returns the body of a complete head, if it has one (RFC 9112, 6.3).
    pub(super) fn framing(&self, limits: &RequestLimits) -> Result<Option<Body>, Status> {
        let fields = &self.fields;
        if self.minor_version > 0 && !fields.has_host {
            return Err(Status::BadRequest);
        }
        if fields.has_encoding {
            let may_differ = self.minor_version == 0 || fields.length.is_some();
            if may_differ || !fields.is_chunked {
                return Err(Status::BadRequest);
            }
        }
        if self.is_asterisk && self.method != OPTIONS {
            return Err(Status::BadRequest);
        }
        let is_known = matches!(self.method, GET | HEAD | POST | PUT | PATCH | DELETE | OPTIONS);
        if !is_known || fields.has_other_encoding {
            return Err(Status::NotImplemented);
        }
        if fields.expects_other {
            return Err(Status::ExpectationFailed);
        }
        let length = fields.length.unwrap_or(0);
        if length > limits.body_bytes {
            return Err(Status::ContentTooLarge);
        }
        Ok(match (fields.is_chunked, length) {
            (true, _) => Some(Body::chunked()),
            (false, 0) => None,
            (false, length) => Some(Body::of_length(length)),
        })
    }

    /// Returns true if the client waits for 100 Continue; HTTP/1.0 has none (RFC 9110, 10.1.1).
    pub(super) fn waits_for_continue(&self) -> bool {
        self.fields.expects_continue && self.minor_version > 0
    }

    pub(super) fn request(&self) -> Request {
        let FramingFields { close, keep_alive, .. } = self.fields;
        Request {
            wants_body: !self.is_head_method(),
            persistence: match self.minor_version {
                _ if close => Persistence::Close,
                0 if keep_alive => Persistence::PersistentWithField,
                0 => Persistence::Close,
                _ => Persistence::Persistent,
            },
        }
    }

    pub(super) fn is_head_method(&self) -> bool {
        self.method == HEAD
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.bytes == 0
    }
}

/// Handles a byte of a scheme or of the `://` after it.
fn scheme(count: u8, byte: u8) -> Result<State, Status> {
    match (count, byte) {
        (0, b':') | (1, b'/') => Ok(State::Scheme(count + 1)),
        (2, b'/') => Ok(State::Target),
        (0, b'+' | b'-' | b'.') => Ok(State::Scheme(0)),
        (0, _) if byte.is_ascii_alphanumeric() => Ok(State::Scheme(0)),
        _ => Err(Status::BadRequest),
    }
}
