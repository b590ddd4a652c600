//! Cancelling requests in flight. The requests are polls of sockets that stay unreadable.

use std::os::fd::RawFd;

use ::io_uring::opcode::{AsyncCancel, AsyncCancel2, PollAdd};
use ::io_uring::squeue::Entry;
use ::io_uring::types::{CancelBuilder, Fd, Fixed, Timespec};

use super::files::register_table;
use super::probe_ring::ProbeRing;
use super::{Capability, ProbeError, ProbeResult, probe, require, sqe};

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    probe("cancel", "IORING_OP_ASYNC_CANCEL by user_data", by_id),
    probe("cancel_fd", "IORING_ASYNC_CANCEL_FD: one request on a descriptor", by_descriptor),
    probe("cancel_fd_fixed", "IORING_ASYNC_CANCEL_FD_FIXED: one request on a file", by_slot),
    probe("cancel_all", "IORING_ASYNC_CANCEL_ALL: all requests on a descriptor", all_of_descriptor),
    probe("cancel_any", "IORING_ASYNC_CANCEL_ANY: all requests of the ring", any),
    probe("cancel_op", "IORING_ASYNC_CANCEL_OP: all requests with an opcode", by_opcode),
    probe("sync_cancel", "IORING_REGISTER_SYNC_CANCEL: cancels before the call returns", sync),
];

const NAME: &str = "IORING_OP_ASYNC_CANCEL";

const ASYNC_CANCEL_ALL: u32 = 1;
const ASYNC_CANCEL_OP: u32 = 1 << 5;

/// Sets up a ring with this many polls in flight on one socket.
fn ring_with_polls(count: usize) -> ProbeResult<(ProbeRing, RawFd, Vec<u64>)> {
    let (mut probe, near, _far) = ProbeRing::with_sockets()?;
    let polls = (0..count).map(|_| probe.push(sqe::poll(near))).collect::<ProbeResult<_>>()?;
    probe.submit()?;
    require(probe.has_no_completion(), "a poll completed too early")?;
    Ok((probe, near, polls))
}

/// Submits a cancel request, which must cancel these polls.
fn expect_cancelled(probe: &mut ProbeRing, cancel: Entry, polls: &[u64]) -> ProbeResult {
    let cancelled = probe.run(cancel, NAME)?.result;
    // The result is 0 if the request was for one, and the number cancelled otherwise.
    let is_complete = cancelled as usize == polls.len() || (cancelled == 0 && polls.len() == 1);
    require(is_complete, format!("{cancelled} of {} requests were cancelled", polls.len()))?;
    polls.iter().try_for_each(|poll| expect_cancelled_poll(probe, *poll))
}

fn expect_cancelled_poll(probe: &mut ProbeRing, poll: u64) -> ProbeResult {
    probe.wait_expecting(poll, "a cancelled poll", libc::ECANCELED)
}

fn matching(which: CancelBuilder) -> Entry {
    AsyncCancel2::new(which).build()
}

/// Tests IORING_OP_ASYNC_CANCEL by user_data (5.5).
pub fn by_id() -> ProbeResult {
    let (mut probe, _, polls) = ring_with_polls(2)?;
    expect_cancelled(&mut probe, AsyncCancel::new(polls[1]).build(), &polls[1..])
}

/// Tests IORING_ASYNC_CANCEL_FD (5.19).
pub fn by_descriptor() -> ProbeResult {
    let (mut probe, near, polls) = ring_with_polls(1)?;
    expect_cancelled(&mut probe, matching(CancelBuilder::fd(Fd(near))), &polls)
}

/// Tests IORING_ASYNC_CANCEL_FD_FIXED (6.0).
pub fn by_slot() -> ProbeResult {
    let (mut probe, near, _far) = ProbeRing::with_sockets()?;
    register_table(&mut probe, &[near])?;
    let poll = probe.push(PollAdd::new(Fixed(0), libc::POLLIN as u32).build())?;
    probe.submit()?;
    expect_cancelled(&mut probe, matching(CancelBuilder::fd(Fixed(0))), &[poll])
}

/// Tests IORING_ASYNC_CANCEL_ALL with IORING_ASYNC_CANCEL_FD (5.19).
pub fn all_of_descriptor() -> ProbeResult {
    let (mut probe, near, polls) = ring_with_polls(2)?;
    expect_cancelled(&mut probe, matching(CancelBuilder::fd(Fd(near)).all()), &polls)
}

/// Tests IORING_ASYNC_CANCEL_ANY (5.19).
pub fn any() -> ProbeResult {
    let (mut probe, _, polls) = ring_with_polls(2)?;
    expect_cancelled(&mut probe, matching(CancelBuilder::any()), &polls)
}

/// Tests IORING_ASYNC_CANCEL_OP (6.6). Linux 6.1 accepts the flag and cancels nothing.
pub fn by_opcode() -> ProbeResult {
    let (mut probe, _, polls) = ring_with_polls(2)?;
    let mut cancel = AsyncCancel::new(0).build();
    let words = (&raw mut cancel).cast::<u32>();
    // The io-uring crate cannot build it. In struct io_uring_sqe, `len` is the seventh 32-bit
    // word and `cancel_flags` the eighth.
    // SAFETY: an entry has 64 bytes, is aligned to eight, and all bit patterns are valid.
    unsafe { words.wrapping_add(6).write(PollAdd::CODE.into()) };
    // SAFETY: as above.
    unsafe { words.wrapping_add(7).write(ASYNC_CANCEL_OP | ASYNC_CANCEL_ALL) };
    expect_cancelled(&mut probe, cancel, &polls)
}

/// Tests IORING_REGISTER_SYNC_CANCEL (6.0).
pub fn sync() -> ProbeResult {
    let (mut probe, _, polls) = ring_with_polls(2)?;
    let timeout = Some(Timespec::new().sec(2));
    let cancelled =
        probe.ring.submitter().register_sync_cancel(timeout, CancelBuilder::user_data(polls[0]));
    cancelled.map_err(ProbeError::refused("IORING_REGISTER_SYNC_CANCEL"))?;
    expect_cancelled_poll(&mut probe, polls[0])
}
