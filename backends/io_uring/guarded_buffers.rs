//! The memory of the receive buffers in debug builds: a page that is not lent cannot be reached.
//! A write of the kernel's that comes too late fails with EFAULT, and a read of ours faults,
//! where either would go unseen otherwise: no sanitizer sees what the kernel writes.

use std::io;
use std::ptr::{self, NonNull};
use std::slice;

const NOTHING: i32 = libc::PROT_NONE;
const READ_AND_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// Every buffer ends where a page ends, and a page that is never opened follows it, so that one
/// byte too many faults as well.
pub(crate) struct Buffers {
    memory: NonNull<u8>,
    buffer_bytes: usize,
    /// The pages of one buffer, in bytes.
    pages_bytes: usize,
    /// From one buffer to the next: its pages and the one that stays closed.
    stride_bytes: usize,
    slots: usize,
    /// Holds what was received last, since its own page is closed by then.
    received: Box<[u8]>,
    /// False when the process has no room for more mappings: each open page among closed ones
    /// takes two of `vm.max_map_count`.
    guarding: bool,
}

impl Buffers {
    /// Reserves the addresses; there is no memory behind them until they are lent.
    pub(crate) fn new(slots: usize, buffer_bytes: usize) -> Self {
        // SAFETY: sysconf takes no pointers.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let pages_bytes = buffer_bytes.next_multiple_of(page);
        let stride_bytes = pages_bytes + page;
        let bytes = stride_bytes.checked_mul(slots).expect("the limits are below 2^63");
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, wherever the kernel has room for it, touches no other.
        let memory = unsafe { libc::mmap(ptr::null_mut(), bytes, NOTHING, flags, -1, 0) };
        let mapped = memory != libc::MAP_FAILED;
        assert!(mapped, "no room for the receive buffers: {}", io::Error::last_os_error());
        let memory = NonNull::new(memory.cast()).expect("mmap gives no address zero unasked");
        let received = vec![0; buffer_bytes].into_boxed_slice();
        let guarding = true;
        Self { memory, buffer_bytes, pages_bytes, stride_bytes, slots, received, guarding }
    }

    /// Opens the slot's page, and says where in it the buffer begins.
    pub(crate) fn lend(&mut self, slot: u32) -> *mut u8 {
        if self.guarding && self.protect_slot(slot, READ_AND_WRITE).is_err() {
            // One mapping in place of thousands always finds room.
            self.guarding = false;
            self.protect(0, self.stride_bytes * self.slots, READ_AND_WRITE)
                .expect("mappings that become one take no room");
        }
        self.pointer(slot)
    }

    /// Closes the slot's page; its first `count` bytes are kept until the next call.
    ///
    /// # Safety
    /// The slot is lent, and nobody will write to it any more; `count` is within the buffer.
    pub(crate) unsafe fn take_back(&mut self, slot: u32, count: usize) -> &[u8] {
        let pointer = self.pointer(slot);
        // SAFETY: the page is open as long as the slot is lent, as the caller vouches.
        let bytes = unsafe { slice::from_raw_parts(pointer, count) };
        self.received[..count].copy_from_slice(bytes);
        if self.guarding {
            self.protect_slot(slot, NOTHING).expect("mappings that become one take no room");
        }
        &self.received[..count]
    }

    /// Gives the addresses back: whoever still uses one faults.
    ///
    /// # Safety
    /// No slot is lent, and none will be.
    pub(crate) unsafe fn free(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and the caller gives it up.
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
        // SAFETY: only this mapping is changed, and no reference of ours points into it: what is
        // lent is the kernel's, and what was received is copied.
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

    use crate::backend::EngineOptions;
    use crate::io_uring::faults;
    use crate::io_uring::recv_slab::RecvSlab;
    use crate::io_uring::ring::Ring;
    use crate::own_process;
    use crate::slots::ConnectionId;
    use crate::token::{Operation, Token};

    /// Whether the byte can be read, found out by asking the kernel to: it answers EFAULT where
    /// a read of ours would end the process.
    fn can_be_read(byte: *const u8) -> bool {
        let (_reader, writer) = io::pipe().unwrap();
        // SAFETY: the kernel looks at the address, and refuses it where there is nothing.
        let written = unsafe { libc::write(writer.as_raw_fd(), byte.cast(), 1) };
        let error = io::Error::last_os_error().raw_os_error();
        assert!(written == 1 || error == Some(libc::EFAULT), "{error:?}");
        written == 1
    }

    #[test]
    fn only_what_is_lent_can_be_reached() {
        for buffer_bytes in [1, 1024, 4096, 5000] {
            let mut buffers = Buffers::new(3, buffer_bytes);
            let (first, second) = (buffers.pointer(0), buffers.pointer(1));
            assert!(!can_be_read(first), "it was never lent");
            assert_eq!(buffers.lend(0), first);
            assert!(can_be_read(first));
            assert!(can_be_read(first.wrapping_add(buffer_bytes - 1)));
            assert!(!can_be_read(first.wrapping_add(buffer_bytes)), "one byte too many");
            assert!(!can_be_read(second), "the other is not lent");
            // SAFETY: the slot is lent, and nobody else writes to it.
            unsafe { first.write(b'x') };
            // SAFETY: as above.
            assert_eq!(unsafe { buffers.take_back(0, 1) }, b"x");
            assert!(!can_be_read(first), "it was taken back");
            // SAFETY: nothing is lent.
            unsafe { buffers.free() };
            // By now another thread's mapping may stand there, so it is not looked at again.
        }
    }

    /// A RECV whose buffer is given away before it completes: the kernel's write must fail, and
    /// must not reach whoever would have the memory by then.
    #[test]
    fn a_late_write_of_the_kernels_fails() {
        let name = "io_uring::guarded_buffers::tests::a_late_write_of_the_kernels_fails";
        if faults::tests::is_refused(name) {
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let mut ring = Ring::new(&EngineOptions::default()).unwrap();
        let mut slab = RecvSlab::new(1, 16);
        let token = Token::new(Operation::Recv, ConnectionId::NONE);
        for taken_back_early in [false, true] {
            ring.recv(server.as_raw_fd(), slab.lend(0), token);
            if taken_back_early {
                // SAFETY: not what the function asks for, which is what this test is about: the
                // memory stays mapped and closed, so the kernel's write cannot succeed.
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
                // SAFETY: the completion has just been taken.
                assert_eq!(unsafe { slab.take_back(0, 4) }, b"late");
            }
        }
        assert_eq!(ring.in_flight(), 0);
    }

    #[test]
    fn what_is_lent_stays_when_the_slab_goes() {
        let mut slab = RecvSlab::new(2, 16);
        let (lent, _) = slab.lend(1).into_parts();
        drop(slab);
        assert!(can_be_read(lent), "the kernel may still write to it");
    }

    #[test]
    fn too_many_mappings_end_the_guarding_and_nothing_else() {
        let name =
            "io_uring::guarded_buffers::tests::too_many_mappings_end_the_guarding_and_nothing_else";
        if !own_process::is_inside(name) {
            return;
        }
        let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
        // Each open buffer among closed ones makes two mappings.
        let slots = limit.trim().parse::<usize>().unwrap() / 2 + 1;
        if slots > 1 << 20 {
            println!("skipped: this kernel allows more mappings than a test should make");
            return;
        }
        let mut buffers = Buffers::new(slots, 1);
        for slot in 0..slots as u32 {
            let pointer = buffers.lend(slot);
            // SAFETY: the loan is to one byte, and this test stands in for the kernel.
            unsafe { pointer.write(slot as u8) };
        }
        assert!(!buffers.guarding, "the limit was not met");
        for slot in 0..slots as u32 {
            // SAFETY: the slot is lent, and the writes above are over.
            assert_eq!(unsafe { buffers.take_back(slot, 1) }, [slot as u8]);
        }
    }
}
