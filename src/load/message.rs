//! The messages of the loads rr, crr and stream: their bytes, and the position of a connection in
//! them. No I/O.

use clap::ValueEnum;

use super::response::Mismatch;
use super::response_stream::Verified;

/// The number of bytes that are contiguous from every position of a [`Pattern`], and the size of
/// one receive.
pub(super) const WINDOW_BYTES: usize = 64 * 1024;

/// The longest message.
pub const MAX_MESSAGE_BYTES: usize = 1 << 30;

/// The direction in which messages follow each other on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// To a discard server (RFC 863). A message ends when the kernel has taken its last byte
    Send,
    /// From a chargen server (RFC 864)
    Recv,
    /// To an echo server and back
    Both,
}

impl Direction {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Recv => "recv",
            Self::Both => "both",
        }
    }
}

/// A periodic sequence of bytes.
#[derive(Debug)]
pub(super) struct Pattern {
    /// One period, and [`WINDOW_BYTES`] more, so that no slice wraps around.
    bytes: Vec<u8>,
    period: usize,
}

impl Pattern {
    /// The period of [`Self::random`]: a prime, so that consecutive messages differ unless their
    /// length is a multiple of it. One period fits in the L1 data cache.
    const RANDOM_PERIOD: usize = 4093;

    /// Bytes in which every position has other neighbours, always the same ones.
    pub(super) fn random() -> Self {
        // The high byte of a linear congruential generator with the constants of Knuth's MMIX.
        let mut state = 0_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1 << 60 | 1);
            (state >> 56) as u8
        };
        Self::repeat(std::iter::repeat_with(next).take(Self::RANDOM_PERIOD).collect())
    }

    /// The lines of a chargen server: 72 of the 95 printable ASCII characters and CRLF. The first
    /// line starts with the space, each other one with the next character (RFC 864).
    pub(super) fn chargen() -> Self {
        const CHARACTERS: usize = 95;
        let line = |first: usize| {
            let characters = (first..first + 72).map(|it| b' ' + (it % CHARACTERS) as u8);
            characters.chain(*b"\r\n")
        };
        Self::repeat((0..CHARACTERS).flat_map(line).collect())
    }

    fn repeat(mut bytes: Vec<u8>) -> Self {
        let period = bytes.len();
        bytes.extend_from_within(..);
        while bytes.len() < period + WINDOW_BYTES {
            bytes.extend_from_within(..period);
        }
        Self { bytes, period }
    }

    /// Returns at least [`WINDOW_BYTES`] from this position.
    pub(super) fn from(&self, position: u64) -> &[u8] {
        &self.bytes[(position % self.period as u64) as usize..]
    }

    /// Compares received bytes with those from `position`, of which only `sent` can be received.
    /// The mismatch has its offset in `bytes`, which are at most [`WINDOW_BYTES`].
    pub(super) fn check(&self, position: u64, sent: usize, bytes: &[u8]) -> Result<(), Mismatch> {
        let expected = &self.from(position)[..bytes.len().min(sent)];
        if expected == bytes { Ok(()) } else { Err(first_mismatch(expected, bytes)) }
    }
}

#[cold]
fn first_mismatch(expected: &[u8], bytes: &[u8]) -> Mismatch {
    let equal = bytes.iter().zip(expected).take_while(|(found, expected)| found == expected);
    let offset = equal.count();
    Mismatch { offset, expected: expected.get(offset).copied(), found: bytes[offset] }
}

/// The position of a persistent connection in the bytes of its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MessageStream {
    /// Position in the pattern of its first byte.
    start: u64,
    /// Bytes sent; from a chargen server, bytes requested: those of the messages in flight.
    sent: u64,
    received: u64,
    /// Bytes of the current message that have been received.
    matched: usize,
}

impl MessageStream {
    /// Connections with different numbers have different bytes at each position. Number 0 starts at
    /// the first byte of the pattern.
    pub(super) fn new(connection_number: u64) -> Self {
        Self { start: start_of(connection_number), ..Self::default() }
    }

    /// Returns the next bytes to send, at most `left`.
    pub(super) fn unsent<'run>(&self, pattern: &'run Pattern, left: usize) -> &'run [u8] {
        &pattern.from(self.start + self.sent)[..left.min(WINDOW_BYTES)]
    }

    pub(super) fn on_sent(&mut self, count: usize) {
        self.sent += count as u64;
    }

    /// Bytes that were sent but not received.
    pub(super) fn outstanding(&self) -> usize {
        (self.sent - self.received) as usize
    }

    /// Verifies bytes up to the end of the current message. `bytes` must not be empty.
    pub(super) fn verify(
        &mut self,
        pattern: &Pattern,
        message_bytes: usize,
        bytes: &[u8],
    ) -> Result<Verified, Mismatch> {
        let missing = message_bytes - self.matched;
        let count = bytes.len().min(missing);
        let in_message = |it: Mismatch| Mismatch { offset: it.offset + self.matched, ..it };
        let position = self.start + self.received;
        pattern.check(position, self.outstanding(), &bytes[..count]).map_err(in_message)?;
        self.received += count as u64;
        self.matched = (self.matched + count) % message_bytes;
        Ok(match count == missing {
            true => Verified::Complete { count, is_closing: false, interim: 0 },
            false => Verified::Partial,
        })
    }

    pub(super) fn matched(&self) -> usize {
        self.matched
    }
}

/// Returns the position in the pattern of a connection's first byte.
pub(super) fn start_of(connection_number: u64) -> u64 {
    // Odd, and coprime to the period: consecutive connections start far apart.
    connection_number.wrapping_mul(1_597)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `count` messages at once and verifies `received` in pieces. Returns the number of
    /// complete messages.
    fn verify_all(
        (bytes, count): (usize, usize),
        received: &[u8],
        piece: usize,
    ) -> Result<usize, Mismatch> {
        let (pattern, mut stream, mut complete) = (Pattern::random(), MessageStream::new(7), 0);
        stream.on_sent(count * bytes);
        for mut piece in received.chunks(piece) {
            while !piece.is_empty() {
                match stream.verify(&pattern, bytes, piece)? {
                    Verified::Partial => break,
                    Verified::Complete { count, .. } => {
                        complete += 1;
                        piece = &piece[count..];
                    }
                }
            }
        }
        Ok(complete)
    }

    fn sent(length: usize) -> Vec<u8> {
        MessageStream::new(7).unsent(&Pattern::random(), length).to_vec()
    }

    #[test]
    fn messages_are_verified_however_they_are_split() {
        for bytes in [1, 5, 100] {
            let received = sent(6 * bytes);
            for piece in [1, 2, 3, 7, 99, 100, 101, 600] {
                assert_eq!(verify_all((bytes, 6), &received, piece), Ok(6), "{bytes}, {piece}");
            }
        }
    }

    #[test]
    fn every_wrong_byte_is_found_with_its_offset_in_the_message() {
        for at in 0..300 {
            let mut received = sent(300);
            let expected = Some(received[at]);
            received[at] ^= 0x40;
            let mismatch = Mismatch { offset: at % 100, expected, found: received[at] };
            for piece in [1, 7, 150, 300] {
                assert_eq!(verify_all((100, 3), &received, piece), Err(mismatch), "{at}, {piece}");
            }
        }
    }

    #[test]
    fn bytes_that_were_not_sent_are_wrong() {
        let received = sent(201);
        let mismatch = Mismatch { offset: 0, expected: None, found: received[200] };
        assert_eq!(verify_all((100, 2), &received, 201), Err(mismatch));
    }

    #[test]
    fn messages_of_another_order_or_connection_are_wrong() {
        let received = sent(200);
        let swapped = [&received[100..], &received[..100]].concat();
        assert!(verify_all((100, 2), &swapped, 200).is_err());
        for other in (0..Pattern::RANDOM_PERIOD as u64).filter(|&other| other != 7) {
            let pattern = Pattern::random();
            let received = MessageStream::new(other).unsent(&pattern, 16);
            assert!(verify_all((16, 1), received, 16).is_err(), "{other}");
        }
    }

    #[test]
    fn chargen_lines_are_those_of_the_standard() {
        let pattern = Pattern::chargen();
        let lines: Vec<_> = pattern.from(0).chunks(74).take(96).collect();
        let first =
            b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n";
        assert_eq!((lines[0], lines[95]), (&first[..], &first[..]));
        assert!(lines[94].starts_with(b"~ !\""));
        assert!(lines.windows(2).all(|pair| pair[0][1..72] == pair[1][..71]));
    }

    #[test]
    fn every_window_continues_the_pattern() {
        let pattern = Pattern::random();
        for position in [0, 1, 4092, 4093, 4094, u64::from(u32::MAX)] {
            let window = &pattern.from(position)[..WINDOW_BYTES];
            for step in [1, 4092, WINDOW_BYTES - 1] {
                assert_eq!(window[step], pattern.from(position + step as u64)[0]);
            }
        }
    }
}
