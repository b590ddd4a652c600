//! Messages from one ring to another.

use std::os::fd::AsRawFd;

use ::io_uring::{opcode, types::DestinationSlot, types::Fd, types::Fixed};

use super::files::{SLOTS, register_table, send_from_slot};
use super::probe_ring::ProbeRing;
use super::{Capability, ProbeResult, probe, require};

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    probe("msg_ring", "IORING_OP_MSG_RING: posts a CQE to another ring", ring),
    probe("msg_ring_fd", "IORING_MSG_SEND_FD: sends a registered file to another ring", file),
];

const NAME: &str = "IORING_OP_MSG_RING";

/// Tests IORING_OP_MSG_RING (5.18): the CQE on the other ring has the result that was sent.
pub fn ring() -> ProbeResult {
    const ID: u64 = 77;
    let (mut from, mut to) = (ProbeRing::new()?, ProbeRing::new()?);
    let message = opcode::MsgRingData::new(Fd(to.ring.as_raw_fd()), 1234, ID, None);
    from.run(message.build(), NAME)?;
    let message = to.wait(ID, "a message")?;
    require(message.result == 1234, format!("the result was {}", message.result))
}

/// Tests IORING_MSG_SEND_FD (6.0) into a slot that the kernel allocates (6.3): the other ring can
/// send on the file.
pub fn file() -> ProbeResult {
    const ID: u64 = 78;
    let (mut from, mut to) = (ProbeRing::new()?, ProbeRing::new()?);
    let (near, far) = from.socket_pair()?;
    register_table(&mut from, &[near])?;
    register_table(&mut to, &[])?;
    let (ring, slot) = (Fd(to.ring.as_raw_fd()), DestinationSlot::auto_target());
    from.run(opcode::MsgRingSendFd::new(ring, Fixed(0), slot, ID).build(), NAME)?;
    let slot = to.wait(ID, "a message")?.result as u32;
    require(slot < SLOTS, format!("the slot was {}", slot as i32))?;
    send_from_slot(&mut to, slot, far)
}
