//! The answers of a connection that persists, one behind the other: where each ends, and whether
//! every byte is right. It does no I/O.

use super::answer::{Mismatch, Reference};

/// Where the stream of answers stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// How many bytes of the answer at hand have come, all of them right.
    matched: usize,
    /// Whether it is the last one of its connection, and says so.
    is_last: bool,
}

/// What bytes brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// All of them belong to an answer that is not whole yet.
    Part,
    /// So many of them were the rest of an answer.
    Whole {
        count: usize,
        /// Whether nothing follows on this connection.
        is_last: bool,
    },
}

impl Answers {
    /// Takes bytes up to the end of the answer at hand; there is one byte at least.
    pub(super) fn take(&mut self, reference: &Reference, bytes: &[u8]) -> Result<Taken, Mismatch> {
        let form = reference.form(self.is_last);
        let missing = form.bytes().len() - self.matched;
        let count = bytes.len().min(missing);
        match form.check(self.matched, &bytes[..count]) {
            Ok(matched) => self.matched = matched,
            Err(mismatch) => return self.take_as_last(reference, bytes, mismatch),
        }
        if count < missing {
            return Ok(Taken::Part);
        }
        let is_last = form.announces_end();
        *self = Self::default();
        Ok(Taken::Whole { count, is_last })
    }

    /// It may be the answer that says that no other follows, if it began like that one.
    #[cold]
    fn take_as_last(
        &mut self,
        reference: &Reference,
        bytes: &[u8],
        mismatch: Mismatch,
    ) -> Result<Taken, Mismatch> {
        let begun = &reference.bytes()[..self.matched.min(reference.bytes().len())];
        let last = reference.last().filter(|_| !self.is_last);
        let Some(last) = last.filter(|last| last.check(0, begun).is_ok()) else {
            return Err(mismatch);
        };
        let next = &bytes[..bytes.len().min(last.bytes().len() - self.matched)];
        // What is wrong in both forms is told as it is against the usual one.
        last.check(self.matched, next).map_err(|_| mismatch)?;
        self.is_last = true;
        self.take(reference, bytes)
    }

    /// How many bytes of the answer at hand have come.
    pub(super) fn matched(self) -> usize {
        self.matched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

    fn reference() -> Reference {
        let learn = |bytes: &[u8]| Reference::learn(bytes.to_vec(), None).unwrap();
        learn(PLAIN).with_last(learn(LAST)).unwrap()
    }

    /// How many answers come of a stream in pieces of such a length, and whether the last one of
    /// them says that it is the last.
    fn answers(stream: &[u8], piece: usize) -> Result<(usize, bool), Mismatch> {
        let (reference, mut answers) = (reference(), Answers::default());
        let (mut count, mut ended) = (0, false);
        for mut bytes in stream.chunks(piece) {
            while !bytes.is_empty() {
                match answers.take(&reference, bytes)? {
                    Taken::Part => break,
                    Taken::Whole { count: used, is_last } => {
                        (count, ended) = (count + 1, is_last);
                        bytes = &bytes[used..];
                    }
                }
            }
        }
        assert_eq!(answers.matched(), 0, "it ends with an answer");
        Ok((count, ended))
    }

    #[test]
    fn answers_are_told_apart_however_they_are_cut() {
        let stream = [PLAIN, PLAIN, PLAIN, LAST].concat();
        for piece in 1..=stream.len() {
            assert_eq!(answers(&stream, piece), Ok((4, true)));
            assert_eq!(answers(&stream[..3 * PLAIN.len()], piece), Ok((3, false)));
        }
    }

    #[test]
    fn every_wrong_byte_is_found_in_every_answer() {
        let stream = [PLAIN, PLAIN, LAST].concat();
        for at in 0..stream.len() {
            let mut wrong = stream.clone();
            wrong[at] = 0x1f;
            for piece in [1, 7, 40, stream.len()] {
                let mismatch = answers(&wrong, piece).unwrap_err();
                assert_eq!(
                    mismatch.found,
                    if at < 2 * PLAIN.len() { 0x1f } else { mismatch.found }
                );
            }
        }
    }

    #[test]
    fn an_answer_whose_halves_change_places_is_wrong() {
        let (head, body) = PLAIN.split_at(PLAIN.len() - 5);
        let stream = [head, head, body, body].concat();
        assert!(answers(&stream, stream.len()).is_err());
    }
}
