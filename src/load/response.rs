//! The reference response, with which every response is compared. No I/O.

use std::fmt;
use std::ops::Range;

use super::framing::{Framing, Head, Malformed};
use super::received::Received;
use super::request::Request;
use super::verify::{self, BodyCheck, Checks};

/// The side that closes a connection of one request first, so that TIME_WAIT is on its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closer {
    /// The server, after its response.
    Server,
    /// The client, as soon as the response is complete.
    Client,
}

/// Length of the start of a response of another protocol, which is shown as its status line.
const EXCERPT_BYTES: usize = 40;

/// A response with which every other one is compared.
#[derive(Clone, Debug)]
pub struct Reference {
    response: Received,
    head: Head,
    checks: Checks,
    /// Ranges of the bytes that may differ: values of fields that are not checked.
    varying: Vec<Range<usize>>,
    is_head_request: bool,
    expects_continue: bool,
    /// True for the response of another protocol, which has no framing: all bytes are compared.
    is_text: bool,
    closer: Closer,
}

/// The first byte in which a response differs from the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Offset in the response.
    pub offset: usize,
    /// The byte of the reference; `None` if the reference ends before.
    pub expected: Option<u8>,
    /// The byte received.
    pub found: u8,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found.escape_ascii();
        write!(formatter, "byte {} is '{found}' instead of ", self.offset)?;
        match self.expected {
            Some(expected) => write!(formatter, "'{}'", expected.escape_ascii()),
            None => formatter.write_str("the end of the response"),
        }
    }
}

/// An error of the server in its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A byte is wrong, or there is one too many.
    WrongBytes(Mismatch),
    /// The status is not that of the reference.
    WrongStatus {
        /// Status of the reference.
        expected: u16,
        /// Status received.
        found: u16,
    },
    /// The body does not have the length of that of the reference.
    BodyLength {
        /// Length in the reference, in bytes.
        expected: u64,
        /// Length received, in bytes.
        found: u64,
    },
    /// The end of the response cannot be known.
    Malformed(Malformed),
    /// The stream ended before the response was complete, or before the whole request was sent.
    PrematureEof {
        /// Bytes of the response received.
        matched: usize,
        /// Length of the response; `None` if it is not known.
        length: Option<usize>,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongBytes(mismatch) => mismatch.fmt(formatter),
            Self::WrongStatus { expected, found } => {
                write!(formatter, "status {found} instead of {expected}")
            }
            Self::BodyLength { expected, found } => {
                write!(formatter, "a body of {found} bytes instead of {expected}")
            }
            Self::Malformed(malformed) => malformed.fmt(formatter),
            Self::PrematureEof { matched, length } if Some(*matched) == *length => {
                formatter.write_str("response before the whole request was sent")
            }
            Self::PrematureEof { matched, length: Some(length) } => {
                write!(formatter, "the stream ended after {matched} of {length} bytes")
            }
            Self::PrematureEof { matched, length: None } => {
                write!(formatter, "the stream ended within the response, after {matched} bytes")
            }
        }
    }
}

impl From<Mismatch> for Fault {
    fn from(mismatch: Mismatch) -> Self {
        Self::WrongBytes(mismatch)
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Reference {
    /// Creates a reference from a complete response.
    pub(super) fn new(
        response: Received,
        head: Head,
        checks: Checks,
        request: &Request,
        closer: Closer,
    ) -> Self {
        let (is_head_request, expects_continue) = (request.is_head(), request.expects_continue());
        let is_text = request.is_text();
        let varying = Vec::new();
        let mut reference = Self {
            response,
            head,
            checks,
            varying,
            is_head_request,
            expects_continue,
            is_text,
            closer,
        };
        reference.varying = reference.varying_ranges();
        reference
    }

    /// Returns the ranges of the values of fields that are not checked.
    fn varying_ranges(&self) -> Vec<Range<usize>> {
        let start = self.response.head_range.start;
        let value = |(offset, line): (usize, &[u8])| {
            let name = verify::field_name(line)?;
            let range = start + offset + name.len() + 1..start + offset + line.len();
            self.checks.may_vary(name).then_some(range)
        };
        verify::lines(self.response.head_bytes()).filter_map(value).collect()
    }

    /// Creates a reference from the response to a request of another protocol than HTTP.
    pub(super) fn of_text(bytes: Vec<u8>, request: &Request, closer: Closer) -> Self {
        let head = Head::of_length(bytes.len() as u64);
        let checks = Checks {
            status: false,
            fields_except: None,
            body: BodyCheck::Exact,
            is_learned: false,
        };
        let mut response = Received::default();
        response.bytes = bytes;
        Self::new(response, head, checks, request, closer)
    }

    /// Returns this reference with the checks that a response to the same request of another start
    /// of the server passes too, if the checks were learned.
    ///
    /// # Errors
    /// Returns a message if the responses have nothing in common that could be checked.
    pub fn merged(&self, other: &Self) -> Result<Self, String> {
        let checks = self.checks.merged(&other.checks, [&self.response, &other.response]);
        let checks = checks.filter(|_| !self.is_text || self.bytes() == other.bytes());
        let checks = checks.ok_or_else(|| {
            format!(
                "the response differs from start to start: `{}`, then `{}`. Try --verify none.",
                self.status_line(),
                other.status_line()
            )
        })?;
        let closer = match other.closer {
            Closer::Server => self.closer,
            Closer::Client => Closer::Client,
        };
        let mut merged = Self { checks, closer, ..self.clone() };
        merged.varying = merged.varying_ranges();
        Ok(merged)
    }

    /// Returns true for the response to a request of another protocol than HTTP.
    pub fn is_text(&self) -> bool {
        self.is_text
    }

    /// The whole response, with interim ones before it.
    pub fn bytes(&self) -> &[u8] {
        &self.response.bytes
    }

    /// The body, without the framing of chunks.
    pub fn body(&self) -> &[u8] {
        self.response.body()
    }

    /// The status line, such as `HTTP/1.1 200 OK`; of another protocol, the first bytes.
    pub fn status_line(&self) -> String {
        if self.is_text {
            let (excerpt, rest) = self.bytes().split_at(self.bytes().len().min(EXCERPT_BYTES));
            return format!("{}{}", excerpt.escape_ascii(), if rest.is_empty() { "" } else { "…" });
        }
        let line = verify::lines(self.response.head_bytes()).next().map_or(&[][..], |it| it.1);
        line.escape_ascii().to_string()
    }

    /// Returns true for a 2xx status, and for another protocol, whose status is not known.
    pub fn is_success(&self) -> bool {
        self.is_text || (200..300).contains(&self.head.status)
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The way in which the end of the body is known.
    pub fn framing(&self) -> Framing {
        self.head.framing
    }

    /// The parts of each response that are checked.
    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Describes what is checked of each response.
    pub fn checks_text(&self) -> String {
        if self.is_text { "every byte verified".to_owned() } else { self.checks.to_string() }
    }

    /// The side that closes connections of one request first.
    pub fn closer(&self) -> Closer {
        self.closer
    }

    /// Number of interim responses (status 1xx) before the response.
    pub fn interim_responses(&self) -> u64 {
        self.response.interim
    }

    /// The unusual properties of the response, in sentences.
    pub fn notes(&self) -> Vec<String> {
        self.response.notes(self.expects_continue)
    }

    /// The end of 100 Continue within the bytes; `None` if the server did not send it.
    pub(super) fn continue_end(&self) -> Option<usize> {
        self.response.continue_end
    }

    /// Returns true if the server did not send 100 Continue although the request expected it.
    pub fn lacks_continue(&self) -> bool {
        self.expects_continue && self.response.continue_end.is_none()
    }

    /// Returns true if the server closes the connection after this response: with
    /// `Connection: close`, or in HTTP/1.0 without `Connection: keep-alive`.
    pub fn announces_close(&self) -> bool {
        self.head.closes
    }

    pub(super) fn is_head_request(&self) -> bool {
        self.is_head_request
    }

    /// Returns true if no response can be much longer than this one.
    pub(super) fn has_known_length(&self) -> bool {
        self.checks.body != BodyCheck::None
    }

    /// Returns how many of the next `bytes` are those of the reference from `offset`.
    pub(super) fn matching(&self, offset: usize, bytes: &[u8]) -> usize {
        let expected = &self.bytes()[offset..];
        if expected.starts_with(bytes) {
            return bytes.len();
        }
        self.matching_bytewise(offset, bytes)
    }

    /// Accepts other values of the same length in fields that are not checked.
    #[cold]
    fn matching_bytewise(&self, offset: usize, bytes: &[u8]) -> usize {
        let is_equal = |&(index, (&found, &expected)): &(usize, (&u8, &u8))| {
            found == expected
                // A value that is shorter ends within this range.
                || (!matches!(found, b'\r' | b'\n')
                    && self.varying.iter().any(|it| it.contains(&(offset + index))))
        };
        bytes.iter().zip(&self.bytes()[offset..]).enumerate().take_while(is_equal).count()
    }

    /// Compares the status and the fields of another head, which starts at `offset` of its
    /// response.
    pub(super) fn check_head(&self, head: Head, bytes: &[u8], offset: usize) -> Result<(), Fault> {
        let (expected, found) = (self.head.status, head.status);
        if self.checks.status && expected != found {
            return Err(Fault::WrongStatus { expected, found });
        }
        let Some(left_out) = &self.checks.fields_except else { return Ok(()) };
        match verify::first_difference(self.response.head_bytes(), bytes, left_out) {
            None => Ok(()),
            Some((expected, found)) => {
                // A head ends with an empty line.
                let end = (bytes.len() - 1, &[][..]);
                let (expected, (start, found)) =
                    (expected.map_or(&[][..], |it| it.1), found.unwrap_or(end));
                let equal = expected.iter().zip(found).take_while(|(one, other)| one == other);
                let index = equal.count();
                Err(Fault::WrongBytes(Mismatch {
                    offset: offset + start + index,
                    expected: Some(expected.get(index).copied().unwrap_or(b'\r')),
                    found: found.get(index).copied().unwrap_or(b'\r'),
                }))
            }
        }
    }

    /// Compares a piece of another body, which starts at `position` of the body and at `offset` of
    /// its response.
    pub(super) fn check_body(
        &self,
        position: u64,
        offset: usize,
        piece: &[u8],
    ) -> Result<(), Fault> {
        if self.checks.body != BodyCheck::Exact {
            return Ok(());
        }
        let expected = self.body().get(position as usize..).unwrap_or(&[]);
        if expected.starts_with(piece) {
            return Ok(());
        }
        let index = expected.iter().zip(piece).take_while(|(one, other)| one == other).count();
        Err(Fault::WrongBytes(Mismatch {
            offset: offset + index,
            expected: expected.get(index).copied(),
            found: piece[index],
        }))
    }

    /// Compares the length of another body, which is complete.
    pub(super) fn check_body_length(&self, found: u64) -> Result<(), Fault> {
        let expected = self.body().len() as u64;
        if self.checks.body == BodyCheck::None || expected == found {
            return Ok(());
        }
        Err(Fault::BodyLength { expected, found })
    }
}

#[cfg(test)]
impl Reference {
    /// Creates a reference from a response that is complete at the end of `bytes`.
    pub(super) fn of(bytes: &[u8], verify: verify::Verify, closer: Closer) -> Self {
        let mut response = Received::default();
        response.on_bytes(bytes, false).expect("a valid response");
        let head = response.head().expect("a whole head");
        let checks = Checks::learn(verify, &[response.clone()]).expect("one response");
        let request = Request::get("/", "a", &[]).expect("a valid request");
        Self::new(response, head, checks, &request, closer)
    }
}
