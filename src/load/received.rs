//! A whole response, as it is received before the load. No I/O.

use std::ops::Range;

use super::framing::{Event, Framing, Head, Malformed, ResponseParser};

/// A response and its parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    parser: ResponseParser,
    /// All bytes, with those of interim responses.
    pub(super) bytes: Vec<u8>,
    /// The head of the final response within the bytes.
    pub(super) head_range: Range<usize>,
    /// The body of a chunked response without its framing.
    decoded: Option<Vec<u8>>,
    /// Number of interim responses.
    pub(super) interim: u64,
    /// The end of 100 Continue within the bytes.
    pub(super) continue_end: Option<usize>,
    /// Set if the server closed the connection after the response, in time.
    pub(super) is_closed: bool,
}

/// The state of a response after some of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Partial,
    Complete {
        /// Number of bytes after the end of the response.
        extra: usize,
    },
}

impl Received {
    /// Adds bytes up to the end of the response.
    pub(super) fn on_bytes(
        &mut self,
        mut bytes: &[u8],
        is_head_request: bool,
    ) -> Result<Progress, Malformed> {
        loop {
            let before = bytes;
            let event = self.parser.next(&mut bytes, is_head_request);
            // Bytes of an invalid response are kept too, because the message quotes them.
            self.bytes.extend_from_slice(&before[..before.len() - bytes.len()]);
            match event? {
                Event::NeedsMore => return Ok(Progress::Partial),
                Event::Interim => {
                    self.interim += 1;
                    if self.parser.has_continued() {
                        self.continue_end.get_or_insert(self.bytes.len());
                    }
                }
                Event::Head => {
                    let end = self.bytes.len();
                    self.head_range = end - self.parser.head_bytes().len()..end;
                    let framing = self.parser.head().map(|head| head.framing);
                    self.decoded = (framing == Some(Framing::Chunked)).then(Vec::new);
                }
                Event::Body(piece) => {
                    if let Some(decoded) = &mut self.decoded {
                        decoded.extend_from_slice(piece);
                    }
                }
                Event::Complete => return Ok(Progress::Complete { extra: bytes.len() }),
            }
        }
    }

    /// Returns true if the end of the connection completes the response.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.parser.ends_with_connection()
    }

    /// The parsed head; `None` if it is incomplete.
    pub(super) fn head(&self) -> Option<Head> {
        self.parser.head()
    }

    pub(super) fn head_bytes(&self) -> &[u8] {
        &self.bytes[self.head_range.clone()]
    }

    /// The body without the framing of chunks.
    pub(super) fn body(&self) -> &[u8] {
        self.decoded.as_deref().unwrap_or(&self.bytes[self.head_range.end..])
    }

    /// Returns the unusual properties of the response, in sentences.
    pub(super) fn notes(&self, expects_continue: bool) -> Vec<String> {
        let head = self.head();
        let is_asked_for = expects_continue && self.interim == 1 && self.continue_end.is_some();
        let has = |it: fn(Head) -> bool| head.is_some_and(it);
        let interim = match self.interim {
            1 => "1 interim response (status 1xx) before".to_owned(),
            count => format!("{count} interim responses (status 1xx) before"),
        };
        [
            (
                self.interim > 0 && !is_asked_for,
                format!("The server sends {interim} the response. It is skipped."),
            ),
            (
                self.parser.has_bare_lf(),
                "The server ends lines with LF instead of CRLF. Other clients may refuse that."
                    .to_owned(),
            ),
            (
                has(|head| head.repeats_length),
                "The server sends Content-Length more than once, with the same value.".to_owned(),
            ),
            (
                has(|head| head.overrides_length),
                "The server sends Content-Length with Transfer-Encoding, which overrides it."
                    .to_owned(),
            ),
            (
                has(|head| head.ignores_length),
                "The server sends a Content-Length with a status that has no body. It is ignored."
                    .to_owned(),
            ),
        ]
        .into_iter()
        .filter_map(|(applies, note)| applies.then_some(note))
        .collect()
    }
}
