//! Receiving from a socket.

use std::os::fd::RawFd;

use super::buffers::{self, GROUP};
use super::probe_ring::ProbeRing;
use super::sqe::{RECVSEND_POLL_FIRST, Sqe, UNKNOWN_FLAG};
use super::{Capability, ProbeError, ProbeResult, capability, require, sockets};

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    capability("recv", "IORING_OP_RECV", single),
    capability("recv_multishot", "IORING_RECV_MULTISHOT: one SQE, many receives", multishot),
    capability("recv_bundle", "IORING_RECVSEND_BUNDLE: one receive fills several buffers", bundle),
    capability(
        "recv_poll_first",
        "IORING_RECVSEND_POLL_FIRST: polls before the first attempt",
        poll_first,
    ),
];

const NAME: &str = "IORING_OP_RECV";

/// Tests IORING_OP_RECV (5.6) on a socket that gets data after the submission.
pub fn single() -> ProbeResult {
    let mut probe = ProbeRing::new()?;
    let (near, far) = probe.socket_pair()?;
    recv_hello(&mut probe, near, far, 0)
}

fn recv_hello(probe: &mut ProbeRing, near: RawFd, far: RawFd, ioprio: u16) -> ProbeResult {
    let recv = probe.push(probe.recv(near, 16, ioprio))?;
    probe.submit()?;
    sockets::send(far, b"hello")?;
    let received = probe.wait_ok(recv, NAME)?;
    let is_complete = received.result == 5 && probe.bytes(0, 5) == b"hello";
    require(is_complete, "the buffer does not hold the data")
}

/// Tests IORING_RECV_MULTISHOT (6.0) with a buffer ring: two completions with IORING_CQE_F_MORE.
pub fn multishot() -> ProbeResult {
    let mut probe = ProbeRing::new()?;
    let (near, far) = probe.socket_pair()?;
    buffers::register(&mut probe, 4, 64, 0)?;
    let recv = probe.push(Sqe::recv_multishot(near, GROUP))?;
    probe.submit()?;
    for piece in [b"hello", b"world"] {
        sockets::send(far, piece)?;
        let received = probe.wait_ok(recv, NAME)?;
        let Some(buffer) = received.buffer_id() else {
            return Err(ProbeError::unexpected("RECV completed without a buffer"));
        };
        let data = buffers::contents(&probe, buffer, 64, 5);
        require(received.result == 5 && data == piece, "the buffer does not hold the data")?;
        require(received.more(), "it ended after one completion")?;
    }
    Ok(())
}

/// Tests IORING_RECVSEND_BUNDLE on a multishot receive (6.10). The first completion may fill a
/// single buffer; a later one must fill several.
pub fn bundle() -> ProbeResult {
    const BUFFER_BYTES: usize = 4;
    let mut probe = ProbeRing::new()?;
    let (near, far) = probe.socket_pair()?;
    buffers::register(&mut probe, 6, BUFFER_BYTES, 0)?;
    sockets::send(far, b"twelve bytes")?;
    let recv = probe.push(Sqe::recv_bundle(near, GROUP))?;
    let (mut received, mut largest) = (0, 0);
    while received < 12 {
        let piece = probe.wait_ok(recv, "IORING_OP_RECV with IORING_RECVSEND_BUNDLE")?.result;
        require(piece > 0, "the stream ended")?;
        received += piece as usize;
        largest = largest.max(piece as usize);
    }
    require(
        buffers::contents(&probe, 0, BUFFER_BYTES, 12) == b"twelve bytes",
        "the buffers do not hold the data",
    )?;
    require(largest > BUFFER_BYTES, "every completion filled a single buffer")
}

/// Tests IORING_RECVSEND_POLL_FIRST (5.19). Its effect cannot be observed, so the probe also sets
/// an undefined flag: a kernel that accepts it ignores this field.
pub fn poll_first() -> ProbeResult {
    let mut probe = ProbeRing::new()?;
    let (near, far) = probe.socket_pair()?;
    recv_hello(&mut probe, near, far, RECVSEND_POLL_FIRST)?;
    sockets::send(far, b"hello")?;
    let unknown = probe.recv(near, 16, UNKNOWN_FLAG);
    probe.run_expecting(unknown, "RECV with an undefined flag", libc::EINVAL)
}
