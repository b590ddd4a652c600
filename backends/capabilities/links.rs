//! Linked SQEs and skipped completions.

use ::io_uring::squeue::Flags;

use super::probe_ring::ProbeRing;
use super::{Capability, ProbeResult, probe, require, sockets, sqe};

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    probe("link", "IOSQE_IO_LINK: one request after the other, until one fails", soft),
    probe("hardlink", "IOSQE_IO_HARDLINK: one request after the other, even if one fails", hard),
    probe("cqe_skip_success", "IOSQE_CQE_SKIP_SUCCESS: no completion on success", cqe_skip_success),
];

/// Tests IOSQE_IO_LINK (5.3): the second request waits for the first, and is cancelled if it fails.
pub fn soft() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    let first = probe.push(sqe::poll(near).flags(Flags::IO_LINK))?;
    let second = probe.push(sqe::nop())?;
    probe.submit()?;
    require(probe.has_no_completion(), "the second request did not wait for the first")?;
    sockets::send(far, b"x")?;
    probe.wait_ok(first, "IORING_OP_POLL_ADD")?;
    probe.wait_ok(second, "the linked request")?;
    let first = probe.push(sqe::timeout().flags(Flags::IO_LINK))?;
    let second = probe.push(sqe::nop())?;
    probe.wait_expecting(first, "IORING_OP_TIMEOUT", libc::ETIME)?;
    probe.wait_expecting(second, "the request linked to a failed one", libc::ECANCELED)
}

/// Tests IOSQE_IO_HARDLINK (5.5): the second request runs although the first fails.
pub fn hard() -> ProbeResult {
    let mut probe = ProbeRing::new()?;
    let first = probe.push(sqe::timeout().flags(Flags::IO_HARDLINK))?;
    let second = probe.push(sqe::nop())?;
    probe.submit()?;
    probe.wait_expecting(first, "IORING_OP_TIMEOUT", libc::ETIME)?;
    probe.wait_ok(second, "the request linked to a failed one").map(drop)
}

/// Tests IOSQE_CQE_SKIP_SUCCESS (5.17): the send takes effect, and only the next SQE completes.
pub fn cqe_skip_success() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    let skipped = probe.push(sqe::send(near, b"hello", 0).flags(Flags::SKIP_SUCCESS))?;
    probe.expects_no_completion(skipped);
    let next = probe.push(sqe::nop())?;
    probe.wait_ok(next, "IORING_OP_NOP")?;
    if !probe.has_no_completion() {
        probe.wait_ok(skipped, "an operation with IOSQE_CQE_SKIP_SUCCESS")?;
        require(false, "a success was not skipped")?;
    }
    sockets::expect_bytes(far, b"hello")
}
