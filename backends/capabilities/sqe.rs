//! SQEs that several probes submit. They point only to statics.

use std::os::fd::RawFd;

use ::io_uring::squeue::Entry;
use ::io_uring::{opcode, types};

/// `IORING_RECVSEND_POLL_FIRST` (io_uring_enter(2)).
pub(super) const RECVSEND_POLL_FIRST: u16 = 1;
/// A bit of the same field that no kernel defines.
pub(super) const UNKNOWN_FLAG: u16 = 1 << 14;

pub(super) static SHORT_TIMEOUT: types::Timespec = types::Timespec::new().nsec(1_000_000);

pub(super) fn nop() -> Entry {
    opcode::Nop::new().build()
}

/// Returns a poll for readability.
pub(super) fn poll(socket: RawFd) -> Entry {
    opcode::PollAdd::new(types::Fd(socket), libc::POLLIN as u32).build()
}

pub(super) fn poll_multishot(socket: RawFd) -> Entry {
    opcode::PollAdd::new(types::Fd(socket), libc::POLLIN as u32).multi(true).build()
}

pub(super) fn send(socket: RawFd, bytes: &'static [u8], ioprio: u16) -> Entry {
    let length = bytes.len() as u32;
    opcode::Send::new(types::Fd(socket), bytes.as_ptr(), length).ioprio(ioprio).build()
}

pub(super) fn timeout() -> Entry {
    opcode::Timeout::new(&raw const SHORT_TIMEOUT).build()
}
