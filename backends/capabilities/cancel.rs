//! Cancelling requests in flight. The requests are polls of sockets that stay unreadable.

use ::io_uring::opcode;
use ::io_uring::types::{CancelBuilder, Fd, Fixed, Timespec};

use super::files::register_table;
use super::probe_ring::ProbeRing;
use super::sqe::Sqe;
use super::{Capability, ProbeError, ProbeResult, capability, require};

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    capability("cancel", "IORING_OP_ASYNC_CANCEL by user_data", by_id),
    capability("cancel_fd", "IORING_ASYNC_CANCEL_FD: one request on a descriptor", by_descriptor),
    capability(
        "cancel_fd_fixed",
        "IORING_ASYNC_CANCEL_FD_FIXED: one request on a registered file",
        by_slot,
    ),
    capability(
        "cancel_all",
        "IORING_ASYNC_CANCEL_ALL: all requests on a descriptor",
        all_of_descriptor,
    ),
    capability("cancel_any", "IORING_ASYNC_CANCEL_ANY: all requests of the ring", any),
    capability("cancel_op", "IORING_ASYNC_CANCEL_OP: all requests with an opcode", by_opcode),
    capability("sync_cancel", "IORING_REGISTER_SYNC_CANCEL: cancels before the call returns", sync),
];

const NAME: &str = "IORING_OP_ASYNC_CANCEL";

/// Sets up a ring with two polls in flight on one socket.
fn ring_with_polls() -> ProbeResult<(ProbeRing, Fd, [u64; 2])> {
    let mut probe = ProbeRing::new()?;
    let (near, _far) = probe.socket_pair()?;
    let polls = [probe.push(Sqe::poll(near))?, probe.push(Sqe::poll(near))?];
    probe.submit()?;
    require(probe.has_no_completion(), "a poll completed too early")?;
    Ok((probe, Fd(near), polls))
}

/// Submits a cancel request, which must cancel these polls.
fn expect_cancelled(probe: &mut ProbeRing, sqe: Sqe, polls: &[u64]) -> ProbeResult {
    let cancelled = probe.run(sqe, NAME)?.result;
    // The result is 0 if the request was for one, and the number cancelled otherwise.
    let is_complete = cancelled as usize == polls.len() || (cancelled == 0 && polls.len() == 1);
    require(is_complete, format!("{cancelled} of {} requests were cancelled", polls.len()))?;
    polls
        .iter()
        .try_for_each(|poll| probe.wait_expecting(*poll, "a cancelled poll", libc::ECANCELED))
}

/// Tests IORING_OP_ASYNC_CANCEL by user_data (5.5).
pub fn by_id() -> ProbeResult {
    let (mut probe, _, [_, second]) = ring_with_polls()?;
    expect_cancelled(&mut probe, Sqe::cancel(second), &[second])
}

/// Tests IORING_ASYNC_CANCEL_FD (5.19).
pub fn by_descriptor() -> ProbeResult {
    let mut probe = ProbeRing::new()?;
    let (near, _far) = probe.socket_pair()?;
    let poll = probe.push(Sqe::poll(near))?;
    probe.submit()?;
    expect_cancelled(&mut probe, Sqe::cancel_matching(CancelBuilder::fd(Fd(near))), &[poll])
}

/// Tests IORING_ASYNC_CANCEL_FD_FIXED (6.0).
pub fn by_slot() -> ProbeResult {
    let mut probe = ProbeRing::new()?;
    let (near, _far) = probe.socket_pair()?;
    register_table(&mut probe, &[near])?;
    let poll = probe.push(Sqe::poll(0).fixed())?;
    probe.submit()?;
    expect_cancelled(&mut probe, Sqe::cancel_matching(CancelBuilder::fd(Fixed(0))), &[poll])
}

/// Tests IORING_ASYNC_CANCEL_ALL with IORING_ASYNC_CANCEL_FD (5.19).
pub fn all_of_descriptor() -> ProbeResult {
    let (mut probe, near, polls) = ring_with_polls()?;
    expect_cancelled(&mut probe, Sqe::cancel_matching(CancelBuilder::fd(near).all()), &polls)
}

/// Tests IORING_ASYNC_CANCEL_ANY (5.19).
pub fn any() -> ProbeResult {
    let (mut probe, _, polls) = ring_with_polls()?;
    expect_cancelled(&mut probe, Sqe::cancel_matching(CancelBuilder::any()), &polls)
}

/// Tests IORING_ASYNC_CANCEL_OP (6.6). Linux 6.1 accepts the flag and cancels nothing.
pub fn by_opcode() -> ProbeResult {
    let (mut probe, _, polls) = ring_with_polls()?;
    expect_cancelled(&mut probe, Sqe::cancel_op(opcode::PollAdd::CODE), &polls)
}

/// Tests IORING_REGISTER_SYNC_CANCEL (6.0).
pub fn sync() -> ProbeResult {
    let (mut probe, _, [first, _]) = ring_with_polls()?;
    let timeout = Some(Timespec::new().sec(2));
    let cancelled =
        probe.ring.submitter().register_sync_cancel(timeout, CancelBuilder::user_data(first));
    cancelled.map_err(ProbeError::refused("IORING_REGISTER_SYNC_CANCEL"))?;
    probe.wait_expecting(first, "a cancelled poll", libc::ECANCELED)
}
