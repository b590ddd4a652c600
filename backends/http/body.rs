//! The body of a request: nobody wants it, so it is skipped, exactly.

use super::characters::{self, TOKEN, VALUE};
use super::{End, Reading, RequestRules, Status};

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many bytes are left of a body whose length is known.
    Counted,
    /// The first digit of a chunk's size.
    SizeStart,
    Size,
    /// Blanks behind a size, which only an extension may follow.
    BeforeExtension,
    /// What follows a size and means nothing here.
    Extension,
    SizeLineFeed,
    /// So many bytes are left of a chunk.
    Chunk,
    ChunkCarriageReturn,
    ChunkLineFeed,
    /// The first byte of a line behind the last chunk.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
}

/// Of a size: what fits into 64 bits.
const MOST_DIGITS: u8 = 16;

/// A body as far as it has come.
#[derive(Clone, Debug)]
pub(super) struct Body {
    state: State,
    /// Of the body, or of the chunk.
    left: u64,
    /// Of the size of a chunk.
    digits: u8,
    /// Of all chunks so far.
    chunked_bytes: u64,
    /// Of extensions and trailers.
    framing_bytes: usize,
}

impl Default for Body {
    fn default() -> Self {
        Self::of_length(0)
    }
}

impl Body {
    pub(super) fn of_length(left: u64) -> Self {
        Self { state: State::Counted, left, digits: 0, chunked_bytes: 0, framing_bytes: 0 }
    }

    pub(super) fn chunked() -> Self {
        Self { state: State::SizeStart, ..Self::of_length(0) }
    }

    /// Reads to its end, or to the end of the piece.
    pub(super) fn read(&mut self, piece: &[u8], rules: &RequestRules) -> Reading {
        let mut position = 0;
        while position < piece.len() {
            match self.step(&piece[position..], rules) {
                Ok((count, true)) => return (position + count, Some(Ok(End))),
                Ok((count, false)) => position += count,
                Err(status) => return (position, Some(Err(status))),
            }
        }
        (position, None)
    }

    /// Reads some bytes, of which there is one at least; whether they were the last.
    fn step(&mut self, bytes: &[u8], rules: &RequestRules) -> Result<(usize, bool), Status> {
        let byte = bytes[0];
        self.state = match self.state {
            State::Counted => {
                let count = self.skip(bytes);
                return Ok((count, self.left == 0));
            }
            State::Chunk => {
                let count = self.skip(bytes);
                if self.left == 0 {
                    self.state = State::ChunkCarriageReturn;
                }
                return Ok((count, false));
            }
            State::SizeStart | State::Size | State::BeforeExtension => self.size(byte, rules)?,
            State::Extension => {
                self.framed(rules, Status::BadRequest)?;
                match byte {
                    b'\r' => State::SizeLineFeed,
                    _ if characters::is(byte, VALUE) => State::Extension,
                    _ => return Err(Status::BadRequest),
                }
            }
            State::SizeLineFeed if byte == b'\n' && self.left == 0 => State::TrailerStart,
            State::SizeLineFeed if byte == b'\n' => State::Chunk,
            State::ChunkCarriageReturn if byte == b'\r' => State::ChunkLineFeed,
            State::ChunkLineFeed if byte == b'\n' => State::SizeStart,
            State::LastLineFeed if byte == b'\n' => return Ok((1, true)),
            _ => self.trailer(byte, rules)?,
        };
        Ok((1, false))
    }

    fn skip(&mut self, bytes: &[u8]) -> usize {
        let count = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.left -= count as u64;
        count
    }

    fn size(&mut self, byte: u8, rules: &RequestRules) -> Result<State, Status> {
        let digit = char::from(byte).to_digit(16);
        match (self.state, byte) {
            (State::SizeStart | State::Size, _) if digit.is_some() => {
                if self.digits == MOST_DIGITS {
                    return Err(Status::BadRequest);
                }
                self.digits += 1;
                self.left = self.left << 4 | u64::from(digit.unwrap_or(0));
                return Ok(State::Size);
            }
            (State::SizeStart, _) => return Err(Status::BadRequest),
            (State::Size, b'\r') | (_, b';' | b' ' | b'\t') => {}
            _ => return Err(Status::BadRequest),
        }
        if byte == b' ' || byte == b'\t' {
            self.framed(rules, Status::BadRequest)?;
            return Ok(State::BeforeExtension);
        }
        self.digits = 0;
        self.chunked_bytes = self.chunked_bytes.saturating_add(self.left);
        if self.chunked_bytes > rules.body_bytes {
            return Err(Status::ContentTooLarge);
        }
        Ok(if byte == b'\r' { State::SizeLineFeed } else { State::Extension })
    }

    fn trailer(&mut self, byte: u8, rules: &RequestRules) -> Result<State, Status> {
        self.framed(rules, Status::HeadTooLarge)?;
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::LastLineFeed),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, _) if characters::is(byte, TOKEN) => {
                Ok(State::TrailerName)
            }
            (State::TrailerValue, b'\r') => Ok(State::TrailerLineFeed),
            (State::TrailerValue, _) if characters::is(byte, VALUE) => Ok(State::TrailerValue),
            (State::TrailerLineFeed, b'\n') => Ok(State::TrailerStart),
            _ => Err(Status::BadRequest),
        }
    }

    /// One byte more that is not part of the body.
    fn framed(&mut self, rules: &RequestRules, otherwise: Status) -> Result<(), Status> {
        self.framing_bytes += 1;
        if self.framing_bytes > rules.head_bytes { Err(otherwise) } else { Ok(()) }
    }
}
