//! Streams cut into pieces: what each must be answered with, and many of them sent at once.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use fastrand::Rng;

use crate::common::{Client, Exchange, HEAD_TOO_LARGE, RESPONSE};
use crate::server::Server;

/// Takes the place of the clock as the source of all chance.
pub(crate) const SEED_VARIABLE: &str = "RINGPOLL_CONFORMANCE_SEED";

/// How many streams are on their way at the same time.
const WAVE: usize = 64;

/// The seed of this run; every engine gets the same streams, cut in the same places.
pub(crate) fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match std::env::var(SEED_VARIABLE) {
        Ok(seed) => seed.parse().expect("the seed is a number"),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("1970 is over");
            u64::from(now.subsec_nanos())
        }
    })
}

/// The chance of one test.
pub(crate) fn chance() -> Rng {
    Rng::with_seed(seed())
}

/// One client's stream, cut up.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pieces: Vec<Vec<u8>>,
    /// What must have come for the answer to be known; whatever follows need not be taken.
    decisive_bytes: usize,
    expected: Exchange,
    /// The end of the head will not come: only the end of the stream tells the server so.
    ends_unanswered: bool,
}

impl Plan {
    /// `cuts` are places in the stream.
    pub(crate) fn new(stream: &[u8], cuts: &[usize], request_head_bytes: usize) -> Self {
        let mut cuts = cuts.to_vec();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let pieces = cuts.windows(2).map(|pair| stream[pair[0]..pair[1]].to_vec()).collect();
        let end = end_of_head(stream);
        let (expected, decisive_bytes) = match end {
            Some(end) if end <= request_head_bytes => (RESPONSE, end),
            _ if stream.len() >= request_head_bytes => (HEAD_TOO_LARGE, request_head_bytes),
            _ => (&b""[..], stream.len()),
        };
        let (expected, ends_unanswered) = (Exchange::finished(expected), expected.is_empty());
        Self { pieces, decisive_bytes, expected, ends_unanswered }
    }

    /// In one piece for each byte.
    pub(crate) fn byte_by_byte(stream: &[u8], request_head_bytes: usize) -> Self {
        let everywhere: Vec<_> = (0..stream.len()).collect();
        Self::new(stream, &everywhere, request_head_bytes)
    }

    /// What must come back.
    pub(crate) fn expected(&self) -> &Exchange {
        &self.expected
    }

    /// Whether more is sent than the answer depends on.
    fn goes_on(&self) -> bool {
        self.sent_before(self.pieces.len()) > self.decisive_bytes
    }

    fn sent_before(&self, piece: usize) -> usize {
        self.pieces.iter().take(piece).map(Vec::len).sum()
    }
}

/// The definition, taken literally: the first place behind `\n\n` or `\n\r\n`.
fn end_of_head(stream: &[u8]) -> Option<usize> {
    (0..=stream.len())
        .find(|&end| stream[..end].ends_with(b"\n\n") || stream[..end].ends_with(b"\n\r\n"))
}

/// Sends them all and checks what comes back. The server has read each piece before the next one
/// follows, unless `merge` says of a moment that there is no pause.
pub(crate) fn run(server: &Server, plans: &[Plan], mut merge: impl FnMut() -> bool) {
    for wave in plans.chunks(WAVE) {
        let before = server.received_bytes();
        let mut clients: Vec<_> = wave.iter().map(|_| server.connect()).collect();
        let steps = wave.iter().map(|plan| plan.pieces.len()).max().unwrap_or(0);
        for step in 0..steps {
            for (client, plan) in clients.iter_mut().zip(wave) {
                send_piece(client, plan, step);
            }
            if !merge() {
                let must_be_read =
                    |plan: &Plan| plan.decisive_bytes.min(plan.sent_before(step + 1));
                server.settle(before + wave.iter().map(must_be_read).sum::<usize>());
            }
        }
        for (mut client, plan) in clients.into_iter().zip(wave) {
            if plan.ends_unanswered {
                client.half_close();
            }
            server.count_pieces(plan.pieces.len());
            let got = client.read_to_end();
            let case = format!("{plan:?}");
            if plan.goes_on() {
                server.check_one_that_goes_on(&case, &got, &plan.expected);
            } else {
                server.check(&case, &got, &plan.expected);
            }
        }
    }
}

fn send_piece(client: &mut Client, plan: &Plan, index: usize) {
    let Some(piece) = plan.pieces.get(index) else { return };
    if plan.sent_before(index + 1) <= plan.decisive_bytes {
        client.send(piece);
    } else {
        client.sends_if_taken(piece);
    }
}
