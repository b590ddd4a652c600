//! Verifies the responses on a persistent connection, which follow each other directly. No I/O.

use super::response::{Mismatch, Reference};

/// Position in the stream of responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ResponseStream {
    /// Bytes of the current response that have been received and are correct.
    matched: usize,
    /// Set if the current response has `Connection: close`.
    is_closing: bool,
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
    },
}

impl ResponseStream {
    /// Verifies bytes up to the end of the current response. `bytes` must not be empty.
    pub(super) fn verify(
        &mut self,
        reference: &Reference,
        bytes: &[u8],
    ) -> Result<Verified, Mismatch> {
        let expected = reference.expected(self.is_closing);
        let missing = expected.bytes().len() - self.matched;
        let count = bytes.len().min(missing);
        match expected.check(self.matched, &bytes[..count]) {
            Ok(matched) => self.matched = matched,
            Err(mismatch) => return self.verify_closing(reference, bytes, mismatch),
        }
        if count < missing {
            return Ok(Verified::Partial);
        }
        let is_closing = expected.announces_close();
        *self = Self::default();
        Ok(Verified::Complete { count, is_closing })
    }

    /// Verifies against the response with `Connection: close`, if the bytes before also match it.
    #[cold]
    fn verify_closing(
        &mut self,
        reference: &Reference,
        bytes: &[u8],
        mismatch: Mismatch,
    ) -> Result<Verified, Mismatch> {
        let received = &reference.bytes()[..self.matched.min(reference.bytes().len())];
        let closing = reference.closing().filter(|_| !self.is_closing);
        let Some(closing) = closing.filter(|closing| closing.check(0, received).is_ok()) else {
            return Err(mismatch);
        };
        let next = &bytes[..bytes.len().min(closing.bytes().len() - self.matched)];
        // If neither matches, the mismatch with the usual response is reported.
        closing.check(self.matched, next).map_err(|_| mismatch)?;
        self.is_closing = true;
        self.verify(reference, bytes)
    }

    /// Bytes of the current response that have been received.
    pub(super) fn matched(self) -> usize {
        self.matched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    const CLOSING: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

    fn reference() -> Reference {
        let new = |bytes: &[u8]| Reference::new(bytes.to_vec(), None).unwrap();
        new(PLAIN).with_closing(new(CLOSING)).unwrap()
    }

    /// Returns the number of complete responses, and whether the last one announces the close.
    fn verify_all(stream: &[u8], piece: usize) -> Result<(usize, bool), Mismatch> {
        let (reference, mut responses) = (reference(), ResponseStream::default());
        let (mut count, mut ended) = (0, false);
        for mut bytes in stream.chunks(piece) {
            while !bytes.is_empty() {
                match responses.verify(&reference, bytes)? {
                    Verified::Partial => break,
                    Verified::Complete { count: used, is_closing } => {
                        (count, ended) = (count + 1, is_closing);
                        bytes = &bytes[used..];
                    }
                }
            }
        }
        assert_eq!(responses.matched(), 0, "the last response is incomplete");
        Ok((count, ended))
    }

    #[test]
    fn responses_are_verified_however_the_stream_is_split() {
        let stream = [PLAIN, PLAIN, PLAIN, CLOSING].concat();
        for piece in 1..=stream.len() {
            assert_eq!(verify_all(&stream, piece), Ok((4, true)));
            assert_eq!(verify_all(&stream[..3 * PLAIN.len()], piece), Ok((3, false)));
        }
    }

    #[test]
    fn every_wrong_byte_is_found_in_every_response() {
        let stream = [PLAIN, PLAIN, CLOSING].concat();
        for at in 0..stream.len() {
            let mut wrong = stream.clone();
            wrong[at] = 0x1f;
            for piece in [1, 7, 40, stream.len()] {
                let mismatch = verify_all(&wrong, piece).unwrap_err();
                assert_eq!(
                    mismatch.found,
                    if at < 2 * PLAIN.len() { 0x1f } else { mismatch.found }
                );
            }
        }
    }

    #[test]
    fn response_with_interleaved_parts_is_wrong() {
        let (head, body) = PLAIN.split_at(PLAIN.len() - 5);
        let stream = [head, head, body, body].concat();
        assert!(verify_all(&stream, stream.len()).is_err());
    }
}
