//! The two kinds of descriptors of a connection.

use std::os::fd::RawFd;

/// A descriptor of the process, or a slot of the ring's direct descriptor table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Descriptor {
    Fd(RawFd),
    Fixed(u32),
}

/// Returns the inode of what the descriptor refers to; `None` if it is closed. Descriptors of
/// connections refer to the same socket as the listener.
pub(crate) fn inode(fd: RawFd) -> Option<u64> {
    // SAFETY: all-zero bytes are a valid stat.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a struct that lives through the call.
    let result = unsafe { libc::fstat(fd, &raw mut stat) };
    (result == 0).then_some(stat.st_ino)
}
