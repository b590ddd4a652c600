//! How long a connection lives: how many requests it carries, and how many of them at once.

/// What connections are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// One connection a request: the end of the connection is the end of the answer.
    OneRequest,
    /// Connections that persist, with at most so many requests under way on each; the answers come
    /// in the order of the requests.
    Persistent {
        /// How many requests are sent before the first of them is answered; 1 waits each time.
        depth: usize,
    },
    /// Four of five connections carry one request, the fifth carries [`LONG_LIFE`] one after the
    /// other: a fifth of all requests has a connection of its own. Which comes next is drawn.
    Mixed {
        /// Decides what is drawn; the same seed draws the same.
        seed: u64,
    },
}

/// How many requests the longer connections of [`Life::Mixed`] carry.
pub const LONG_LIFE: u32 = 16;

/// The most requests that a plan may have under way on one connection.
pub(super) const MOST_DEPTH: usize = 1024;

impl Life {
    /// Whether connections outlive their first request.
    pub fn is_persistent(self) -> bool {
        self != Self::OneRequest
    }

    /// How many requests are under way on one connection at the most.
    pub fn depth(self) -> usize {
        if let Self::Persistent { depth } = self { depth } else { 1 }
    }
}

/// How many requests each connection of one thread carries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lives {
    Endless,
    Drawn { state: u64 },
}

impl Lives {
    /// Other draws for each `stream`.
    pub(super) fn new(life: Life, stream: u64) -> Self {
        match life {
            Life::Mixed { seed } => Self::Drawn { state: seed.wrapping_add(stream << 32) },
            Life::OneRequest | Life::Persistent { .. } => Self::Endless,
        }
    }

    /// How many the next one carries; `None` is no limit.
    pub(super) fn next(&mut self) -> Option<u32> {
        let Self::Drawn { state } = self else { return None };
        // splitmix64.
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = *state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        Some(if bits.is_multiple_of(5) { LONG_LIFE } else { 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_requests_has_a_connection_of_its_own() {
        let mut lives = Lives::new(Life::Mixed { seed: 1 }, 0);
        let drawn: Vec<u32> = (0..50_000).map(|_| lives.next().unwrap()).collect();
        let alone = drawn.iter().filter(|&&requests| requests == 1).count() as f64;
        let share = alone / drawn.iter().sum::<u32>() as f64;
        assert!((0.19..0.21).contains(&share), "{share}");
        let mut again = Lives::new(Life::Mixed { seed: 1 }, 0);
        assert!(drawn.iter().all(|&requests| again.next() == Some(requests)));
        let mut other = Lives::new(Life::Mixed { seed: 1 }, 1);
        assert!(drawn.iter().any(|&requests| other.next() != Some(requests)));
        assert_eq!(Lives::new(Life::Persistent { depth: 2 }, 0).next(), None);
    }
}
