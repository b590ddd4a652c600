//! The memory of the receive buffers in debug builds: a page that is not lent is inaccessible
//! (mprotect(2)). A late write by the kernel fails with EFAULT and a stray read by the server
//! faults. Sanitizers would miss both, since they do not see what the kernel writes.

use std::io;
use std::ptr::{self, NonNull};
use std::slice;

const NO_ACCESS: i32 = libc::PROT_NONE;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// Every buffer ends at a page boundary and is followed by a guard page, so that an access one byte
/// past its end faults as well.
pub(crate) struct Buffers {
    memory: NonNull<u8>,
    buffer_bytes: usize,
    /// Length of one buffer, rounded up to whole pages.
    pages_bytes: usize,
    /// Distance between two buffers: the pages of one and its guard page.
    stride_bytes: usize,
    slots: usize,
    /// A copy of what was received last, since its own page is inaccessible by then.
    received: Box<[u8]>,
    /// False after the process reached `vm.max_map_count`: each accessible page between
    /// inaccessible ones adds two mappings.
    is_guarding: bool,
}

impl Buffers {
    /// Reserves the addresses. The kernel allocates memory for them when they are written.
    pub(crate) fn new(slots: usize, buffer_bytes: usize) -> Self {
        // SAFETY: sysconf takes no pointers.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let pages_bytes = buffer_bytes.next_multiple_of(page);
        let stride_bytes = pages_bytes + page;
        let bytes = stride_bytes.checked_mul(slots).expect("the limits are below 2^63");
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address that the kernel chooses overlaps no other.
        let memory = unsafe { libc::mmap(ptr::null_mut(), bytes, NO_ACCESS, flags, -1, 0) };
        let mapped = memory != libc::MAP_FAILED;
        assert!(mapped, "no room for the receive buffers: {}", io::Error::last_os_error());
        let memory = NonNull::new(memory.cast()).expect("mmap returns 0 only if requested");
        let received = vec![0; buffer_bytes].into_boxed_slice();
        let is_guarding = true;
        Self { memory, buffer_bytes, pages_bytes, stride_bytes, slots, received, is_guarding }
    }

    /// Makes the slot's pages accessible and returns the start of its buffer.
    pub(crate) fn lend(&mut self, slot: u32) -> *mut u8 {
        if self.is_guarding && self.protect_slot(slot, READ_WRITE).is_err() {
            // Merging thousands of mappings into one cannot exceed the limit.
            self.is_guarding = false;
            self.protect(0, self.stride_bytes * self.slots, READ_WRITE)
                .expect("merging mappings cannot exceed vm.max_map_count");
        }
        self.pointer(slot)
    }

    /// Makes the slot's pages inaccessible and returns a copy of its first `count` bytes.
    ///
    /// # Safety
    /// The slot is lent, and the kernel does not write to it any more; `count` is within the
    /// buffer.
    pub(crate) unsafe fn take_back(&mut self, slot: u32, count: usize) -> &[u8] {
        let pointer = self.pointer(slot);
        // SAFETY: the pages are accessible while the slot is lent, as the caller promises.
        let bytes = unsafe { slice::from_raw_parts(pointer, count) };
        self.received[..count].copy_from_slice(bytes);
        if self.is_guarding {
            self.protect_slot(slot, NO_ACCESS)
                .expect("merging mappings cannot exceed vm.max_map_count");
        }
        &self.received[..count]
    }

    /// Unmaps the buffers.
    ///
    /// # Safety
    /// No slot is lent, and none will be.
    pub(crate) unsafe fn free(&mut self) {
        // SAFETY: `new` made the mapping with this length, and the caller promises that it is no
        // longer used.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.stride_bytes * self.slots) };
    }

    fn pointer(&self, slot: u32) -> *mut u8 {
        assert!((slot as usize) < self.slots, "slot {slot} is beyond the slab");
        let before = self.pages_bytes - self.buffer_bytes;
        // SAFETY: the slot's stride lies within the mapping, and the buffer within its pages.
        unsafe { self.memory.as_ptr().add(slot as usize * self.stride_bytes + before) }
    }

    fn protect_slot(&self, slot: u32, protection: i32) -> io::Result<()> {
        self.protect(slot as usize * self.stride_bytes, self.pages_bytes, protection)
    }

    fn protect(&self, offset: usize, bytes: usize, protection: i32) -> io::Result<()> {
        // SAFETY: the offset is that of a slot, or of the whole, and lies within the mapping.
        let start = unsafe { self.memory.as_ptr().add(offset) };
        // SAFETY: only this mapping is changed, and no reference points into it: the kernel owns
        // what is lent, and received bytes are copied.
        match unsafe { libc::mprotect(start.cast(), bytes, protection) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use crate::engine_options::EngineOptions;
    use crate::io_uring::recv_slab::RecvSlab;
    use crate::io_uring::ring::Ring;
    use crate::io_uring::single_shot_options;
    use crate::real_kernel::RealKernel;
    use crate::slab::ConnectionId;
    use crate::token::{Operation, Token};

    /// Returns true if the byte is readable. write(2) finds out: it returns EFAULT where a read by
    /// this process would fault.
    fn is_readable(byte: *const u8) -> bool {
        let (_reader, writer) = io::pipe().unwrap();
        // SAFETY: the kernel checks the address and returns EFAULT if it is not readable.
        let written = unsafe { libc::write(writer.as_raw_fd(), byte.cast(), 1) };
        let error = io::Error::last_os_error().raw_os_error();
        assert!(written == 1 || error == Some(libc::EFAULT), "{error:?}");
        written == 1
    }

    #[test]
    fn only_lent_buffers_are_accessible() {
        for buffer_bytes in [1, 1024, 4096, 5000] {
            let mut buffers = Buffers::new(3, buffer_bytes);
            let (first, second) = (buffers.pointer(0), buffers.pointer(1));
            assert!(!is_readable(first), "never lent");
            assert_eq!(buffers.lend(0), first);
            assert!(is_readable(first));
            assert!(is_readable(first.wrapping_add(buffer_bytes - 1)));
            assert!(!is_readable(first.wrapping_add(buffer_bytes)), "past the end");
            assert!(!is_readable(second), "not lent");
            // SAFETY: the slot is lent, and nothing else writes to it.
            unsafe { first.write(b'x') };
            // SAFETY: as above.
            assert_eq!(unsafe { buffers.take_back(0, 1) }, b"x");
            assert!(!is_readable(first), "taken back");
            // SAFETY: nothing is lent.
            unsafe { buffers.free() };
            // Another thread may have mapped the addresses by now, so they are not read again.
        }
    }

    /// A RECV whose buffer is reused before it completes: the kernel's write must fail instead of
    /// overwriting the new contents.
    #[test]
    fn late_kernel_write_fails_with_efault() {
        let name = "io_uring::guarded_buffers::tests::late_kernel_write_fails_with_efault";
        if !common::io_uring_is_available(name) {
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let options = single_shot_options(&EngineOptions::default());
        let (mut ring, _) = Ring::<RealKernel>::open(&options).unwrap();
        let mut slab = RecvSlab::new(1, 16);
        let token = Token::new(Operation::Recv, ConnectionId::NONE);
        for taken_back_early in [false, true] {
            ring.recv(server.as_raw_fd(), slab.lend(0), token);
            if taken_back_early {
                // SAFETY: violates the requirement, which is what this test is about. The memory
                // stays mapped and inaccessible, so the kernel's write cannot succeed.
                unsafe { slab.take_back(0, 0) };
            }
            client.write_all(b"late").unwrap();
            ring.wait().unwrap();
            let (_, completion) = ring.next().unwrap();
            let result = completion.result().map_err(|error| error.raw_os_error());
            if taken_back_early {
                assert_eq!(result, Err(Some(libc::EFAULT)));
            } else {
                assert_eq!(result, Ok(4));
                // SAFETY: the completion has just been reaped.
                assert_eq!(unsafe { slab.take_back(0, 4) }, b"late");
            }
        }
        assert_eq!(ring.in_flight(), 0);
    }

    #[test]
    fn lent_buffers_outlive_the_slab() {
        let mut slab = RecvSlab::new(2, 16);
        let (lent, _) = slab.lend(1).into_parts();
        drop(slab);
        assert!(is_readable(lent), "the kernel may still write to it");
    }

    #[test]
    fn too_many_mappings_disable_only_guarding() {
        let name = "io_uring::guarded_buffers::tests::too_many_mappings_disable_only_guarding";
        if !common::is_own_process(name) {
            return;
        }
        let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
        // Each accessible buffer between inaccessible ones adds two mappings.
        let slots = limit.trim().parse::<usize>().unwrap() / 2 + 1;
        if slots > 1 << 20 {
            println!("skipped: vm.max_map_count is too large to reach in a test");
            return;
        }
        let mut buffers = Buffers::new(slots, 1);
        for slot in 0..slots as u32 {
            let pointer = buffers.lend(slot);
            // SAFETY: the buffer has one byte, and this test acts as the kernel.
            unsafe { pointer.write(slot as u8) };
        }
        assert!(!buffers.is_guarding, "the limit was not reached");
        for slot in 0..slots as u32 {
            // SAFETY: the slot is lent, and the writes above are over.
            assert_eq!(unsafe { buffers.take_back(slot, 1) }, [slot as u8]);
        }
    }
}
