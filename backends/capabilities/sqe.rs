//! SQEs for probes. They point only to statics and to the memory of their ring.

use std::os::fd::RawFd;
use std::ptr;

use ::io_uring::{opcode, squeue, squeue::Flags, types};

/// `IORING_RECVSEND_POLL_FIRST` (io_uring_enter(2)).
pub(super) const RECVSEND_POLL_FIRST: u16 = 1;
/// A bit of the same field that no kernel defines.
pub(super) const UNKNOWN_FLAG: u16 = 1 << 14;
/// `IORING_SEND_ZC_REPORT_USAGE` (io_uring_enter(2)).
pub(super) const SEND_ZC_REPORT_USAGE: u16 = 8;

const ASYNC_CANCEL_ALL: u32 = 1;
const ASYNC_CANCEL_OP: u32 = 1 << 5;

pub(super) static SHORT_TIMEOUT: types::Timespec = types::Timespec::new().nsec(1_000_000);

/// A submission queue entry whose pointers stay valid until its last completion.
pub(super) struct Sqe {
    entry: squeue::Entry,
    skips_completion: bool,
}

impl Sqe {
    /// Wraps an entry without pointers, or with pointers to statics or to the memory of the ring
    /// that it is pushed to.
    pub(super) fn new(entry: squeue::Entry) -> Self {
        Self { entry, skips_completion: false }
    }

    pub(super) fn into_entry(self) -> squeue::Entry {
        self.entry
    }

    /// Returns true if the kernel posts no CQE on success (IOSQE_CQE_SKIP_SUCCESS).
    pub(super) fn skips_completion(&self) -> bool {
        self.skips_completion
    }

    pub(super) fn flags(self, flags: Flags) -> Self {
        let skips_completion = self.skips_completion || flags.contains(Flags::SKIP_SUCCESS);
        Self { entry: self.entry.flags(flags), skips_completion }
    }

    /// Makes the descriptor an index into the table of registered files.
    pub(super) fn fixed(self) -> Self {
        self.flags(Flags::FIXED_FILE)
    }

    pub(super) fn nop() -> Self {
        Self::new(opcode::Nop::new().build())
    }

    /// A NOP that every kernel refuses at submission: its personality is not registered.
    pub(super) fn invalid() -> Self {
        Self::new(opcode::Nop::new().build().personality(0x7fff))
    }

    pub(super) fn accept(listener: RawFd) -> Self {
        Self::new(Self::accept_entry(listener).flags(libc::SOCK_CLOEXEC).build())
    }

    /// Accepts into a slot of the file table; `None` lets the kernel allocate it. Without
    /// SOCK_CLOEXEC, which the kernel refuses for a direct descriptor.
    pub(super) fn accept_direct(listener: RawFd, slot: Option<u32>) -> Self {
        let slot = slot.and_then(|slot| types::DestinationSlot::try_from_slot_target(slot).ok());
        let slot = slot.unwrap_or(types::DestinationSlot::auto_target());
        Self::new(Self::accept_entry(listener).file_index(Some(slot)).build())
    }

    fn accept_entry(listener: RawFd) -> opcode::Accept {
        opcode::Accept::new(types::Fd(listener), ptr::null_mut(), ptr::null_mut())
    }

    pub(super) fn accept_multishot(listener: RawFd) -> Self {
        Self::new(opcode::AcceptMulti::new(types::Fd(listener)).flags(libc::SOCK_CLOEXEC).build())
    }

    pub(super) fn accept_direct_multishot(listener: RawFd) -> Self {
        let entry = opcode::AcceptMulti::new(types::Fd(listener)).allocate_file_index(true);
        Self::new(entry.build())
    }

    /// Receives into a provided buffer of `length` bytes. Before Linux 5.19 a length of zero
    /// receives nothing; later it means the whole buffer.
    pub(super) fn recv_provided(socket: RawFd, group: u16, length: usize) -> Self {
        let null = ptr::null_mut();
        let entry = opcode::Recv::new(types::Fd(socket), null, length as u32).buf_group(group);
        Self::new(entry.build()).flags(Flags::BUFFER_SELECT)
    }

    pub(super) fn recv_multishot(socket: RawFd, group: u16) -> Self {
        Self::new(opcode::RecvMulti::new(types::Fd(socket), group).build())
    }

    pub(super) fn recv_bundle(socket: RawFd, group: u16) -> Self {
        Self::new(opcode::RecvMultiBundle::new(types::Fd(socket), group).build())
    }

    pub(super) fn send(socket: RawFd, bytes: &'static [u8], ioprio: u16) -> Self {
        let entry = opcode::Send::new(types::Fd(socket), bytes.as_ptr(), bytes.len() as u32);
        Self::new(entry.ioprio(ioprio).build())
    }

    pub(super) fn send_bundle(socket: RawFd, group: u16) -> Self {
        Self::new(opcode::SendBundle::new(types::Fd(socket), group).build())
    }

    pub(super) fn send_zc(socket: RawFd, bytes: &'static [u8], ioprio: u16) -> Self {
        let entry = opcode::SendZc::new(types::Fd(socket), bytes.as_ptr(), bytes.len() as u32);
        Self::new(entry.zc_flags(ioprio).build())
    }

    pub(super) fn shutdown(socket: RawFd, how: i32) -> Self {
        Self::new(opcode::Shutdown::new(types::Fd(socket), how).build())
    }

    pub(super) fn close(socket: RawFd) -> Self {
        Self::new(opcode::Close::new(types::Fd(socket)).build())
    }

    pub(super) fn close_direct(slot: u32) -> Self {
        Self::new(opcode::Close::new(types::Fixed(slot)).build())
    }

    pub(super) fn poll(socket: RawFd) -> Self {
        Self::new(opcode::PollAdd::new(types::Fd(socket), libc::POLLIN as u32).build())
    }

    pub(super) fn poll_multishot(socket: RawFd) -> Self {
        Self::new(opcode::PollAdd::new(types::Fd(socket), libc::POLLIN as u32).multi(true).build())
    }

    pub(super) fn timeout() -> Self {
        Self::new(opcode::Timeout::new(&raw const SHORT_TIMEOUT).build())
    }

    /// A timeout that expires `count` times.
    pub(super) fn timeout_multishot(count: u32) -> Self {
        let flags = types::TimeoutFlags::MULTISHOT;
        Self::new(opcode::Timeout::new(&raw const SHORT_TIMEOUT).count(count).flags(flags).build())
    }

    pub(super) fn link_timeout() -> Self {
        Self::new(opcode::LinkTimeout::new(&raw const SHORT_TIMEOUT).build())
    }

    pub(super) fn cancel(id: u64) -> Self {
        Self::new(opcode::AsyncCancel::new(id).build())
    }

    pub(super) fn cancel_matching(which: types::CancelBuilder) -> Self {
        Self::new(opcode::AsyncCancel2::new(which).build())
    }

    /// Cancels all requests with this opcode.
    pub(super) fn cancel_op(opcode: u8) -> Self {
        let mut entry = opcode::AsyncCancel::new(0).build();
        let words = (&raw mut entry).cast::<u32>();
        // The io-uring crate cannot build it. In struct io_uring_sqe, `len` is the seventh 32-bit
        // word and `cancel_flags` the eighth.
        // SAFETY: an entry has 64 bytes, is aligned to eight, and all bit patterns are valid.
        unsafe { words.wrapping_add(6).write(opcode.into()) };
        // SAFETY: as above.
        unsafe { words.wrapping_add(7).write(ASYNC_CANCEL_OP | ASYNC_CANCEL_ALL) };
        Self::new(entry)
    }

    /// Posts a CQE to another ring.
    pub(super) fn msg_ring(ring: RawFd, result: i32, id: u64) -> Self {
        Self::new(opcode::MsgRingData::new(types::Fd(ring), result, id, None).build())
    }

    /// Installs a registered file in the table of another ring, in a slot that the kernel
    /// allocates.
    pub(super) fn msg_ring_send_fd(ring: RawFd, slot: u32, id: u64) -> Self {
        let to = types::DestinationSlot::auto_target();
        let entry = opcode::MsgRingSendFd::new(types::Fd(ring), types::Fixed(slot), to, id);
        Self::new(entry.build())
    }
}
