//! One receive buffer for each connection slot. From the submission of a RECV to its last
//! completion the kernel owns the buffer: it must not be read, reused or freed.

#[cfg(debug_assertions)]
use crate::io_uring::guarded_buffers::Buffers;
#[cfg(not(debug_assertions))]
use plain::Buffers;

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

/// All receive buffers, allocated together at startup. Debug builds make those that are not lent
/// inaccessible.
pub(crate) struct RecvSlab {
    buffers: Buffers,
    buffer_bytes: usize,
    lent: Box<[bool]>,
    lent_count: usize,
}

impl RecvSlab {
    /// Allocates the buffers. Panics if `slots` or `buffer_bytes` is 0.
    pub(crate) fn new(slots: usize, buffer_bytes: usize) -> Self {
        assert!(slots > 0 && buffer_bytes > 0, "slots and buffer_bytes must be at least 1");
        let lent = vec![false; slots].into_boxed_slice();
        Self { buffers: Buffers::new(slots, buffer_bytes), buffer_bytes, lent, lent_count: 0 }
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
        Loan { pointer: self.buffers.lend(slot), length: self.buffer_bytes as u32 }
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
        // SAFETY: the buffer was lent, as `lent` confirms, and the kernel no longer uses it, as the
        // caller promises; the count is within it.
        unsafe { self.buffers.take_back(slot, count) }
    }
}

impl Drop for RecvSlab {
    /// Leaks the memory, instead of freeing it, while the kernel may still write to it.
    fn drop(&mut self) {
        if self.lent_count == 0 {
            // SAFETY: no buffer is lent, and none can be after this.
            unsafe { self.buffers.free() };
        }
    }
}

#[cfg(not(debug_assertions))]
mod plain {
    use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
    use std::ptr::NonNull;
    use std::slice;

    /// One allocation for all buffers; the kernel maps a page when it is first written.
    pub(super) struct Buffers {
        memory: NonNull<u8>,
        layout: Layout,
        buffer_bytes: usize,
    }

    impl Buffers {
        /// Neither argument is 0.
        pub(super) fn new(slots: usize, buffer_bytes: usize) -> Self {
            let bytes = slots.checked_mul(buffer_bytes).expect("the limits are below 2^63");
            let layout = Layout::array::<u8>(bytes).expect("the limits are below 2^63");
            // SAFETY: the layout's size is not zero, since neither of its factors is.
            let memory = unsafe { alloc_zeroed(layout) };
            let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
            Self { memory, layout, buffer_bytes }
        }

        /// Returns the start of the slot's buffer.
        pub(super) fn lend(&mut self, slot: u32) -> *mut u8 {
            let offset = slot as usize * self.buffer_bytes;
            assert!(offset < self.layout.size(), "slot {slot} is beyond the slab");
            // SAFETY: the offset is within the allocation, as just asserted.
            unsafe { self.memory.as_ptr().add(offset) }
        }

        /// Returns the slot's first `count` bytes.
        ///
        /// # Safety
        /// The kernel does not write to the slot any more; `count` is within the buffer.
        pub(super) unsafe fn take_back(&mut self, slot: u32, count: usize) -> &[u8] {
            let pointer = self.lend(slot);
            // SAFETY: the bytes are within the slab, which lives as long as the borrow, are
            // initialised, and have no other owner, as the caller promises.
            unsafe { slice::from_raw_parts(pointer, count) }
        }

        /// # Safety
        /// No buffer is in use, and none will be.
        pub(super) unsafe fn free(&mut self) {
            // SAFETY: allocated in `new` with this layout, and freed once, as the caller promises.
            unsafe { dealloc(self.memory.as_ptr(), self.layout) };
        }
    }
}

#[cfg(test)]
mod tests {
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
}
