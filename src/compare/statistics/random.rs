//! The random number generator. It is seeded, so that an experiment can be repeated exactly.

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Any seed is valid.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Starts the sequence of a seed.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns a random seed of 32 bits, short enough to type again.
    pub fn fresh_seed() -> u64 {
        use std::hash::{BuildHasher, RandomState};
        // The standard library seeds its hash maps with getrandom(2).
        RandomState::new().hash_one(0_u8) >> 32
    }

    /// Returns the next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns an integer in `0..end`. The bias of Lemire's multiplication without rejection is
    /// below `end` / 2⁶⁴.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next_u64()) * end as u128) >> 64) as usize
    }

    /// Shuffles `items` (Fisher–Yates); every order is equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn splitmix64_matches_the_reference_implementation() {
        // The first values of the C implementation for the seed 1234567.
        let mut random = Random::new(1_234_567);
        let first: Vec<_> = (0..3).map(|_| random.next_u64()).collect();
        let reference =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(first, reference);
    }

    #[test]
    fn shuffle_is_uniform() {
        let mut random = Random::new(7);
        let mut seen: HashMap<[u8; 4], u32> = HashMap::new();
        for _ in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            random.shuffle(&mut items);
            *seen.entry(items).or_default() += 1;
        }
        assert_eq!(seen.len(), 24);
        // The expected count is 1,000 with a standard deviation of 31; the limits are 6 of them.
        assert!(seen.values().all(|&count| (810..1190).contains(&count)), "{seen:?}");
    }
}
