//! `linked_close`: SEND, SHUTDOWN (with `shutdown = "ring"`) and CLOSE are submitted together as a
//! chain (IOSQE_IO_LINK, see io_uring_enter(2)). Each begins when the one before it has succeeded.
//! With a lingering close the chain ends with the SHUTDOWN. With `shutdown = "call"`, the default,
//! there is no chain.
//!
//! Replaces the loop iterations between the response and the close.
//!
//! Kernel: Linux 5.19, from which a SEND with MSG_WAITALL continues until everything is sent. A
//! short send without the flag does not break the chain, so the CLOSE would truncate the response.
//!
//! Helps where a connection has one request; with [`super::cqe_skip_success`] it saves completions
//! too. Hurts with long responses, whose progress is not visible until all is sent; so only
//! responses up to [`MAX_BYTES`] are chained.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU8;

use ::io_uring::{IoUring, opcode, squeue, types};

/// Longest response that is sent in a chain. A socket buffer takes it at once.
pub(crate) const MAX_BYTES: usize = 16 * 1024;

/// The operations linked to a SEND.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    Close,
    /// SHUTDOWN only: with a lingering close the CLOSE waits for the peer's end of stream.
    Shutdown,
    ShutdownAndClose,
}

impl Chain {
    /// Returns the number of operations after the SEND.
    pub(crate) fn length(self) -> usize {
        if self == Self::ShutdownAndClose { 2 } else { 1 }
    }
}

/// Sets IOSQE_IO_LINK: the next SQE begins when this one has succeeded.
pub(crate) fn linked(sqe: squeue::Entry) -> squeue::Entry {
    sqe.flags(squeue::Flags::IO_LINK)
}

const MIB: usize = 1 << 20;

/// A static, since the kernel may read it after the ring of the probe is closed. Never written.
static LARGER_THAN_SOCKET_BUFFER: [AtomicU8; MIB] = [const { AtomicU8::new(0) }; MIB];

/// Returns true if a SEND with MSG_WAITALL waits until everything is sent. A kernel that ignores
/// the flag completes with a short count and would continue with the CLOSE.
pub(super) fn supports_msg_waitall() -> bool {
    let (Ok((near, _far)), Ok(mut ring)) = (UnixStream::pair(), IoUring::new(2)) else {
        return false;
    };
    let bytes = (&raw const LARGER_THAN_SOCKET_BUFFER).cast();
    let send = opcode::Send::new(types::Fd(near.as_raw_fd()), bytes, MIB as u32);
    // SAFETY: the bytes are a static.
    let pushed = unsafe { ring.submission().push(&send.flags(libc::MSG_WAITALL).build()) };
    let is_submitted = pushed.is_ok() && ring.submit().is_ok();
    // Socket buffers may be configured so large that the SEND completes at once, in full.
    let is_complete = |count| count == MIB as i32;
    is_submitted && ring.completion().next().is_none_or(|cqe| is_complete(cqe.result()))
}
