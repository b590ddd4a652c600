//! Registered files, which SQEs name by their index in the ring's table.

use std::os::fd::RawFd;

use ::io_uring::{opcode, types::Fixed};

use super::probe_ring::ProbeRing;
use super::{Capability, ProbeError, ProbeResult, probe, sockets};

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    probe("fixed_file", "IOSQE_FIXED_FILE: an operation on a registered file", fixed_file),
    probe("files_sparse", "IORING_RSRC_REGISTER_SPARSE: a table of empty slots", files_sparse),
    probe("files_update", "IORING_REGISTER_FILES_UPDATE: fills a slot of the table", files_update),
];

/// Slots of a probe's file table. Fewer than the open descriptors, so that an index and a
/// descriptor differ.
pub(super) const SLOTS: u32 = 2;

/// Registers a table that starts with these files; its other slots are empty.
pub(super) fn register_table(probe: &mut ProbeRing, files: &[RawFd]) -> ProbeResult {
    let mut slots = [-1; SLOTS as usize];
    slots[..files.len()].copy_from_slice(files);
    let registered = probe.ring.submitter().register_files(&slots);
    registered.map_err(ProbeError::refused("IORING_REGISTER_FILES"))
}

/// Tests IOSQE_FIXED_FILE (5.1) with a send.
pub fn fixed_file() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    register_table(&mut probe, &[near])?;
    send_from_slot(&mut probe, 0, far)
}

/// Sends on a registered file, and checks that the peer receives it.
pub(super) fn send_from_slot(probe: &mut ProbeRing, slot: u32, peer: RawFd) -> ProbeResult {
    let send = opcode::Send::new(Fixed(slot), b"hello".as_ptr(), 5).build();
    probe.run(send, "IORING_OP_SEND with IOSQE_FIXED_FILE")?;
    sockets::expect_bytes(peer, b"hello")
}

/// Tests IORING_RSRC_REGISTER_SPARSE (5.19).
pub fn files_sparse() -> ProbeResult {
    let mut probe = ProbeRing::new()?;
    let registered = probe.ring.submitter().register_files_sparse(SLOTS);
    registered.map_err(ProbeError::refused("IORING_REGISTER_FILES2"))?;
    fill_and_use(&mut probe)
}

/// Tests IORING_REGISTER_FILES_UPDATE (5.5) on a table whose empty slots are -1.
pub fn files_update() -> ProbeResult {
    let mut probe = ProbeRing::new()?;
    register_table(&mut probe, &[])?;
    fill_and_use(&mut probe)
}

fn fill_and_use(probe: &mut ProbeRing) -> ProbeResult {
    let (near, far) = probe.socket_pair()?;
    let updated = probe.ring.submitter().register_files_update(1, &[near]);
    updated.map_err(ProbeError::refused("IORING_REGISTER_FILES_UPDATE"))?;
    send_from_slot(probe, 1, far)
}
