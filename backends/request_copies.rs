//! Copies of requests for the request log. Without one, no byte of a request is stored.

/// One buffer for each slot, in one allocation.
pub(crate) struct RequestCopies {
    bytes: Box<[u8]>,
    lengths: Box<[usize]>,
    longest: usize,
}

impl RequestCopies {
    pub(crate) fn new(slots: usize, longest: usize) -> Self {
        Self {
            // Zeroed memory comes from the kernel unbacked: pages appear as they are written.
            bytes: vec![0; slots * longest].into_boxed_slice(),
            lengths: vec![0; slots].into_boxed_slice(),
            longest,
        }
    }

    /// Appends received bytes, up to the size of the buffer.
    pub(crate) fn append(&mut self, slot: u32, piece: &[u8]) {
        let length = &mut self.lengths[slot as usize];
        let kept = piece.len().min(self.longest - *length);
        let start = slot as usize * self.longest + *length;
        self.bytes[start..start + kept].copy_from_slice(&piece[..kept]);
        *length += kept;
    }

    pub(crate) fn get(&self, slot: u32) -> &[u8] {
        let start = slot as usize * self.longest;
        &self.bytes[start..start + self.lengths[slot as usize]]
    }

    pub(crate) fn clear(&mut self, slot: u32) {
        self.lengths[slot as usize] = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_limited_and_cleared() {
        let mut copies = RequestCopies::new(2, 4);
        copies.append(1, b"ab");
        copies.append(0, b"x");
        copies.append(1, b"cde");
        assert_eq!((copies.get(0), copies.get(1)), (&b"x"[..], &b"abcd"[..]));
        copies.clear(1);
        assert_eq!((copies.get(0), copies.get(1)), (&b"x"[..], &b""[..]));
    }
}
