//! The one source of chance: seeded, so that an experiment can be laid out again as it was.

/// SplitMix64: eight bytes of state, passes BigCrush, and every seed is a good one.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of this seed.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A seed that nobody chose.
    pub fn fresh_seed() -> u64 {
        use std::hash::{BuildHasher, RandomState};
        // The standard library asks the kernel for the keys of its hash maps. 32 bits are enough,
        // and short enough to be typed again.
        RandomState::new().hash_one(0_u8) >> 32
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `end` - 1. What is not even about it is below 2⁻⁵⁰ for the small ends
    /// used here.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.bits()) * end as u128) >> 64) as usize
    }

    /// Puts `items` into any order, each as likely as the others (Fisher and Yates).
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
    fn it_is_splitmix64() {
        // The first values of the reference implementation in C for the seed 1234567.
        let mut random = Random::new(1_234_567);
        let first: Vec<_> = (0..3).map(|_| random.bits()).collect();
        let reference =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(first, reference);
    }

    #[test]
    fn every_order_is_as_likely() {
        let mut random = Random::new(7);
        let mut seen: HashMap<[u8; 4], u32> = HashMap::new();
        for _ in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            random.shuffle(&mut items);
            *seen.entry(items).or_default() += 1;
        }
        assert_eq!(seen.len(), 24);
        // 1000 each, with a standard deviation of 31: six of them is one run in a billion, and
        // this seed is always the same run.
        assert!(seen.values().all(|&count| (810..1190).contains(&count)), "{seen:?}");
    }
}
