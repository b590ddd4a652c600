//! What a trial can push: entries that point to nothing but statics and the trial's own memory.

use std::os::fd::RawFd;
use std::ptr;

use ::io_uring::{opcode, squeue, squeue::Flags, types};

use super::trial::Trial;

/// `IORING_RECVSEND_POLL_FIRST` (io_uring_enter(2)).
pub(super) const POLL_FIRST: u16 = 1;
/// A bit of the same field that no kernel has a meaning for.
pub(super) const NO_SUCH_FLAG: u16 = 1 << 14;
/// `IORING_SEND_ZC_REPORT_USAGE` (io_uring_enter(2)).
pub(super) const REPORT_USAGE: u16 = 8;

const ASYNC_CANCEL_ALL: u32 = 1;
const ASYNC_CANCEL_OP: u32 = 1 << 5;

/// Soon: as long as something takes that must not be done at once.
pub(super) static SOON: types::Timespec = types::Timespec::new().nsec(1_000_000);

/// An entry whose pointers stay valid until its last completion.
pub(super) struct Ask {
    entry: squeue::Entry,
    skips_success: bool,
}

impl Ask {
    /// For entries without pointers, or with pointers to statics or the memory of the trial that
    /// they are pushed to: this file makes no others.
    fn new(entry: squeue::Entry) -> Self {
        Self { entry, skips_success: false }
    }

    pub(super) fn into_entry(self) -> squeue::Entry {
        self.entry
    }

    pub(super) fn skips_success(&self) -> bool {
        self.skips_success
    }

    pub(super) fn flags(self, flags: Flags) -> Self {
        let skips_success = self.skips_success || flags.contains(Flags::SKIP_SUCCESS);
        Self { entry: self.entry.flags(flags), skips_success }
    }

    /// The descriptor is an index into the table of registered files.
    pub(super) fn fixed(self) -> Self {
        self.flags(Flags::FIXED_FILE)
    }

    pub(super) fn nop() -> Self {
        Self::new(opcode::Nop::new().build())
    }

    /// What every kernel finds fault with before it starts it: credentials that nobody has
    /// registered.
    pub(super) fn faulty() -> Self {
        Self::new(opcode::Nop::new().build().personality(0x7fff))
    }

    pub(super) fn accept(listener: RawFd) -> Self {
        Self::new(Self::accept_entry(listener).flags(libc::SOCK_CLOEXEC).build())
    }

    /// Into a slot of the table; `None` lets the kernel choose. Without SOCK_CLOEXEC, which the
    /// kernel refuses together with it.
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

    /// Into the memory of the trial, from its first byte on; `how` is a set of flags for the
    /// ring (ioprio).
    pub(super) fn recv(trial: &Trial, socket: RawFd, length: usize, how: u16) -> Self {
        let to = trial.address(0, length);
        Self::new(opcode::Recv::new(types::Fd(socket), to, length as u32).ioprio(how).build())
    }

    /// Into a provided buffer.
    pub(super) fn recv_provided(socket: RawFd, group: u16) -> Self {
        let entry = opcode::Recv::new(types::Fd(socket), ptr::null_mut(), 0).buf_group(group);
        Self::new(entry.build()).flags(Flags::BUFFER_SELECT)
    }

    pub(super) fn recv_multishot(socket: RawFd, group: u16) -> Self {
        Self::new(opcode::RecvMulti::new(types::Fd(socket), group).build())
    }

    pub(super) fn recv_bundle(socket: RawFd, group: u16) -> Self {
        Self::new(opcode::RecvMultiBundle::new(types::Fd(socket), group).build())
    }

    pub(super) fn send(socket: RawFd, bytes: &'static [u8], how: u16) -> Self {
        let entry = opcode::Send::new(types::Fd(socket), bytes.as_ptr(), bytes.len() as u32);
        Self::new(entry.ioprio(how).build())
    }

    pub(super) fn send_bundle(socket: RawFd, group: u16) -> Self {
        Self::new(opcode::SendBundle::new(types::Fd(socket), group).build())
    }

    pub(super) fn send_zero_copy(socket: RawFd, bytes: &'static [u8], how: u16) -> Self {
        let entry = opcode::SendZc::new(types::Fd(socket), bytes.as_ptr(), bytes.len() as u32);
        Self::new(entry.zc_flags(how).build())
    }

    /// Gives buffers of the trial's memory to a group, in the way from before there were rings of
    /// buffers.
    pub(super) fn provide(trial: &Trial, offset: usize, length: usize, group: u16) -> Self {
        let from = trial.address(offset, length);
        Self::new(opcode::ProvideBuffers::new(from, length as i32, 1, group, 0).build())
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
        Self::new(opcode::Timeout::new(&raw const SOON).build())
    }

    /// Goes off so many times.
    pub(super) fn timeout_multishot(times: u32) -> Self {
        let flags = types::TimeoutFlags::MULTISHOT;
        Self::new(opcode::Timeout::new(&raw const SOON).count(times).flags(flags).build())
    }

    pub(super) fn link_timeout() -> Self {
        Self::new(opcode::LinkTimeout::new(&raw const SOON).build())
    }

    pub(super) fn cancel(id: u64) -> Self {
        Self::new(opcode::AsyncCancel::new(id).build())
    }

    pub(super) fn cancel_matching(which: types::CancelBuilder) -> Self {
        Self::new(opcode::AsyncCancel2::new(which).build())
    }

    /// Cancels all that are of one operation.
    pub(super) fn cancel_operation(operation: u8) -> Self {
        let mut entry = opcode::AsyncCancel::new(0).build();
        let words = (&raw mut entry).cast::<u32>();
        // The crate has no words for it: in struct io_uring_sqe, `len` is the seventh word of
        // 32 bits and `cancel_flags` the eighth.
        // SAFETY: an entry is 64 bytes, is aligned to eight, and may hold any bits.
        unsafe { words.wrapping_add(6).write(operation.into()) };
        // SAFETY: the same.
        unsafe { words.wrapping_add(7).write(ASYNC_CANCEL_OP | ASYNC_CANCEL_ALL) };
        Self::new(entry)
    }

    /// A completion on another ring.
    pub(super) fn message(ring: RawFd, result: i32, id: u64) -> Self {
        Self::new(opcode::MsgRingData::new(types::Fd(ring), result, id, None).build())
    }

    /// A registered file into the table of another ring, where the kernel chooses the slot.
    pub(super) fn message_file(ring: RawFd, slot: u32, id: u64) -> Self {
        let to = types::DestinationSlot::auto_target();
        let entry = opcode::MsgRingSendFd::new(types::Fd(ring), types::Fixed(slot), to, id);
        Self::new(entry.build())
    }
}
