//! Early ends of operations in flight. Each trial has polls that nobody will answer.

use ::io_uring::opcode;
use ::io_uring::types::{CancelBuilder, Fd, Fixed, Timespec};

use super::ask::Ask;
use super::files::table;
use super::trial::Trial;
use super::{Answer, Capability, Missing, capability, require};

/// All of this group.
pub const ALL: &[Capability] = &[
    capability("cancel", "IORING_OP_ASYNC_CANCEL by user_data", by_id),
    capability("cancel_fd", "IORING_ASYNC_CANCEL_FD: one on this descriptor", by_descriptor),
    capability(
        "cancel_fd_fixed",
        "IORING_ASYNC_CANCEL_FD_FIXED: one on this registered file",
        by_slot,
    ),
    capability("cancel_all", "IORING_ASYNC_CANCEL_ALL: all on this descriptor", all_of_descriptor),
    capability("cancel_any", "IORING_ASYNC_CANCEL_ANY: everything", any),
    capability("cancel_operation", "IORING_ASYNC_CANCEL_OP: all of one operation", by_operation),
    capability("cancel_sync", "IORING_REGISTER_SYNC_CANCEL: cancelled when the call returns", sync),
];

const NAME: &str = "IORING_OP_ASYNC_CANCEL";

/// A trial with two polls in flight on the same socket.
fn waiting() -> Result<(Trial, Fd, [u64; 2]), Missing> {
    let mut trial = Trial::plain()?;
    let (near, _far) = trial.pair()?;
    let polls = [trial.push(Ask::poll(near))?, trial.push(Ask::poll(near))?];
    trial.submit()?;
    require(trial.is_quiet(), "a poll ended by itself")?;
    Ok((trial, Fd(near), polls))
}

/// Cancels, and these polls must have ended by it.
fn cancels(trial: &mut Trial, ask: Ask, polls: &[u64]) -> Answer {
    let cancelled = trial.does(ask, NAME)?.result;
    // Where one was asked for the result is 0, otherwise it is their number.
    let right = cancelled as usize == polls.len() || (cancelled == 0 && polls.len() == 1);
    require(right, format!("{cancelled} of {} operations were cancelled", polls.len()))?;
    polls.iter().try_for_each(|poll| trial.ended_with(*poll, "a cancelled poll", libc::ECANCELED))
}

/// By user_data (5.5).
pub fn by_id() -> Answer {
    let (mut trial, _, [_, second]) = waiting()?;
    cancels(&mut trial, Ask::cancel(second), &[second])
}

/// One on a descriptor (5.19).
pub fn by_descriptor() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, _far) = trial.pair()?;
    let poll = trial.push(Ask::poll(near))?;
    trial.submit()?;
    cancels(&mut trial, Ask::cancel_matching(CancelBuilder::fd(Fd(near))), &[poll])
}

/// One on a registered file (6.0).
pub fn by_slot() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, _far) = trial.pair()?;
    table(&mut trial, &[near])?;
    let poll = trial.push(Ask::poll(0).fixed())?;
    trial.submit()?;
    cancels(&mut trial, Ask::cancel_matching(CancelBuilder::fd(Fixed(0))), &[poll])
}

/// All on a descriptor (5.19).
pub fn all_of_descriptor() -> Answer {
    let (mut trial, near, polls) = waiting()?;
    cancels(&mut trial, Ask::cancel_matching(CancelBuilder::fd(near).all()), &polls)
}

/// Everything (5.19).
pub fn any() -> Answer {
    let (mut trial, _, polls) = waiting()?;
    cancels(&mut trial, Ask::cancel_matching(CancelBuilder::any()), &polls)
}

/// All of one operation (6.6). Linux 6.1 takes the flag and cancels nothing.
pub fn by_operation() -> Answer {
    let (mut trial, _, polls) = waiting()?;
    cancels(&mut trial, Ask::cancel_operation(opcode::PollAdd::CODE), &polls)
}

/// Within the call (6.0).
pub fn sync() -> Answer {
    let (mut trial, _, [first, _]) = waiting()?;
    let longest = Some(Timespec::new().sec(2));
    let cancelled =
        trial.ring.submitter().register_sync_cancel(longest, CancelBuilder::user_data(first));
    cancelled.map_err(Missing::refused("IORING_REGISTER_SYNC_CANCEL"))?;
    trial.ended_with(first, "a cancelled poll", libc::ECANCELED)
}
