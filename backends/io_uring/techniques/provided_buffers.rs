//! `provided_buffers`: replaces the buffer that each RECV is lent with one that the kernel takes
//! out of a ring of them when bytes have come (IORING_REGISTER_PBUF_RING, Linux 5.19).
//!
//! Gain: memory, since whoever is silent holds none; and it is what multishot receives need. In
//! the load of one request a connection it could not be measured. It hurts where too few buffers
//! make the kernel answer ENOBUFS: whoever it says that to waits until the others have given
//! theirs back, which they do at once, and is asked again in its turn.
//!
//! Who owns a buffer: the kernel, from [`ProvidedBuffers::give_back`] to the completion that names
//! it; then the server, until it has looked at the bytes.

use std::io;
use std::mem;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use ::io_uring::types::BufRingEntry;

use crate::io_uring::ring::Ring;

/// The one group that there is.
pub(crate) const GROUP: u16 = 0;

/// The ring of buffers and the buffers themselves, in one mapping of their own: the ring must
/// begin a page.
pub(crate) struct ProvidedBuffers {
    memory: NonNull<u8>,
    memory_bytes: usize,
    entries: u16,
    buffer_bytes: usize,
    /// How many were ever given, modulo 2^16: the end of the ring as the kernel reads it.
    given: u16,
    /// Which buffer was given behind each of them, and which was the last to be given. The ring
    /// does not tell: an entry is written anew as soon as the kernel has read it.
    behind: Box<[u16]>,
    last: u16,
    /// Which of them are the kernel's.
    lent: Box<[bool]>,
}

impl ProvidedBuffers {
    /// So many buffers, a power of two, of so many bytes, all of which become the kernel's.
    ///
    /// # Errors
    /// EINVAL where the kernel does not know of it, ENOMEM where it has no room.
    pub(crate) fn register(ring: &mut Ring, entries: u16, buffer_bytes: usize) -> io::Result<Self> {
        let ring_bytes = usize::from(entries) * size_of::<BufRingEntry>();
        let memory_bytes = ring_bytes + usize::from(entries) * buffer_bytes;
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, wherever the kernel has room for it, touches no other.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), memory_bytes, access, kind, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).expect("mmap gives no address zero unasked");
        let behind = vec![0; entries.into()].into_boxed_slice();
        let lent = vec![false; entries.into()].into_boxed_slice();
        let mut buffers =
            Self { memory, memory_bytes, entries, buffer_bytes, given: 0, behind, last: 0, lent };
        let address = memory.as_ptr() as u64;
        // SAFETY: the mapping holds the ring. Where it goes before the kernel's ring does, it is
        // unregistered first, or leaked.
        if let Err(error) = unsafe { ring.lend_buffer_ring(address, entries, GROUP) } {
            // SAFETY: the kernel has not taken it.
            unsafe { buffers.free() };
            return Err(error);
        }
        for buffer in 0..entries {
            buffers.give_back(buffer);
        }
        Ok(buffers)
    }

    /// The kernel may fill it again.
    pub(crate) fn give_back(&mut self, buffer: u16) {
        let was_lent = mem::replace(&mut self.lent[usize::from(buffer)], true);
        assert!(!was_lent, "buffer {buffer}: the kernel has it already");
        let place = self.given % self.entries;
        self.behind[usize::from(self.last)] = buffer;
        self.last = buffer;
        let address = self.pointer(buffer) as u64;
        let bytes = self.buffer_bytes as u32;
        // SAFETY: the kernel does not read the entry before the end of the ring has passed it.
        let entry = unsafe { &mut *self.entry(place) };
        entry.set_addr(address);
        entry.set_len(bytes);
        entry.set_bid(buffer);
        self.given = self.given.wrapping_add(1);
        // SAFETY: the ring is there, and its first entry holds the end of the ring.
        let end = unsafe { BufRingEntry::tail(self.ring()) };
        // SAFETY: the end is aligned, lives as long as the mapping, and is written to nowhere else.
        let end = unsafe { AtomicU16::from_ptr(end.cast_mut()) };
        end.store(self.given, Ordering::Release);
    }

    /// What came, in the buffer that it stands in, which is the server's from now on.
    ///
    /// # Safety
    /// A completion that nobody has looked at yet names this buffer and this count; or, of a
    /// bundle, its first buffer and what stands in the ones before ([`super::bundles`]).
    pub(crate) unsafe fn bytes(&mut self, buffer: u16, count: usize) -> &[u8] {
        assert!(buffer < self.entries && count <= self.buffer_bytes, "not a buffer of ours");
        let was_lent = mem::replace(&mut self.lent[usize::from(buffer)], false);
        assert!(was_lent, "buffer {buffer}: the kernel does not have it");
        // SAFETY: the buffer is within the mapping, and the server's until it is given back, as
        // the caller vouches; its bytes were zeroed by the kernel when they were mapped.
        unsafe { slice::from_raw_parts(self.pointer(buffer), count) }
    }

    /// The buffer that the kernel fills behind this one, which it has filled and which has not been
    /// given back.
    pub(crate) fn behind(&self, buffer: u16) -> u16 {
        self.behind[usize::from(buffer)]
    }

    /// How many buffers the server has not given back.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.lent.iter().filter(|is_lent| !**is_lent).count()
    }

    /// How many bytes one buffer holds.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    fn ring(&self) -> *mut BufRingEntry {
        self.memory.as_ptr().cast()
    }

    fn entry(&self, place: u16) -> *mut BufRingEntry {
        assert!(place < self.entries, "not a place of the ring's");
        // SAFETY: the place is within the ring.
        unsafe { self.ring().add(usize::from(place)) }
    }

    fn pointer(&self, buffer: u16) -> *mut u8 {
        let ring_bytes = usize::from(self.entries) * size_of::<BufRingEntry>();
        // SAFETY: the buffer is one of the ring's, which the mapping has room for.
        unsafe { self.memory.as_ptr().add(ring_bytes + usize::from(buffer) * self.buffer_bytes) }
    }

    /// The memory goes back to the process; until then the kernel may write to it.
    ///
    /// # Safety
    /// The kernel's ring is gone, or has been told so, and no receive is in flight.
    pub(crate) unsafe fn free(self) {
        // SAFETY: the mapping was made with this length, and nobody uses it, as the caller vouches.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.memory_bytes) };
    }
}
