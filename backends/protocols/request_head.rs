//! Finds the end of a request, `\n\n` or `\n\r\n` as in the reference programs, however the stream
//! is split. Each byte is scanned once, and two bits of state are kept between pieces.

/// The part of an end that was just seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Nothing,
    LineFeed,
    LineFeedCarriageReturn,
}

/// The state of a scan; [`Default`] starts one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestHead {
    seen: Seen,
}

impl RequestHead {
    /// Scans the next piece. Returns the number of its bytes up to and including the end of the
    /// head; `None` if it has no end.
    pub(super) fn scan(&mut self, piece: &[u8]) -> Option<usize> {
        let mut next = 0;
        loop {
            if self.seen == Seen::Nothing {
                next += piece[next..].iter().position(|&byte| byte == b'\n')? + 1;
                self.seen = Seen::LineFeed;
            }
            let byte = *piece.get(next)?;
            next += 1;
            self.seen = match (byte, self.seen) {
                (b'\n', _) => {
                    self.seen = Seen::Nothing;
                    return Some(next);
                }
                (b'\r', Seen::LineFeed) => Seen::LineFeedCarriageReturn,
                _ => Seen::Nothing,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, literally: the first place of either end in the stream.
    fn end_in_the_whole(bytes: &[u8]) -> Option<usize> {
        (0..=bytes.len())
            .find(|&end| bytes[..end].ends_with(b"\n\n") || bytes[..end].ends_with(b"\n\r\n"))
    }

    /// All strings over {\n, \r, x} of up to nine bytes, each split at each place.
    #[test]
    fn every_short_string_for_every_split() {
        let mut found = 0;
        for length in 0..=9u32 {
            for number in 0..3usize.pow(length) {
                let bytes: Vec<u8> =
                    (0..length).map(|place| b"\n\rx"[number / 3usize.pow(place) % 3]).collect();
                let expected = end_in_the_whole(&bytes);
                found += usize::from(expected.is_some());
                for cut in 0..=bytes.len() {
                    let mut head = RequestHead::default();
                    let (first, second) = bytes.split_at(cut);
                    let end = head.scan(first).or_else(|| Some(cut + head.scan(second)?));
                    assert_eq!(end, expected, "{bytes:?} split at {cut}");
                }
            }
        }
        assert!(found > 10_000, "too few strings have an end: {found}");
    }
}
