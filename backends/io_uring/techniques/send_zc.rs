//! `send_zc_min_bytes`: long responses are sent without a copy (IORING_OP_SEND_ZC, see
//! io_uring_prep_send_zc(3)).
//!
//! Replaces the copy of the response into socket buffers: the network card reads the response's
//! memory. A second CQE (IORING_CQE_F_NOTIF, announced by IORING_CQE_F_MORE in the first) reports
//! that the kernel no longer reads it. That may be long after the close, and the slot stays in use
//! until then. The close of a connection that has expired or failed therefore discards what the
//! peer has not read; otherwise peers that never read could use up the slots. Without a lingering
//! close they still can, until the kernel stops its retries (tcp_orphan_retries in tcp(7)).
//!
//! Kernel: Linux 6.0.
//!
//! Helps with long responses on a network card with scatter-gather. Hurts on loopback, which copies
//! anyway and adds the accounting. At the receiver such a segment is accounted in whole pages, so
//! that a peer with a receive buffer of a few KiB may never receive it. Off by default.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use ::io_uring::{opcode, squeue, types};

use crate::pending_output::PendingOutput;
use crate::socket::set_option;

/// Most different outputs of a connection that are held; further ones are sent with a copy.
const MAX_HELD: usize = 16;

/// Output that the kernel may still read, although its SEND has completed. It is held until the
/// slot is freed, which waits for every notification.
pub(crate) struct ZeroCopyOutput {
    min_bytes: usize,
    /// By slot; empty if the technique is off.
    held: Box<[Vec<Arc<[u8]>>]>,
}

impl ZeroCopyOutput {
    /// `min_bytes` is the length from which output is sent so; 0 turns the technique off.
    pub(crate) fn new(min_bytes: usize, slots: usize) -> Self {
        let slots = if min_bytes == 0 { 0 } else { slots };
        Self { min_bytes, held: vec![Vec::new(); slots].into() }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.min_bytes > 0
    }

    /// Holds the memory of the bytes to send next, of which `output` has the length. Returns false
    /// if they must be sent with a copy: they are few, or are not shared.
    pub(crate) fn hold(&mut self, slot: u32, output: Option<(Arc<[u8]>, usize)>) -> bool {
        let held = &mut self.held[slot as usize];
        let Some((output, bytes)) = output else { return false };
        if bytes < self.min_bytes {
            return false;
        }
        if held.iter().any(|other| Arc::ptr_eq(other, &output)) {
            return true;
        }
        let has_room = held.len() < MAX_HELD;
        if has_room {
            held.push(output);
        }
        has_room
    }

    /// Releases the output of a slot that is freed.
    pub(crate) fn release(&mut self, slot: u32) {
        if let Some(held) = self.held.get_mut(slot as usize) {
            held.clear();
        }
    }

    /// Leaks what is held, while the kernel may still read it.
    pub(crate) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.held));
    }
}

pub(crate) fn sqe(fd: RawFd, output: PendingOutput<'_>) -> squeue::Entry {
    let (pointer, length) = (output.bytes.as_ptr(), output.bytes.len() as u32);
    opcode::SendZc::new(types::Fd(fd), pointer, length).flags(output.flags).build()
}

/// Makes the close send a reset and free the send queue (SO_LINGER with a time of 0, socket(7)), so
/// that the notifications follow at once.
pub(crate) fn discard_unread_at_close(fd: &OwnedFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // An error means that the connection has ended already.
    let _ = set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, linger);
}
