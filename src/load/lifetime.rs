//! The number of requests that a connection carries, in total and at once.

use super::random::splitmix64;

/// The lifetime of connections, counted in requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Each connection carries one request. The server closes it after the response.
    OneRequest,
    /// Persistent connections with up to `depth` requests in flight each. Responses arrive in the
    /// order of the requests (RFC 9112, section 9.3.2).
    Persistent {
        /// Requests in flight on each connection. With 1, requests are not pipelined.
        depth: usize,
    },
    /// One fifth of the connections carry [`LONG_LIFETIME_REQUESTS`] requests in sequence, the
    /// others one. The length of each is random: 4 of 20 requests have their own connection.
    Mixed {
        /// The seed of the random lengths.
        seed: u64,
    },
}

/// The number of requests on a long connection of [`Lifetime::Mixed`].
pub const LONG_LIFETIME_REQUESTS: u32 = 16;

/// The largest number of requests in flight on one connection.
pub(super) const MAX_DEPTH: usize = 1024;

impl Lifetime {
    /// Returns true if a connection can carry more than one request.
    pub fn is_persistent(self) -> bool {
        self != Self::OneRequest
    }

    /// Returns the maximum number of requests in flight on one connection.
    pub fn depth(self) -> usize {
        if let Self::Persistent { depth } = self { depth } else { 1 }
    }
}

/// The number of requests on each new connection of one thread.
#[derive(Clone, Copy, Debug)]
pub(super) enum RequestCounts {
    Unlimited,
    Random { state: u64 },
}

impl RequestCounts {
    /// Each `stream` has its own random sequence.
    pub(super) fn new(lifetime: Lifetime, stream: u64) -> Self {
        match lifetime {
            Lifetime::Mixed { seed } => Self::Random { state: seed.wrapping_add(stream << 32) },
            Lifetime::OneRequest | Lifetime::Persistent { .. } => Self::Unlimited,
        }
    }

    /// Returns the number of requests for the next connection; `None` is unlimited.
    pub(super) fn next(&mut self) -> Option<u32> {
        let Self::Random { state } = self else { return None };
        Some(if splitmix64(state).is_multiple_of(5) { LONG_LIFETIME_REQUESTS } else { 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fifth_of_requests_has_its_own_connection() {
        let mut counts = RequestCounts::new(Lifetime::Mixed { seed: 1 }, 0);
        let lengths: Vec<u32> = (0..50_000).map(|_| counts.next().unwrap()).collect();
        let single = lengths.iter().filter(|&&requests| requests == 1).count() as f64;
        let share = single / lengths.iter().sum::<u32>() as f64;
        assert!((0.19..0.21).contains(&share), "{share}");
        let mut again = RequestCounts::new(Lifetime::Mixed { seed: 1 }, 0);
        assert!(lengths.iter().all(|&requests| again.next() == Some(requests)));
        let mut other = RequestCounts::new(Lifetime::Mixed { seed: 1 }, 1);
        assert!(lengths.iter().any(|&requests| other.next() != Some(requests)));
        assert_eq!(RequestCounts::new(Lifetime::Persistent { depth: 2 }, 0).next(), None);
    }
}
