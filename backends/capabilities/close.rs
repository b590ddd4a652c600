//! Shutting down and closing.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use ::io_uring::{opcode, types::Fd, types::Fixed};

use super::files::register_table;
use super::probe_ring::ProbeRing;
use super::{Capability, ProbeResult, accept, probe, sockets};

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    probe("shutdown", "IORING_OP_SHUTDOWN", shutdown),
    probe("close", "IORING_OP_CLOSE", descriptor),
    probe("close_direct", "IORING_OP_CLOSE of a slot of the file table", direct),
];

/// Tests IORING_OP_SHUTDOWN (5.11, and late 5.10 releases): the peer sees the end of the stream.
pub fn shutdown() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    probe.run(opcode::Shutdown::new(Fd(near), libc::SHUT_WR).build(), "IORING_OP_SHUTDOWN")?;
    sockets::expect_end_of_stream(far)
}

/// Tests IORING_OP_CLOSE (5.6): the peer sees the end of the stream.
pub fn descriptor() -> ProbeResult {
    let mut probe = ProbeRing::new()?;
    let (near, far) = sockets::pair()?;
    let far = probe.own_socket(far);
    let near = near.into_raw_fd();
    let close = probe.push(opcode::Close::new(Fd(near)).build())?;
    if let Err(error) = probe.wait_ok(close, "IORING_OP_CLOSE") {
        // SAFETY: the kernel refused to close it, so it is still owned here.
        drop(unsafe { OwnedFd::from_raw_fd(near) });
        return Err(error);
    }
    sockets::expect_end_of_stream(far)
}

/// Tests IORING_OP_CLOSE of a direct descriptor (5.15) that is the last reference to its file.
///
/// A kernel without it closes descriptor 0 instead. So the probe submits it only if
/// IORING_OP_ACCEPT into a slot works, which the same kernel release introduced.
pub fn direct() -> ProbeResult {
    accept::direct()?;
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    register_table(&mut probe, &[near])?;
    drop(probe.disown_socket(near));
    let close = opcode::Close::new(Fixed(0)).build();
    probe.run(close, "IORING_OP_CLOSE of a direct descriptor")?;
    sockets::expect_end_of_stream(far)
}
