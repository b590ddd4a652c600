//! Streams split into pieces, with the expected response, sent on concurrent connections.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use fastrand::Rng;

use crate::server::TestServer;
use common::{Client, HEAD_TOO_LARGE, RESPONSE, ReceivedStream};

/// Environment variable with the seed of every random choice, which is otherwise the clock.
pub(crate) const SEED_VARIABLE: &str = "RINGPOLL_CONFORMANCE_SEED";

const CONCURRENT_STREAMS: usize = 64;

/// Returns the seed of this run. Every engine gets the same streams with the same splits.
pub(crate) fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match std::env::var(SEED_VARIABLE) {
        Ok(seed) => seed.parse().expect("the seed is a number"),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
            u64::from(now.subsec_nanos())
        }
    })
}

/// Returns the random generator of one test.
pub(crate) fn seeded_random() -> Rng {
    Rng::with_seed(seed())
}

/// Stream of one client, split into pieces.
#[derive(Clone, Debug)]
pub(crate) struct SplitStream {
    pieces: Vec<Vec<u8>>,
    /// Bytes that determine the response. The server may close before it receives later ones.
    needed_bytes: usize,
    expected: ReceivedStream,
    /// The head is incomplete, so only the end of the stream ends the connection.
    needs_eof: bool,
}

impl SplitStream {
    /// Splits `stream` at each offset of `splits`.
    pub(crate) fn new(stream: &[u8], splits: &[usize], request_head_bytes: usize) -> Self {
        let mut splits = splits.to_vec();
        splits.extend([0, stream.len()]);
        splits.sort_unstable();
        splits.dedup();
        let pieces = splits.windows(2).map(|pair| stream[pair[0]..pair[1]].to_vec()).collect();
        let end = end_of_head(stream);
        let (expected, needed_bytes) = match end {
            Some(end) if end <= request_head_bytes => (RESPONSE, end),
            _ if stream.len() >= request_head_bytes => (HEAD_TOO_LARGE, request_head_bytes),
            _ => (&b""[..], stream.len()),
        };
        let (expected, needs_eof) = (ReceivedStream::with_fin(expected), expected.is_empty());
        Self { pieces, needed_bytes, expected, needs_eof }
    }

    pub(crate) fn byte_by_byte(stream: &[u8], request_head_bytes: usize) -> Self {
        let everywhere: Vec<_> = (0..stream.len()).collect();
        Self::new(stream, &everywhere, request_head_bytes)
    }

    pub(crate) fn expected(&self) -> &ReceivedStream {
        &self.expected
    }

    /// Returns whether more is sent than [`Self::needed_bytes`].
    fn has_trailing_bytes(&self) -> bool {
        self.bytes_before(self.pieces.len()) > self.needed_bytes
    }

    fn bytes_before(&self, piece: usize) -> usize {
        self.pieces.iter().take(piece).map(Vec::len).sum()
    }
}

/// Returns the offset after the first `\n\n` or `\n\r\n`: the definition, taken literally.
fn end_of_head(stream: &[u8]) -> Option<usize> {
    (0..=stream.len())
        .find(|&end| stream[..end].ends_with(b"\n\n") || stream[..end].ends_with(b"\n\r\n"))
}

/// Sends the streams and checks the responses. The server has received each piece before the next
/// one is sent, unless `merge` returns true.
pub(crate) fn send_and_check(
    server: &TestServer,
    streams: &[SplitStream],
    mut merge: impl FnMut() -> bool,
) {
    for batch in streams.chunks(CONCURRENT_STREAMS) {
        let before = server.received_bytes();
        let mut clients: Vec<_> = batch.iter().map(|_| server.connect()).collect();
        let steps = batch.iter().map(|stream| stream.pieces.len()).max().unwrap_or(0);
        for step in 0..steps {
            for (client, stream) in clients.iter_mut().zip(batch) {
                send_piece(client, stream, step);
            }
            if !merge() {
                let must_be_read =
                    |stream: &SplitStream| stream.needed_bytes.min(stream.bytes_before(step + 1));
                server.wait_until_received(before + batch.iter().map(must_be_read).sum::<usize>());
            }
        }
        for (mut client, stream) in clients.into_iter().zip(batch) {
            if stream.needs_eof {
                client.half_close();
            }
            server.count_pieces(stream.pieces.len());
            let got = client.read_to_end();
            let case = format!("{stream:?}");
            if stream.has_trailing_bytes() {
                server.check_with_trailing_bytes(&case, &got, &stream.expected);
            } else {
                server.check(&case, &got, &stream.expected);
            }
        }
    }
}

fn send_piece(client: &mut Client, stream: &SplitStream, index: usize) {
    let Some(piece) = stream.pieces.get(index) else { return };
    if stream.bytes_before(index + 1) <= stream.needed_bytes {
        client.send(piece);
    } else {
        client.try_send(piece);
    }
}
