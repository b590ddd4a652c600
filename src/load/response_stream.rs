//! Verifies responses, which can follow each other directly. No I/O.
//!
//! As long as the bytes are those of the reference, comparing them is all that is done: the end of
//! such a response is that of the reference. Only a response that differs is parsed.

use super::framing::{Event, Framing, ResponseParser};
use super::response::{Fault, Mismatch, Reference};

/// Position in the stream of responses.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseStream {
    /// Bytes of the current response that equal those of the reference.
    matched: usize,
    /// Set if the current response differs from the reference.
    is_parsing: bool,
    parsing: Parsing,
}

/// State of a response that differs from the reference.
#[derive(Clone, Debug, Default)]
struct Parsing {
    parser: ResponseParser,
    body_bytes: u64,
    interim: u64,
    /// The byte in which the response differs, which may turn out to be correct.
    difference: Option<Mismatch>,
}

/// Result of verifying received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verified {
    /// All bytes belong to a response that is not complete.
    Partial,
    /// The first `count` bytes complete a response.
    Complete {
        count: usize,
        /// True if no other response follows on this connection.
        is_closing: bool,
        /// Number of interim responses before it.
        interim: u64,
    },
}

impl ResponseStream {
    /// Forgets the current response.
    pub(super) fn reset(&mut self) {
        (self.matched, self.is_parsing) = (0, false);
    }

    /// Verifies bytes up to the end of the current response. `bytes` must not be empty.
    pub(super) fn verify(
        &mut self,
        reference: &Reference,
        bytes: &[u8],
    ) -> Result<Verified, Fault> {
        if self.is_parsing {
            return self.parse(reference, bytes);
        }
        let missing = reference.bytes().len() - self.matched;
        let count = bytes.len().min(missing);
        let ends_with_connection = reference.framing() == Framing::UntilClose;
        let equal = reference.matching(self.matched, &bytes[..count]);
        if equal < count || (ends_with_connection && count < bytes.len()) {
            return self.start_parsing(reference, bytes, equal);
        }
        self.matched += count;
        if count < missing || ends_with_connection {
            return Ok(Verified::Partial);
        }
        self.matched = 0;
        let interim = reference.interim_responses();
        Ok(Verified::Complete { count, is_closing: reference.announces_close(), interim })
    }

    /// Parses a response that differs from the reference after `equal` of these bytes.
    #[cold]
    fn start_parsing(
        &mut self,
        reference: &Reference,
        bytes: &[u8],
        equal: usize,
    ) -> Result<Verified, Fault> {
        let offset = self.matched + equal;
        let expected = reference.bytes().get(offset).copied();
        if reference.is_text() {
            return Err(Mismatch { offset, expected, found: bytes[equal] }.into());
        }
        let Parsing { parser, body_bytes, interim, difference } = &mut self.parsing;
        parser.reset();
        (*body_bytes, *interim, self.is_parsing) = (0, 0, true);
        *difference = Some(Mismatch { offset, expected, found: bytes[equal] });
        // The bytes before are those of the reference, except for values that are not checked.
        self.parse(reference, &reference.bytes()[..self.matched])?;
        self.parse(reference, bytes)
    }

    fn parse(&mut self, reference: &Reference, bytes: &[u8]) -> Result<Verified, Fault> {
        let Parsing { parser, body_bytes, interim, .. } = &mut self.parsing;
        let mut rest = bytes;
        loop {
            match parser.next(&mut rest, reference.is_head_request())? {
                Event::NeedsMore => return Ok(Verified::Partial),
                Event::Interim => *interim += 1,
                Event::Head => {
                    let (head, bytes) = (parser.head(), parser.head_bytes());
                    let start = parser.position() - bytes.len();
                    head.map_or(Ok(()), |head| reference.check_head(head, bytes, start))?;
                }
                Event::Body(piece) => {
                    let offset = parser.position() - piece.len();
                    reference.check_body(*body_bytes, offset, piece)?;
                    *body_bytes += piece.len() as u64;
                }
                Event::Complete => {
                    reference.check_body_length(*body_bytes)?;
                    let is_closing = parser.head().is_some_and(|head| head.closes);
                    let (count, interim) = (bytes.len() - rest.len(), *interim);
                    self.reset();
                    return Ok(Verified::Complete { count, is_closing, interim });
                }
            }
        }
    }

    /// Completes the current response with the end of the stream. Returns the number of interim
    /// responses before it.
    pub(super) fn on_end_of_stream(&self, reference: &Reference) -> Result<u64, Fault> {
        let length = reference.bytes().len();
        if self.is_parsing {
            let Parsing { parser, body_bytes, interim, .. } = &self.parsing;
            if parser.ends_with_connection() {
                return reference.check_body_length(*body_bytes).map(|()| *interim);
            }
            return Err(match self.undecided_difference() {
                Some(mismatch) => Fault::WrongBytes(mismatch),
                None => Fault::PrematureEof { matched: parser.position(), length: None },
            });
        }
        if self.matched == length && reference.framing() == Framing::UntilClose {
            return Ok(reference.interim_responses());
        }
        Err(Fault::PrematureEof { matched: self.matched, length: Some(length) })
    }

    /// Returns the byte in which the current response differs from the reference, if its head is
    /// incomplete, so that it is not known whether that is correct.
    pub(super) fn undecided_difference(&self) -> Option<Mismatch> {
        let Parsing { parser, difference, .. } = &self.parsing;
        difference.filter(|_| self.is_parsing && parser.head().is_none())
    }

    /// Returns true if 100 Continue has been received, and the response to it is incomplete.
    pub(super) fn has_continued(&self, reference: &Reference) -> bool {
        if self.is_parsing {
            return self.parsing.parser.has_continued();
        }
        reference.continue_end().is_some_and(|end| self.matched >= end)
    }

    /// Bytes of the current response that have been received.
    pub(super) fn received(&self) -> usize {
        if self.is_parsing { self.parsing.parser.position() } else { self.matched }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::response::Closer;
    use crate::load::verify::Verify;

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 14:04:17 GMT\r\nServer: a\r\n\
        Content-Length: 5\r\n\r\nhello";
    const CLOSING: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Tue, 01 Dec 2026 09:59:58 GMT\r\nServer: a\
        \r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    const CHUNKED: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nServer: a\r\n\
        Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nA: b\r\n\r\n";

    /// Returns the number of complete responses, whether the last one announces the close, and the
    /// number of interim responses.
    fn verify_all(
        (reference, verify): (&[u8], Verify),
        stream: &[u8],
        piece: usize,
    ) -> Result<(usize, bool, u64), Fault> {
        let reference = Reference::of(reference, verify, Closer::Server);
        let mut responses = ResponseStream::default();
        let (mut count, mut ended, mut interims) = (0, false, 0);
        for mut bytes in stream.chunks(piece) {
            while !bytes.is_empty() {
                match responses.verify(&reference, bytes)? {
                    Verified::Partial => break,
                    Verified::Complete { count: used, is_closing, interim } => {
                        (count, ended) = (count + 1, is_closing);
                        interims += interim;
                        bytes = &bytes[used..];
                    }
                }
            }
        }
        assert_eq!(responses.received(), 0, "the last response is incomplete");
        Ok((count, ended, interims))
    }

    #[test]
    fn responses_are_verified_however_the_stream_is_split() {
        let stream = [PLAIN, CLOSING, PLAIN, PLAIN, CLOSING].concat();
        for piece in 1..=stream.len() {
            let verified = verify_all((PLAIN, Verify::Bytes), &stream, piece);
            assert_eq!(verified, Ok((5, true, 0)), "{piece}");
        }
    }

    #[test]
    fn framing_may_differ_from_the_reference_where_fields_are_not_checked() {
        let stream = [PLAIN, CHUNKED, CHUNKED, PLAIN].concat();
        for reference in [PLAIN, CHUNKED] {
            for piece in 1..=stream.len() {
                let verified = verify_all((reference, Verify::Body), &stream, piece);
                assert_eq!(verified, Ok((4, false, 2)), "{piece}");
            }
            let verified = verify_all((reference, Verify::Bytes), &stream, stream.len());
            assert!(matches!(verified, Err(Fault::WrongBytes(_))), "{verified:?}");
        }
    }

    #[test]
    fn every_wrong_byte_is_found_in_every_response() {
        let position = |response: &[u8], part: &[u8]| {
            response.windows(part.len()).position(|it| it == part).expect("a part of it")
        };
        let (date, extension) = (position(PLAIN, b" Mon"), position(CHUNKED, b"a=b"));
        let final_head = position(CHUNKED, b"HTTP/1.1 200");
        let trailer = position(CHUNKED, b"A: b");
        for (response, left_out) in [
            (PLAIN, [date..date + 30, 0..0, 0..0]),
            (CHUNKED, [0..final_head, extension..extension + 4, trailer..trailer + 5]),
        ] {
            let stream = [response, response, response].concat();
            for at in (0..response.len()).filter(|at| !left_out.iter().any(|it| it.contains(at))) {
                let mut wrong = stream.clone();
                wrong[response.len() + at] = 0x1f;
                for piece in [1, 7, 40, stream.len()] {
                    let verified = verify_all((response, Verify::Bytes), &wrong, piece);
                    assert!(verified.is_err(), "{at}, {piece}: {verified:?}");
                }
            }
        }
    }

    #[test]
    fn value_that_is_shorter_or_longer_is_left_out() {
        let with_age = |age: &str| {
            format!("HTTP/1.1 200 OK\r\nAge: {age}\r\nContent-Length: 5\r\n\r\nhello").into_bytes()
        };
        let stream: Vec<u8> = ["9", "10", "100", "", "7", "1000000"].map(with_age).concat();
        for reference in ["9", "10", "1000"].map(with_age) {
            for piece in 1..=stream.len() {
                let verified = verify_all((&reference, Verify::Bytes), &stream, piece);
                assert_eq!(verified, Ok((6, false, 0)), "{piece}");
            }
        }
    }

    #[test]
    fn difference_is_named() {
        let found = |response: &[u8]| {
            let verified = verify_all((PLAIN, Verify::Bytes), response, 1000);
            verified.unwrap_err().to_string()
        };
        let text = str::from_utf8(PLAIN).unwrap();
        let changed = |from, to| found(text.replace(from, to).as_bytes());
        assert_eq!(changed("200 OK", "503 No"), "status 503 instead of 200");
        assert_eq!(changed("Server: a", "Server: b"), "byte 62 is 'b' instead of 'a'");
        assert_eq!(changed("hello", "hullo"), "byte 87 is 'u' instead of 'e'");
        assert_eq!(changed("Server: a\r\n", ""), "byte 54 is 'C' instead of 'S'");
        assert!(changed("HTTP/1.1 200", "hTTP/1.1 200").starts_with("the response is not HTTP"));
        let verified = verify_all(
            (PLAIN, Verify::Body),
            text.replace(": 5", ": 2").replace("hello", "he").as_bytes(),
            1000,
        );
        assert_eq!(verified, Err(Fault::BodyLength { expected: 5, found: 2 }));
    }

    #[test]
    fn response_with_interleaved_parts_is_wrong() {
        let (head, body) = PLAIN.split_at(PLAIN.len() - 5);
        let stream = [head, head, body, body].concat();
        assert!(verify_all((PLAIN, Verify::Bytes), &stream, stream.len()).is_err());
    }
}
