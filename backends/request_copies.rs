//! What has come of each request, kept only where requests are logged: the engines themselves
//! need no more of a request than the two bits that [`crate::request_head`] remembers.

/// One buffer a slot, allocated together and touched only when used.
pub(crate) struct RequestCopies {
    bytes: Box<[u8]>,
    lengths: Box<[usize]>,
    longest: usize,
}

impl RequestCopies {
    /// Room for `longest` bytes in each of so many slots.
    pub(crate) fn new(slots: usize, longest: usize) -> Self {
        Self {
            // Zeroed memory comes from the kernel unbacked: pages appear as they are written.
            bytes: vec![0; slots * longest].into_boxed_slice(),
            lengths: vec![0; slots].into_boxed_slice(),
            longest,
        }
    }

    /// More came. What exceeds the room is not kept.
    pub(crate) fn append(&mut self, slot: u32, piece: &[u8]) {
        let length = &mut self.lengths[slot as usize];
        let kept = piece.len().min(self.longest - *length);
        let start = slot as usize * self.longest + *length;
        self.bytes[start..start + kept].copy_from_slice(&piece[..kept]);
        *length += kept;
    }

    /// All that has come.
    pub(crate) fn of(&self, slot: u32) -> &[u8] {
        let start = slot as usize * self.longest;
        &self.bytes[start..start + self.lengths[slot as usize]]
    }

    /// The slot is given to somebody else.
    pub(crate) fn clear(&mut self, slot: u32) {
        self.lengths[slot as usize] = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_bounded_and_forgotten() {
        let mut copies = RequestCopies::new(2, 4);
        copies.append(1, b"ab");
        copies.append(0, b"x");
        copies.append(1, b"cde");
        assert_eq!((copies.of(0), copies.of(1)), (&b"x"[..], &b"abcd"[..]));
        copies.clear(1);
        assert_eq!((copies.of(0), copies.of(1)), (&b"x"[..], &b""[..]));
    }
}
