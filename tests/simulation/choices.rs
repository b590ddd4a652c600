//! Source of randomness: a string of bytes, one for each choice, so the same bytes give the same
//! history. After the last byte every choice is the first option, which is always the harmless one,
//! so a shorter string gives a simpler history.

pub(crate) struct Choices {
    bytes: Vec<u8>,
    position: usize,
}

impl Choices {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), position: 0 }
    }

    /// Returns true if no bytes are left.
    pub(crate) fn are_exhausted(&self) -> bool {
        self.position >= self.bytes.len()
    }

    /// Returns a number below `bound`; 0 if no bytes are left.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let byte = self.bytes.get(self.position).copied().unwrap_or(0);
        self.position += 1;
        if bound == 0 { 0 } else { usize::from(byte) % bound }
    }

    pub(crate) fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.below(options.len())]
    }

    /// Returns true once in `count` times; never if `count` is 1 or no bytes are left.
    pub(crate) fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1 && count > 1
    }
}

/// Returns `length` pseudorandom bytes for a seed (xorshift64*). A longer string has a shorter one
/// as its prefix.
pub fn bytes_of_seed(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
