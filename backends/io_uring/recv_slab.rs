//! One receive buffer for each connection slot. From the submission of a RECV to its last
//! completion the kernel owns the buffer: it must not be read, reused or freed.
//!
//! Debug builds clear a buffer when it is taken back, and pass on a copy. A later read finds no
//! data, and a late write by the kernel, which no sanitizer sees, is found when the buffer is lent
//! again.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::slice;

/// A buffer to be passed to the kernel. It is not `Copy`, so one SQE uses it.
pub(crate) struct Loan {
    pointer: *mut u8,
    length: u32,
}

impl Loan {
    /// Returns the address and length for a RECV.
    pub(crate) fn into_parts(self) -> (*mut u8, u32) {
        (self.pointer, self.length)
    }
}

/// All receive buffers, in one allocation; the kernel maps a page when it is first written.
pub(crate) struct RecvSlab {
    memory: NonNull<u8>,
    layout: Layout,
    buffer_bytes: usize,
    lent: Box<[bool]>,
    lent_count: usize,
    /// The copy of what was received last; empty in release builds.
    received: Vec<u8>,
}

impl RecvSlab {
    /// Allocates the buffers. Panics if `slots` or `buffer_bytes` is 0.
    pub(crate) fn new(slots: usize, buffer_bytes: usize) -> Self {
        assert!(slots > 0 && buffer_bytes > 0, "slots and buffer_bytes must be at least 1");
        let bytes = slots.checked_mul(buffer_bytes).expect("the limits are below 2^63");
        let layout = Layout::array::<u8>(bytes).expect("the limits are below 2^63");
        // SAFETY: the layout's size is not zero, since neither of its factors is.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        let lent = vec![false; slots].into_boxed_slice();
        Self { memory, layout, buffer_bytes, lent, lent_count: 0, received: Vec::new() }
    }

    /// Returns the number of buffers that the kernel owns.
    pub(crate) fn lent(&self) -> usize {
        self.lent_count
    }

    /// Lends the slot's buffer to the kernel. Panics if it is lent already.
    pub(crate) fn lend(&mut self, slot: u32) -> Loan {
        let lent = &mut self.lent[slot as usize];
        assert!(!*lent, "slot {slot}: the kernel has its buffer already");
        *lent = true;
        self.lent_count += 1;
        let pointer = self.buffer(slot);
        if cfg!(debug_assertions) {
            // A RECV writes from the start of its buffer.
            // SAFETY: the byte is initialised, and the kernel did not own it until now.
            let first = unsafe { pointer.read() };
            assert!(first == 0, "slot {slot}: the kernel wrote to its buffer late");
        }
        Loan { pointer, length: self.buffer_bytes as u32 }
    }

    /// Takes the slot's buffer back from the kernel and returns the `count` received bytes. Panics
    /// if it is not lent.
    ///
    /// # Safety
    /// The last completion of the RECV that used the buffer must be reaped.
    pub(crate) unsafe fn take_back(&mut self, slot: u32, count: usize) -> &[u8] {
        let lent = &mut self.lent[slot as usize];
        assert!(*lent, "slot {slot}: the kernel does not have its buffer");
        *lent = false;
        self.lent_count -= 1;
        assert!(count <= self.buffer_bytes, "received more than the buffer holds");
        // SAFETY: the buffer is within the slab, which lives as long as the borrow, and is
        // initialised. The kernel no longer uses it, as the caller promises.
        let buffer = unsafe { slice::from_raw_parts_mut(self.buffer(slot), self.buffer_bytes) };
        if cfg!(debug_assertions) {
            self.received.clear();
            self.received.extend_from_slice(&buffer[..count]);
            // All of it: a RECV that failed may have written more than `count` bytes.
            buffer.fill(0);
            return &self.received;
        }
        &buffer[..count]
    }

    fn buffer(&self, slot: u32) -> *mut u8 {
        assert!((slot as usize) < self.lent.len(), "slot {slot} is beyond the slab");
        // SAFETY: the buffer is within the allocation, as just asserted.
        unsafe { self.memory.as_ptr().add(slot as usize * self.buffer_bytes) }
    }
}

impl Drop for RecvSlab {
    /// Leaks the memory, instead of freeing it, while the kernel may still write to it.
    fn drop(&mut self) {
        if self.lent_count == 0 {
            // SAFETY: allocated in `new` with this layout, and no buffer is in use.
            unsafe { dealloc(self.memory.as_ptr(), self.layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn slots_have_separate_buffers() {
        let mut slab = RecvSlab::new(3, 4);
        for slot in 0..3 {
            let (pointer, length) = slab.lend(slot).into_parts();
            assert_eq!(length, 4);
            // SAFETY: the buffer has four bytes, and this test acts as the kernel.
            unsafe { pointer.write_bytes(slot as u8 + 1, 4) };
        }
        for slot in 0..3 {
            // SAFETY: the writes above are over.
            assert_eq!(unsafe { slab.take_back(slot, 4) }, [slot as u8 + 1; 4]);
        }
    }

    #[test]
    #[should_panic(expected = "has its buffer already")]
    fn lending_a_lent_buffer_panics() {
        let mut slab = RecvSlab::new(1, 1);
        slab.lend(0);
        slab.lend(0);
    }

    #[test]
    #[should_panic(expected = "does not have its buffer")]
    fn taking_back_an_unlent_buffer_panics() {
        // SAFETY: nothing is lent, so the assertion fires first.
        unsafe { RecvSlab::new(1, 1).take_back(0, 0) };
    }

    /// A buffer that is taken back is cleared, and reused only if the kernel left it alone.
    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "wrote to its buffer late")]
    fn late_write_panics() {
        let mut slab = RecvSlab::new(1, 4);
        let (pointer, _) = slab.lend(0).into_parts();
        // SAFETY: the buffer is lent, and this test acts as the kernel.
        unsafe { pointer.write(b'x') };
        // SAFETY: the write above is over.
        assert_eq!(unsafe { slab.take_back(0, 1) }, b"x");
        slab.lend(0);
        // SAFETY: nothing was written.
        unsafe { slab.take_back(0, 0) };
        // SAFETY: the slab still has the memory, and nothing refers to it.
        unsafe { pointer.write(b'x') };
        slab.lend(0);
    }

    #[test]
    fn lent_buffers_outlive_the_slab() {
        // The allocator unmaps memory of this size when it is freed.
        let mut slab = RecvSlab::new(1, 4 << 20);
        let (lent, _) = slab.lend(0).into_parts();
        drop(slab);
        // write(2) returns EFAULT where a read by this process would fault.
        let (_reader, writer) = io::pipe().unwrap();
        // SAFETY: the kernel checks the address.
        let written = unsafe { libc::write(writer.as_raw_fd(), lent.cast_const().cast(), 1) };
        assert_eq!(written, 1, "the kernel may still write to it");
    }
}
