//! The receive buffers, one a slot, and who owns each: from the push of a RECV to its last
//! completion a buffer is the kernel's, and nobody here may look at it, reuse it or free it.

#[cfg(debug_assertions)]
use crate::io_uring::guarded_buffers::Buffers;
#[cfg(not(debug_assertions))]
use plain::Buffers;

/// A buffer on its way to the kernel. It cannot be copied, so a buffer is lent once at a time.
pub(crate) struct Loan {
    pointer: *mut u8,
    length: u32,
}

impl Loan {
    /// What a RECV needs to know.
    pub(crate) fn into_parts(self) -> (*mut u8, u32) {
        (self.pointer, self.length)
    }
}

/// All buffers, allocated together at startup. Debug builds lock those that are not lent.
pub(crate) struct RecvSlab {
    buffers: Buffers,
    buffer_bytes: usize,
    lent: Box<[bool]>,
    lent_count: usize,
}

impl RecvSlab {
    /// So many buffers of so many bytes, of which there must be one at least.
    pub(crate) fn new(slots: usize, buffer_bytes: usize) -> Self {
        assert!(slots > 0 && buffer_bytes > 0, "no room to receive anything");
        let lent = vec![false; slots].into_boxed_slice();
        Self { buffers: Buffers::new(slots, buffer_bytes), buffer_bytes, lent, lent_count: 0 }
    }

    /// The slot's buffer becomes the kernel's.
    pub(crate) fn lend(&mut self, slot: u32) -> Loan {
        let lent = &mut self.lent[slot as usize];
        assert!(!*lent, "slot {slot}: the kernel has its buffer already");
        *lent = true;
        self.lent_count += 1;
        Loan { pointer: self.buffers.lend(slot), length: self.buffer_bytes as u32 }
    }

    /// The slot's buffer is ours again; its first `count` bytes are what came.
    ///
    /// # Safety
    /// The last completion of the RECV for which it was lent must have been taken.
    pub(crate) unsafe fn take_back(&mut self, slot: u32, count: usize) -> &[u8] {
        let lent = &mut self.lent[slot as usize];
        assert!(*lent, "slot {slot}: the kernel does not have its buffer");
        *lent = false;
        self.lent_count -= 1;
        assert!(count <= self.buffer_bytes, "more came than there was room for");
        // SAFETY: the buffer was lent and is no longer, as the caller vouches and `lent`
        // confirms; the count is within it.
        unsafe { self.buffers.take_back(slot, count) }
    }
}

impl Drop for RecvSlab {
    /// What the kernel may still write to is leaked rather than freed.
    fn drop(&mut self) {
        #[cfg(test)]
        crate::io_uring::faults::account_for_buffers(self.lent_count);
        if self.lent_count == 0 {
            // SAFETY: no loan is outstanding, and the slab is gone after this.
            unsafe { self.buffers.free() };
        }
    }
}

/// The memory itself.
#[cfg(not(debug_assertions))]
mod plain {
    use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
    use std::ptr::NonNull;
    use std::slice;

    /// One allocation for all; pages appear as they are first written.
    pub(super) struct Buffers {
        memory: NonNull<u8>,
        layout: Layout,
        buffer_bytes: usize,
    }

    impl Buffers {
        /// Neither of the two is 0.
        pub(super) fn new(slots: usize, buffer_bytes: usize) -> Self {
            let bytes = slots.checked_mul(buffer_bytes).expect("the limits are below 2^63");
            let layout = Layout::array::<u8>(bytes).expect("the limits are below 2^63");
            // SAFETY: the layout's size is not zero, since neither of its factors is.
            let memory = unsafe { alloc_zeroed(layout) };
            let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
            Self { memory, layout, buffer_bytes }
        }

        /// Where the slot's buffer begins.
        pub(super) fn lend(&mut self, slot: u32) -> *mut u8 {
            let offset = slot as usize * self.buffer_bytes;
            assert!(offset < self.layout.size(), "slot {slot} is beyond the slab");
            // SAFETY: the offset is within the allocation, as just asserted.
            unsafe { self.memory.as_ptr().add(offset) }
        }

        /// The slot's first `count` bytes.
        ///
        /// # Safety
        /// Nobody will write to the slot any more; `count` is within the buffer.
        pub(super) unsafe fn take_back(&mut self, slot: u32, count: usize) -> &[u8] {
            let pointer = self.lend(slot);
            // SAFETY: the bytes lie within the slab, which lives as long as the borrow, were
            // zeroed when allocated, and have no other owner, as the caller vouches.
            unsafe { slice::from_raw_parts(pointer, count) }
        }

        /// # Safety
        /// Nobody uses a buffer any more, and nobody will.
        pub(super) unsafe fn free(&mut self) {
            // SAFETY: allocated in `new` with this layout, and the caller gives it up.
            unsafe { dealloc(self.memory.as_ptr(), self.layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_its_own_bytes() {
        let mut slab = RecvSlab::new(3, 4);
        for slot in 0..3 {
            let (pointer, length) = slab.lend(slot).into_parts();
            assert_eq!(length, 4);
            // SAFETY: the loan is to four bytes, and this test stands in for the kernel.
            unsafe { pointer.write_bytes(slot as u8 + 1, 4) };
        }
        for slot in 0..3 {
            // SAFETY: the writes above are over.
            assert_eq!(unsafe { slab.take_back(slot, 4) }, [slot as u8 + 1; 4]);
        }
    }

    #[test]
    #[should_panic(expected = "has its buffer already")]
    fn a_buffer_is_lent_once_at_a_time() {
        let mut slab = RecvSlab::new(1, 1);
        slab.lend(0);
        slab.lend(0);
    }

    #[test]
    #[should_panic(expected = "does not have its buffer")]
    fn what_was_not_lent_is_not_taken_back() {
        // SAFETY: nothing was lent, which is what the assertion is for.
        unsafe { RecvSlab::new(1, 1).take_back(0, 0) };
    }
}
