//! The body of a request, which is skipped: only its end matters.

use super::characters::{self, TOKEN, VALUE};
use super::{End, Progress, RequestLimits, Status};

#[derive(Clone, Copy, Debug)]
enum State {
    /// In a body with a Content-Length.
    Data,
    /// Before the first digit of a chunk size.
    SizeStart,
    Size,
    /// In whitespace after a size, which only an extension may follow.
    BeforeExtension,
    /// In a chunk extension, which is ignored.
    Extension,
    SizeLineFeed,
    /// In the data of a chunk.
    ChunkData,
    ChunkCarriageReturn,
    ChunkLineFeed,
    /// At the start of a line after the last chunk.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
}

/// Most hexadecimal digits of a chunk size: 64 bits.
const MAX_SIZE_DIGITS: u8 = 16;

/// The state of skipping a body.
#[derive(Clone, Debug)]
pub(super) struct Body {
    state: State,
    /// Bytes of the body or the chunk that are not skipped yet.
    remaining_bytes: u64,
    /// Digits of the chunk size so far.
    digits: u8,
    /// Sizes of all chunks so far.
    chunked_bytes: u64,
    /// Bytes of chunk extensions and trailers so far.
    framing_bytes: usize,
}

impl Default for Body {
    fn default() -> Self {
        Self::of_length(0)
    }
}

impl Body {
    pub(super) fn of_length(remaining_bytes: u64) -> Self {
        Self { state: State::Data, remaining_bytes, digits: 0, chunked_bytes: 0, framing_bytes: 0 }
    }

    pub(super) fn chunked() -> Self {
        Self { state: State::SizeStart, ..Self::of_length(0) }
    }

    /// Parses up to the end of the body or of the piece.
    pub(super) fn read(&mut self, piece: &[u8], limits: &RequestLimits) -> Progress {
        let mut position = 0;
        while position < piece.len() {
            match self.advance(&piece[position..], limits) {
                Ok((count, true)) => return (position + count, Some(Ok(End))),
                Ok((count, false)) => position += count,
                Err(status) => return (position, Some(Err(status))),
            }
        }
        (position, None)
    }

    /// Consumes at least one byte. Returns the count, and true at the end of the body.
    fn advance(&mut self, bytes: &[u8], limits: &RequestLimits) -> Result<(usize, bool), Status> {
        let byte = bytes[0];
        self.state = match self.state {
            State::Data => {
                let count = self.skip(bytes);
                return Ok((count, self.remaining_bytes == 0));
            }
            State::ChunkData => {
                let count = self.skip(bytes);
                if self.remaining_bytes == 0 {
                    self.state = State::ChunkCarriageReturn;
                }
                return Ok((count, false));
            }
            State::SizeStart | State::Size | State::BeforeExtension => {
                self.chunk_size(byte, limits)?
            }
            State::Extension => {
                self.count_framing_byte(limits, Status::BadRequest)?;
                match byte {
                    b'\r' => State::SizeLineFeed,
                    _ if characters::is(byte, VALUE) => State::Extension,
                    _ => return Err(Status::BadRequest),
                }
            }
            State::SizeLineFeed if byte == b'\n' && self.remaining_bytes == 0 => {
                State::TrailerStart
            }
            State::SizeLineFeed if byte == b'\n' => State::ChunkData,
            State::ChunkCarriageReturn if byte == b'\r' => State::ChunkLineFeed,
            State::ChunkLineFeed if byte == b'\n' => State::SizeStart,
            State::LastLineFeed if byte == b'\n' => return Ok((1, true)),
            _ => self.trailer(byte, limits)?,
        };
        Ok((1, false))
    }

    fn skip(&mut self, bytes: &[u8]) -> usize {
        let count =
            usize::try_from(self.remaining_bytes).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.remaining_bytes -= count as u64;
        count
    }

    fn chunk_size(&mut self, byte: u8, limits: &RequestLimits) -> Result<State, Status> {
        let digit = char::from(byte).to_digit(16);
        match (self.state, byte) {
            (State::SizeStart | State::Size, _) if digit.is_some() => {
                if self.digits == MAX_SIZE_DIGITS {
                    return Err(Status::BadRequest);
                }
                self.digits += 1;
                self.remaining_bytes = self.remaining_bytes << 4 | u64::from(digit.unwrap_or(0));
                return Ok(State::Size);
            }
            (State::SizeStart, _) => return Err(Status::BadRequest),
            (State::Size, b'\r') | (_, b';' | b' ' | b'\t') => {}
            _ => return Err(Status::BadRequest),
        }
        if byte == b' ' || byte == b'\t' {
            self.count_framing_byte(limits, Status::BadRequest)?;
            return Ok(State::BeforeExtension);
        }
        self.digits = 0;
        self.chunked_bytes = self.chunked_bytes.saturating_add(self.remaining_bytes);
        if self.chunked_bytes > limits.body_bytes {
            return Err(Status::ContentTooLarge);
        }
        Ok(if byte == b'\r' { State::SizeLineFeed } else { State::Extension })
    }

    fn trailer(&mut self, byte: u8, limits: &RequestLimits) -> Result<State, Status> {
        self.count_framing_byte(limits, Status::HeadTooLarge)?;
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

    /// Counts a byte of an extension or a trailer.
    fn count_framing_byte(&mut self, limits: &RequestLimits, status: Status) -> Result<(), Status> {
        self.framing_bytes += 1;
        if self.framing_bytes > limits.head_bytes { Err(status) } else { Ok(()) }
    }
}
