//! Where chance comes from: a string of bytes, each of which decides one thing. The same bytes
//! are the same history. When they have run out every choice is the first one, which is always
//! the harmless one, so a shorter string is a calmer history.

/// The bytes that are left.
pub(super) struct Choices {
    bytes: Vec<u8>,
    position: usize,
}

impl Choices {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), position: 0 }
    }

    /// Whether nothing is left to chance any more.
    pub(super) fn are_over(&self) -> bool {
        self.position >= self.bytes.len()
    }

    /// One of so many; the first when the bytes have run out.
    pub(super) fn below(&mut self, many: usize) -> usize {
        let byte = self.bytes.get(self.position).copied().unwrap_or(0);
        self.position += 1;
        if many == 0 { 0 } else { usize::from(byte) % many }
    }

    /// One of these.
    pub(super) fn of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())]
    }

    /// True once in so many times, and never when the bytes have run out.
    pub(super) fn once_in(&mut self, many: usize) -> bool {
        self.below(many) == many - 1 && many > 1
    }
}

/// So many bytes that follow from a seed (xorshift64*).
#[must_use]
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
