//! Timeouts and polls.

use std::os::fd::RawFd;

use ::io_uring::{opcode, squeue::Flags, types::TimeoutFlags};

use super::probe_ring::ProbeRing;
use super::sqe::SHORT_TIMEOUT;
use super::{Capability, ProbeError, ProbeResult, probe, require, sockets, sqe};
use crate::completion::Completion;

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    probe("timeout", "IORING_OP_TIMEOUT", timeout),
    probe("timeout_multishot", "IORING_TIMEOUT_MULTISHOT: expires repeatedly", timeout_multishot),
    probe("link_timeout", "IORING_OP_LINK_TIMEOUT: a timeout for a linked request", link_timeout),
    probe("poll", "IORING_OP_POLL_ADD", poll),
    probe("poll_multishot", "IORING_POLL_ADD_MULTI: one SQE, many events", poll_multishot),
];

const TIMEOUT: &str = "IORING_OP_TIMEOUT";
const POLL: &str = "IORING_OP_POLL_ADD";

/// Tests IORING_OP_TIMEOUT (5.4).
pub fn timeout() -> ProbeResult {
    ProbeRing::new()?.run_expecting(sqe::timeout(), TIMEOUT, libc::ETIME)
}

/// Tests IORING_TIMEOUT_MULTISHOT (6.4): a count of two gives two completions.
pub fn timeout_multishot() -> ProbeResult {
    let mut probe = ProbeRing::new()?;
    let timeout = opcode::Timeout::new(&raw const SHORT_TIMEOUT).flags(TimeoutFlags::MULTISHOT);
    let timeout = probe.push(timeout.count(2).build())?;
    for more in [true, false] {
        let expired = probe.wait(timeout, TIMEOUT)?;
        match -expired.result {
            libc::ETIME => {}
            errno => return Err(ProbeError::Refused { operation: TIMEOUT, errno }),
        }
        require(expired.more() == more, "it did not expire twice")?;
    }
    Ok(())
}

/// Tests IORING_OP_LINK_TIMEOUT (5.5): it cancels a linked poll.
pub fn link_timeout() -> ProbeResult {
    let (mut probe, near, _far) = ProbeRing::with_sockets()?;
    let poll = probe.push(sqe::poll(near).flags(Flags::IO_LINK))?;
    let timeout = probe.push(opcode::LinkTimeout::new(&raw const SHORT_TIMEOUT).build())?;
    probe.wait_expecting(poll, POLL, libc::ECANCELED)?;
    probe.wait_expecting(timeout, "IORING_OP_LINK_TIMEOUT", libc::ETIME)
}

/// Tests IORING_OP_POLL_ADD (5.1): it completes when data arrives.
pub fn poll() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    let poll = probe.push(sqe::poll(near))?;
    probe.submit()?;
    make_readable(&mut probe, poll, far).map(drop)
}

/// Tests IORING_POLL_ADD_MULTI (5.13): two completions with IORING_CQE_F_MORE.
pub fn poll_multishot() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    let poll = probe.push(sqe::poll_multishot(near))?;
    probe.submit()?;
    for _ in 0..2 {
        let polled = make_readable(&mut probe, poll, far)?;
        require(polled.more(), "it ended after one completion")?;
        sockets::expect_bytes(near, b"x")?;
    }
    Ok(())
}

fn make_readable(probe: &mut ProbeRing, poll: u64, far: RawFd) -> ProbeResult<Completion> {
    require(probe.has_no_completion(), "the poll completed before data arrived")?;
    sockets::send(far, b"x")?;
    let polled = probe.wait_ok(poll, POLL)?;
    require(polled.result & i32::from(libc::POLLIN) != 0, "POLLIN is not set")?;
    Ok(polled)
}
