//! `linked_close`: replaces the turns between the answer and the close: SEND, SHUTDOWN if the ring
//! does it, and CLOSE are submitted together, each linked to the one before it (IOSQE_IO_LINK).
//!
//! Gain: a turn of the loop for each of them, and with [`super::skip_success`] their completions.
//! It hurts if the answer is cut short: a short send does not break a link, so the send must go on
//! until everything is sent (MSG_WAITALL; Linux 5.19 heeds it), and its progress is not seen
//! meanwhile. Hence only answers that a socket takes at once are chained.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU8;

use ::io_uring::{IoUring, opcode, squeue, types};

/// Longer answers are sent by themselves.
pub(crate) const MOST_BYTES: usize = 16 * 1024;

/// What is linked to a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    /// The close.
    Close,
    /// The end of the stream, by the ring; the peer's is waited for then.
    Shutdown,
    /// Both.
    ShutdownAndClose,
}

impl Chain {
    /// How many operations follow the send.
    pub(crate) fn length(self) -> usize {
        if self == Self::ShutdownAndClose { 2 } else { 1 }
    }
}

/// The next entry begins when this one has succeeded.
pub(crate) fn linked(entry: squeue::Entry) -> squeue::Entry {
    entry.flags(squeue::Flags::IO_LINK)
}

const A_MEBIBYTE: usize = 1 << 20;

/// Nobody writes to it, and the kernel may read it when the ring of the trial has gone.
static MORE_THAN_A_SOCKET_TAKES: [AtomicU8; A_MEBIBYTE] = [const { AtomicU8::new(0) }; A_MEBIBYTE];

/// Whether a send with MSG_WAITALL goes on until all is sent, found out by trying: a kernel that
/// does not heed it says how much there was room for, and would go on to the close.
pub(super) fn sends_are_whole() -> bool {
    let (Ok((near, _far)), Ok(mut ring)) = (UnixStream::pair(), IoUring::new(2)) else {
        return false;
    };
    let bytes = (&raw const MORE_THAN_A_SOCKET_TAKES).cast();
    let send = opcode::Send::new(types::Fd(near.as_raw_fd()), bytes, A_MEBIBYTE as u32);
    // SAFETY: the bytes are a static.
    let pushed = unsafe { ring.submission().push(&send.flags(libc::MSG_WAITALL).build()) };
    let is_submitted = pushed.is_ok() && ring.submit().is_ok();
    // Where sockets take that much at once, it is whole as well.
    let whole = |count| count == A_MEBIBYTE as i32;
    is_submitted && ring.completion().next().is_none_or(|sent| whole(sent.result()))
}
