//! Files in a table of the ring's, which operations name by their index.

use std::os::fd::RawFd;

use super::ask::Ask;
use super::trial::Trial;
use super::{Answer, Capability, Missing, capability, sockets};

/// All of this group.
pub const ALL: &[Capability] = &[
    capability("fixed_file", "IOSQE_FIXED_FILE: an operation on a registered file", fixed_file),
    capability("files_sparse", "IORING_RSRC_REGISTER_SPARSE: a table of empty slots", files_sparse),
    capability(
        "files_update",
        "IORING_REGISTER_FILES_UPDATE: a slot is filled later",
        files_update,
    ),
];

/// How many slots a trial's table has. So few that an index is not taken for a descriptor.
pub(super) const SLOTS: u32 = 2;

/// Gives the trial a table that begins with these files; the rest of its slots are empty.
pub(super) fn table(trial: &mut Trial, files: &[RawFd]) -> Answer {
    let mut slots = [-1; SLOTS as usize];
    slots[..files.len()].copy_from_slice(files);
    let registered = trial.ring.submitter().register_files(&slots);
    registered.map_err(Missing::refused("IORING_REGISTER_FILES"))
}

/// IOSQE_FIXED_FILE (5.1).
pub fn fixed_file() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    table(&mut trial, &[near])?;
    sends_from(&mut trial, 0, far)
}

fn sends_from(trial: &mut Trial, slot: RawFd, peer: RawFd) -> Answer {
    trial.does(Ask::send(slot, b"hello", 0).fixed(), "SEND on a registered file")?;
    sockets::must_hear(peer, b"hello")
}

/// IORING_RSRC_REGISTER_SPARSE (5.19).
pub fn files_sparse() -> Answer {
    let mut trial = Trial::plain()?;
    let registered = trial.ring.submitter().register_files_sparse(SLOTS);
    registered.map_err(Missing::refused("IORING_REGISTER_FILES2"))?;
    fill_and_use(&mut trial)
}

/// IORING_REGISTER_FILES_UPDATE (5.5; empty slots as -1).
pub fn files_update() -> Answer {
    let mut trial = Trial::plain()?;
    table(&mut trial, &[])?;
    fill_and_use(&mut trial)
}

fn fill_and_use(trial: &mut Trial) -> Answer {
    let (near, far) = trial.pair()?;
    let updated = trial.ring.submitter().register_files_update(1, &[near]);
    updated.map_err(Missing::refused("IORING_REGISTER_FILES_UPDATE"))?;
    sends_from(trial, 1, far)
}
