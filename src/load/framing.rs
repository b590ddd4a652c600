//! The end of an HTTP/1.1 response (RFC 9112, section 6.3). No I/O.

use std::fmt;
use std::mem::MaybeUninit;

use httparse::{ParserConfig, Response, Status};

/// The longest head, and the longest line of a chunked body, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The largest number of header fields.
const MAX_FIELDS: usize = 128;

/// A response whose end cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It does not start with `HTTP/`.
    NotHttp,
    /// The head has a syntax error.
    Head(httparse::Error),
    /// The head, or a line of a chunked body, is longer than 64 KiB.
    TooLong,
    /// A Content-Length is not a number of bytes.
    InvalidLength,
    /// There are two different values of Content-Length.
    ConflictingLengths(u64, u64),
    /// The size of a chunk is not a hexadecimal number.
    ChunkSize,
    /// The data of a chunk do not have the size of the chunk.
    ChunkEnd,
    /// A line after the last chunk is no header field.
    Trailer,
    /// The server has left HTTP (status 101), which the request did not ask for.
    SwitchedProtocols,
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp => formatter.write_str(
                "the response is not HTTP/1.1. Use the port of an HTTP server, without TLS, or \
                 --load rr, crr or stream for a server of messages.",
            ),
            Self::Head(error) => write!(
                formatter,
                "the head of the response is not valid ({error}). Inspect it with `curl -v`."
            ),
            Self::TooLong => formatter.write_str(
                "a line or the head of the response is longer than 64 KiB. Try another --path.",
            ),
            Self::InvalidLength => formatter.write_str(
                "the Content-Length is not a number of bytes. Inspect it with `curl -v`.",
            ),
            Self::ConflictingLengths(one, other) => write!(
                formatter,
                "the response has two values of Content-Length, {one} and {other}, so its end is \
                 unknown. The server, or a proxy before it, must send one."
            ),
            Self::ChunkSize => formatter.write_str(
                "the size of a chunk is not a hexadecimal number. Inspect the response with \
                 `curl --raw`.",
            ),
            Self::ChunkEnd => formatter.write_str(
                "a chunk is longer than its size. Inspect the response with `curl --raw`.",
            ),
            Self::Trailer => formatter.write_str(
                "a line after the last chunk is not a header field. Inspect the response with \
                 `curl --raw`.",
            ),
            Self::SwitchedProtocols => formatter.write_str(
                "the server switched to another protocol (status 101). Remove the --header that \
                 asks for it.",
            ),
        }
    }
}

/// The way in which the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The body has this length in bytes: that of Content-Length, or 0 by the status or method.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// The end of the connection is the end of the body.
    UntilClose,
}

/// The properties of a head that determine the end of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) framing: Framing,
    /// Set if the server closes the connection after the response: with `Connection: close`, in
    /// HTTP/1.0 without `Connection: keep-alive`, or since that is the end of the body.
    pub(super) closes: bool,
    /// Set if Content-Length has one value more than once.
    pub(super) repeats_length: bool,
    /// Set if Transfer-Encoding overrides Content-Length.
    pub(super) overrides_length: bool,
    /// Set if a response without a body has a Content-Length of more than 0.
    pub(super) ignores_length: bool,
}

impl Head {
    /// The head of a response whose body is all of its bytes.
    pub(super) fn of_length(length: u64) -> Self {
        let framing = Framing::Length(length);
        Self {
            status: 0,
            framing,
            closes: false,
            repeats_length: false,
            overrides_length: false,
            ignores_length: false,
        }
    }

    /// Parses a whole head, up to and with its empty line.
    fn parse(bytes: &[u8], is_head_request: bool) -> Result<Self, Malformed> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut response = Response::new(&mut []);
        let parsed = ParserConfig::default()
            .allow_obsolete_multiline_headers_in_responses(true)
            .parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
        let status = match (parsed, response.code) {
            (Ok(Status::Complete(_)), Some(status)) => status,
            (Ok(_), _) => return Err(Malformed::Head(httparse::Error::NewLine)),
            (Err(error), _) => return Err(Malformed::Head(error)),
        };
        let mut lengths = Lengths::default();
        let (mut is_chunked, mut closes, mut stays) = (None, false, false);
        for field in response.headers {
            let tokens = || field.value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            if field.name.eq_ignore_ascii_case("content-length") {
                tokens().for_each(|token| lengths.add(token));
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                is_chunked = tokens().next_back().map(|it| it.eq_ignore_ascii_case(b"chunked"));
            } else if field.name.eq_ignore_ascii_case("connection") {
                closes |= tokens().any(|token| token.eq_ignore_ascii_case(b"close"));
                stays |= tokens().any(|token| token.eq_ignore_ascii_case(b"keep-alive"));
            }
        }
        let has_no_body = is_head_request || matches!(status, 100..=199 | 204 | 304);
        let framing = match (is_chunked, lengths.value) {
            _ if has_no_body => Framing::Length(0),
            (Some(true), _) => Framing::Chunked,
            (None, Some(length)) => Framing::Length(length?),
            (Some(false), _) | (None, None) => Framing::UntilClose,
        };
        let is_old = response.version == Some(0);
        let length = lengths.value.and_then(Result::ok).unwrap_or(0);
        Ok(Self {
            status,
            framing,
            closes: closes || (is_old && !stays) || framing == Framing::UntilClose,
            repeats_length: lengths.count > 1,
            overrides_length: is_chunked.is_some() && lengths.count > 0,
            ignores_length: has_no_body && !is_head_request && length > 0,
        })
    }
}

/// The values of Content-Length.
#[derive(Default)]
struct Lengths {
    count: usize,
    value: Option<Result<u64, Malformed>>,
}

impl Lengths {
    fn add(&mut self, token: &[u8]) {
        self.count += 1;
        let is_number = !token.is_empty() && token.iter().all(u8::is_ascii_digit);
        let number = str::from_utf8(token).ok().filter(|_| is_number);
        let length = number.and_then(|it| it.parse().ok()).ok_or(Malformed::InvalidLength);
        self.value = Some(match (self.value, length) {
            (Some(Ok(first)), Ok(second)) if first != second => {
                Err(Malformed::ConflictingLengths(first, second))
            }
            (Some(Err(error)), _) => Err(error),
            _ => length,
        });
    }
}

/// An event of a response as it is received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// All bytes are consumed, and the response is incomplete.
    NeedsMore,
    /// An interim response (status 1xx) is complete.
    Interim,
    /// The head is complete: [`ResponseParser::head`] and [`ResponseParser::head_bytes`].
    Head,
    /// Bytes of the body, without the framing of chunks.
    Body(&'a [u8]),
    /// The response is complete. The next call starts another one.
    Complete,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Body {
        left: u64,
    },
    ChunkSize,
    Chunk {
        left: u64,
    },
    ChunkEnd,
    Trailer,
    UntilClose,
}

/// Parses one response after the other, however their bytes are split.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseParser {
    state: State,
    /// The head, or the current line of a chunked body, as far as it has been received.
    buffer: Vec<u8>,
    /// Start of the last line in the buffer.
    line_start: usize,
    head: Option<Head>,
    /// Bytes of the response, with those of its interim responses.
    position: usize,
    has_bare_lf: bool,
    has_continued: bool,
}

impl ResponseParser {
    /// Forgets the response.
    pub(super) fn reset(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        *self = Self { buffer, ..Self::default() };
    }

    /// The head of the response; `None` until it is complete.
    pub(super) fn head(&self) -> Option<Head> {
        self.head
    }

    /// Bytes of the head. They are valid at [`Event::Head`].
    pub(super) fn head_bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Bytes of the response that have been parsed, with those of interim responses.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Returns true if a line ended with LF instead of CRLF.
    pub(super) fn has_bare_lf(&self) -> bool {
        self.has_bare_lf
    }

    /// Returns true if 100 Continue has been received before the response.
    pub(super) fn has_continued(&self) -> bool {
        self.has_continued
    }

    /// Returns true if the end of the connection completes the response.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Parses up to the next event, and removes what it has parsed from `bytes`.
    pub(super) fn next<'a>(
        &mut self,
        bytes: &mut &'a [u8],
        is_head_request: bool,
    ) -> Result<Event<'a>, Malformed> {
        loop {
            match self.state {
                State::Head => {
                    if !self.take_line(bytes)? {
                        return Ok(Event::NeedsMore);
                    } else if self.is_blank_line() {
                        return self.end_head(is_head_request);
                    }
                }
                State::Body { left: 0 } => return Ok(self.complete()),
                State::Body { left } => {
                    let piece = self.take(bytes, left);
                    self.state = State::Body { left: left - piece.len() as u64 };
                    return Ok(body(piece));
                }
                State::Chunk { left: 0 } => self.state = State::ChunkEnd,
                State::Chunk { left } => {
                    let piece = self.take(bytes, left);
                    self.state = State::Chunk { left: left - piece.len() as u64 };
                    return Ok(body(piece));
                }
                State::UntilClose => return Ok(body(self.take(bytes, u64::MAX))),
                State::ChunkSize | State::ChunkEnd | State::Trailer => {
                    if !self.take_line(bytes)? {
                        return Ok(Event::NeedsMore);
                    } else if self.end_chunk_line()? {
                        return Ok(self.complete());
                    }
                }
            }
        }
    }

    fn take<'a>(&mut self, bytes: &mut &'a [u8], left: u64) -> &'a [u8] {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let (piece, rest) = bytes.split_at(count);
        *bytes = rest;
        self.position += count;
        piece
    }

    /// Moves bytes into the buffer up to the end of the line. Returns false if it is not reached.
    fn take_line(&mut self, bytes: &mut &[u8]) -> Result<bool, Malformed> {
        if self.buffer.last() == Some(&b'\n') {
            self.line_start = self.buffer.len();
        }
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let piece = self.take(bytes, end.map_or(u64::MAX, |end| end as u64 + 1));
        self.buffer.extend_from_slice(piece);
        let start = &self.buffer[..self.buffer.len().min(5)];
        if self.state == State::Head && !b"HTTP/".starts_with(start) {
            return Err(Malformed::NotHttp);
        } else if self.buffer.len() > MAX_HEAD_BYTES {
            return Err(Malformed::TooLong);
        }
        self.has_bare_lf |= end.is_some() && !self.buffer.ends_with(b"\r\n");
        Ok(end.is_some())
    }

    fn is_blank_line(&self) -> bool {
        matches!(&self.buffer[self.line_start..], b"\r\n" | b"\n")
    }

    fn end_head<'a>(&mut self, is_head_request: bool) -> Result<Event<'a>, Malformed> {
        let head = Head::parse(&self.buffer, is_head_request)?;
        if head.status == 101 {
            return Err(Malformed::SwitchedProtocols);
        } else if head.status < 200 {
            self.has_continued |= head.status == 100;
            self.start_line();
            return Ok(Event::Interim);
        }
        self.state = match head.framing {
            Framing::Length(left) => State::Body { left },
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        };
        self.head = Some(head);
        Ok(Event::Head)
    }

    /// Handles a line of a chunked body. Returns true if it is the last one of the response.
    fn end_chunk_line(&mut self) -> Result<bool, Malformed> {
        // The head is still there when the first line is taken.
        let line = self.buffer[self.line_start..].trim_ascii_end();
        let (state, is_last) = match self.state {
            State::ChunkSize => {
                // An empty line is no size, but is one for httparse.
                let is_number = line.first().is_some_and(u8::is_ascii_hexdigit);
                let line = [line, b"\r\n"].concat();
                match httparse::parse_chunk_size(&line) {
                    Ok(Status::Complete((_, 0))) if is_number => (State::Trailer, false),
                    Ok(Status::Complete((_, left))) if is_number => (State::Chunk { left }, false),
                    _ => return Err(Malformed::ChunkSize),
                }
            }
            State::Trailer if line.is_empty() || line.contains(&b':') => {
                (State::Trailer, line.is_empty())
            }
            State::Trailer => return Err(Malformed::Trailer),
            _ if line.is_empty() => (State::ChunkSize, false),
            _ => return Err(Malformed::ChunkEnd),
        };
        self.state = state;
        self.start_line();
        Ok(is_last)
    }

    fn start_line(&mut self) {
        self.buffer.clear();
        self.line_start = 0;
    }

    fn complete<'a>(&mut self) -> Event<'a> {
        self.state = State::Head;
        self.start_line();
        Event::Complete
    }
}

fn body(piece: &[u8]) -> Event<'_> {
    if piece.is_empty() { Event::NeedsMore } else { Event::Body(piece) }
}
