//! `shutdown`: who takes the shutdown step.
//!
//! - `ring`: IORING_OP_SHUTDOWN (Linux 5.11). The kernel always hands it to a worker thread, which
//!   costs 18 to 45 % more processor time a request; and beside a CLOSE that it is not linked to,
//!   it may hit an index or a descriptor that is somebody else's by then.
//! - `call`: shutdown(2), a system call for each connection, and cheaper than the worker thread.
//! - `close`: nobody, where the close follows at once and all that came has been read: the last
//!   close tells the peer the same. 3 to 5 % cheaper still. Bytes that come between the receive
//!   and the close make it a reset, which takes the answer with it if it has not left yet.
//!
//! With a lingering close the peer has to be told before the close, so `close` is `call` there.

use std::os::fd::RawFd;

use ::io_uring::{opcode, squeue};

use super::direct_descriptors::Name;
use crate::counters::{SystemCall, SystemCalls};
// Tests put a simulated kernel in the place of the real one.
#[cfg(any(test, feature = "simulation"))]
use crate::simulation::calls as libc;

/// By the ring.
pub(crate) fn entry(name: Name, how: i32) -> squeue::Entry {
    name.complete(opcode::Shutdown::new(name.number(), how).build())
}

/// By the call. Where it fails the connection has come to its end, which is all the same here.
pub(crate) fn call(fd: RawFd, how: i32, counts: &mut SystemCalls) {
    counts.count(SystemCall::Shutdown);
    // SAFETY: shutdown takes no pointers.
    unsafe { libc::shutdown(fd, how) };
}
