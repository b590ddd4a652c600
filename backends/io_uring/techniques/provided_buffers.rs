//! `provided_buffers`: all connections share a ring of receive buffers (IORING_REGISTER_PBUF_RING,
//! see io_uring_register_buf_ring(3)).
//!
//! Replaces the buffer of each RECV: the kernel picks one from the ring when bytes have arrived.
//!
//! Kernel: Linux 5.19.
//!
//! Helps with many idle connections, which hold no buffer, and multishot receives need it. Hurts
//! where the ring is too small: a RECV that finds it empty fails with ENOBUFS and is submitted
//! again at the end of the loop iteration, when the other connections have returned theirs.
//!
//! The kernel owns a buffer from [`ProvidedBuffers::provide`] to the CQE that names it; the server
//! owns it from then until it has processed the bytes.

use std::io;
use std::mem;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use ::io_uring::types::BufRingEntry;

use crate::kernel::KernelRing;

/// The buffer group ID; there is one group.
pub(crate) const GROUP: u16 = 0;

/// The buffer ring and its buffers, in one mapping, since the ring must be page-aligned.
pub(crate) struct ProvidedBuffers {
    memory: NonNull<u8>,
    memory_bytes: usize,
    entries: u16,
    buffer_bytes: usize,
    /// The ring tail, modulo 2^16: the number of buffers ever provided.
    tail: u16,
    /// For each buffer, the one provided after it. The ring itself does not keep this order, since
    /// its entries are overwritten once the kernel has read them.
    next_buffer: Box<[u16]>,
    last_provided: u16,
    /// True for buffers that the kernel owns.
    lent: Box<[bool]>,
}

impl ProvidedBuffers {
    /// Registers a buffer ring and provides all its buffers. `entries` must be a power of two.
    ///
    /// # Errors
    /// EINVAL if the kernel does not support it, ENOMEM if memory is short.
    pub(crate) fn register(
        ring: &mut impl KernelRing,
        entries: u16,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        let ring_bytes = usize::from(entries) * size_of::<BufRingEntry>();
        let memory_bytes = ring_bytes + usize::from(entries) * buffer_bytes;
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address that the kernel chooses overlaps no other.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), memory_bytes, access, kind, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).expect("mmap returns 0 only if requested");
        let next_buffer = vec![0; entries.into()].into_boxed_slice();
        let lent = vec![false; entries.into()].into_boxed_slice();
        let mut buffers = Self {
            memory,
            memory_bytes,
            entries,
            buffer_bytes,
            tail: 0,
            next_buffer,
            last_provided: 0,
            lent,
        };
        let address = memory.as_ptr() as u64;
        // SAFETY: the mapping holds the ring, and is freed only after the ring is unregistered;
        // otherwise it is leaked.
        if let Err(error) = unsafe { ring.register_buffer_ring(address, entries, GROUP) } {
            // SAFETY: the kernel has not registered it.
            unsafe { buffers.free() };
            return Err(error);
        }
        for buffer in 0..entries {
            buffers.provide(buffer);
        }
        Ok(buffers)
    }

    /// Adds the buffer to the ring, so that the kernel may receive into it
    /// (io_uring_buf_ring_add(3), io_uring_buf_ring_advance(3)).
    pub(crate) fn provide(&mut self, buffer: u16) {
        let was_lent = mem::replace(&mut self.lent[usize::from(buffer)], true);
        assert!(!was_lent, "buffer {buffer}: the kernel has it already");
        let index = self.tail % self.entries;
        self.next_buffer[usize::from(self.last_provided)] = buffer;
        self.last_provided = buffer;
        let address = self.pointer(buffer) as u64;
        let bytes = self.buffer_bytes as u32;
        // SAFETY: the kernel does not read the entry before the tail has passed it.
        let entry = unsafe { &mut *self.entry(index) };
        entry.set_addr(address);
        entry.set_len(bytes);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the ring is mapped, and its first entry holds the tail.
        let tail = unsafe { BufRingEntry::tail(self.ring()) };
        // SAFETY: the tail is aligned, lives as long as the mapping, and is written only here.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Takes ownership of a buffer from the kernel and returns the `count` bytes received into it.
    ///
    /// # Safety
    /// A completion that is processed for the first time names this buffer and count; or the buffer
    /// is a later one of a bundle ([`super::bundles`]).
    pub(crate) unsafe fn take(&mut self, buffer: u16, count: usize) -> &[u8] {
        assert!(buffer < self.entries && count <= self.buffer_bytes, "no such buffer");
        let was_lent = mem::replace(&mut self.lent[usize::from(buffer)], false);
        assert!(was_lent, "buffer {buffer}: the kernel does not have it");
        // SAFETY: the buffer is within the mapping, and the server owns it until it is provided
        // again, as the caller promises; the kernel zeroed its bytes when they were mapped.
        unsafe { slice::from_raw_parts(self.pointer(buffer), count) }
    }

    /// Returns the buffer that the kernel fills after this one, which must not be provided again
    /// yet.
    pub(crate) fn next_after(&self, buffer: u16) -> u16 {
        self.next_buffer[usize::from(buffer)]
    }

    /// Returns the number of buffers that the server owns.
    pub(crate) fn taken(&self) -> usize {
        self.lent.iter().filter(|is_lent| !**is_lent).count()
    }

    /// Returns the size of one buffer.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    fn ring(&self) -> *mut BufRingEntry {
        self.memory.as_ptr().cast()
    }

    fn entry(&self, index: u16) -> *mut BufRingEntry {
        assert!(index < self.entries, "no such entry");
        // SAFETY: the index is within the ring.
        unsafe { self.ring().add(usize::from(index)) }
    }

    fn pointer(&self, buffer: u16) -> *mut u8 {
        let ring_bytes = usize::from(self.entries) * size_of::<BufRingEntry>();
        // SAFETY: the mapping has room for every buffer of the ring.
        unsafe { self.memory.as_ptr().add(ring_bytes + usize::from(buffer) * self.buffer_bytes) }
    }

    /// Unmaps the ring and its buffers.
    ///
    /// # Safety
    /// The buffer ring is not registered, and no RECV is in flight.
    pub(crate) unsafe fn free(self) {
        // SAFETY: the mapping was made with this length and is unused, as the caller promises.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.memory_bytes) };
    }
}
