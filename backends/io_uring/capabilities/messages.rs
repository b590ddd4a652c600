//! From one ring to another.

use std::os::fd::{AsRawFd, RawFd};

use super::ask::Ask;
use super::files::{SLOTS, table};
use super::trial::Trial;
use super::{Answer, Capability, Missing, capability, require, sockets};

/// All of this group.
pub const ALL: &[Capability] = &[
    capability("message_ring", "IORING_OP_MSG_RING: a completion on another ring", ring),
    capability("message_ring_fd", "IORING_MSG_SEND_FD: a registered file for another ring", file),
];

const NAME: &str = "IORING_OP_MSG_RING";

/// IORING_OP_MSG_RING (5.18).
pub fn ring() -> Answer {
    const ID: u64 = 77;
    let (mut from, mut to) = (Trial::plain()?, Trial::plain()?);
    from.does(Ask::message(to.ring.as_raw_fd(), 1234, ID), NAME)?;
    let message = to.answer(ID, "a message")?;
    require(message.result == 1234, format!("the message said {}", message.result))
}

/// IORING_MSG_SEND_FD (6.0), into a slot that the kernel chooses (6.3).
pub fn file() -> Answer {
    const ID: u64 = 78;
    let (mut from, mut to) = (Trial::plain()?, Trial::plain()?);
    let (near, far) = from.pair()?;
    table(&mut from, &[near])?;
    table(&mut to, &[])?;
    from.does(Ask::message_file(to.ring.as_raw_fd(), 0, ID), NAME)?;
    let slot = to.answer(ID, "a message")?.result;
    if !(0..SLOTS as RawFd).contains(&slot) {
        return Err(Missing::otherwise(format!("the message said {slot}")));
    }
    to.does(Ask::send(slot, b"hello", 0).fixed(), "SEND on a file that was sent")?;
    sockets::must_hear(far, b"hello")
}
