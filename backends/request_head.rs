//! Finds the end of a request: `\n\n` or `\n\r\n`, wherever it stands and however it was cut up
//! on its way. Each byte is looked at once, and nothing but two bits of memory is kept between
//! two pieces.

/// How much of an end has been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Nothing,
    LineFeed,
    LineFeedCarriageReturn,
}

/// The state of one search; [`Default`] starts a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    seen: Seen,
}

impl RequestHead {
    /// Looks at the next piece. Returns how many of its bytes belong to the head, up to and
    /// including the end, or `None` when the end has not come yet.
    pub fn scan(&mut self, piece: &[u8]) -> Option<usize> {
        for (index, byte) in piece.iter().enumerate() {
            self.seen = match (byte, self.seen) {
                (b'\n', Seen::Nothing) => Seen::LineFeed,
                (b'\n', Seen::LineFeed | Seen::LineFeedCarriageReturn) => {
                    self.seen = Seen::Nothing;
                    return Some(index + 1);
                }
                (b'\r', Seen::LineFeed) => Seen::LineFeedCarriageReturn,
                _ => Seen::Nothing,
            };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, taken literally: the first place where either end stands in the whole.
    fn end_in_the_whole(bytes: &[u8]) -> Option<usize> {
        (0..=bytes.len())
            .find(|&end| bytes[..end].ends_with(b"\n\n") || bytes[..end].ends_with(b"\n\r\n"))
    }

    /// All strings over {\n, \r, x} up to nine bytes, each cut in each place.
    #[test]
    fn every_string_in_every_cut() {
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
                    assert_eq!(end, expected, "{bytes:?} cut at {cut}");
                }
            }
        }
        assert!(found > 10_000, "the check must meet ends: {found}");
    }
}
