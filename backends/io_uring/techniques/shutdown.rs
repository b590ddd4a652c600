//! `shutdown`: the way in which the shutdown step is performed.
//!
//! - `ring`: IORING_OP_SHUTDOWN (Linux 5.11). The kernel always runs it on an io-wq worker thread,
//!   which costs CPU time. The CLOSE must wait for its completion, or the SHUTDOWN could run on a
//!   descriptor that has been reused.
//! - `call`: shutdown(2), one system call for each connection; cheaper than the worker thread.
//! - `close`: none, if the close follows at once and all received bytes are read: the last close
//!   sends the FIN. Cheapest, but bytes that arrive between the receive and the close make the
//!   kernel send a reset (RFC 1122, 4.2.2.13), which can destroy a response that the peer has not
//!   read yet (RFC 9112, 9.6).
//!
//! A lingering close must send the FIN before the close, so `close` means `call` there.

use ::io_uring::{opcode, squeue};

use crate::io_uring::descriptor::Descriptor;

pub(crate) fn sqe(descriptor: Descriptor, how: i32) -> squeue::Entry {
    descriptor.set_fixed_flag(opcode::Shutdown::new(descriptor.number(), how).build())
}
