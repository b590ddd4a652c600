//! Receiving from a socket.

use std::os::fd::RawFd;

use ::io_uring::squeue::Entry;
use ::io_uring::{opcode, types::Fd};

use super::buffers::{self, GROUP};
use super::probe_ring::ProbeRing;
use super::sqe::{RECVSEND_POLL_FIRST, UNKNOWN_FLAG};
use super::{Capability, ProbeResult, probe, require, sockets};

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    probe("recv", "IORING_OP_RECV", single),
    probe("recv_multishot", "IORING_RECV_MULTISHOT: one SQE, many receives", multishot),
    probe("recv_bundle", "IORING_RECVSEND_BUNDLE: one receive fills several buffers", bundle),
    probe("recv_poll_first", "IORING_RECVSEND_POLL_FIRST: polls before it receives", poll_first),
];

const NAME: &str = "IORING_OP_RECV";

/// Tests IORING_OP_RECV (5.6) on a socket that gets data after the submission.
pub fn single() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    recv_hello(&mut probe, near, far, 0)
}

/// Returns a RECV into the start of the I/O memory.
fn recv(probe: &ProbeRing, socket: RawFd, ioprio: u16) -> Entry {
    opcode::Recv::new(Fd(socket), probe.address(0, 16), 16).ioprio(ioprio).build()
}

fn recv_hello(probe: &mut ProbeRing, near: RawFd, far: RawFd, ioprio: u16) -> ProbeResult {
    let recv = probe.push(recv(probe, near, ioprio))?;
    probe.submit()?;
    sockets::send(far, b"hello")?;
    let received = probe.wait_ok(recv, NAME)?;
    let is_complete = received.result == 5 && probe.bytes(0, 5) == b"hello";
    require(is_complete, "the buffer does not hold the data")
}

/// Tests IORING_RECV_MULTISHOT (6.0) with a buffer ring: two completions with IORING_CQE_F_MORE.
pub fn multishot() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    buffers::register(&mut probe, 4, 64, 0)?;
    let recv = probe.push(opcode::RecvMulti::new(Fd(near), GROUP).build())?;
    probe.submit()?;
    for piece in [b"hello", b"world"] {
        sockets::send(far, piece)?;
        let received = probe.wait_ok(recv, NAME)?;
        buffers::expect(&probe, received, 64, piece)?;
        require(received.more(), "it ended after one completion")?;
    }
    Ok(())
}

/// Tests IORING_RECVSEND_BUNDLE on a multishot receive (6.10). The first completion may fill a
/// single buffer; a later one must fill several.
pub fn bundle() -> ProbeResult {
    const BUFFER_BYTES: usize = 4;
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    buffers::register(&mut probe, 6, BUFFER_BYTES, 0)?;
    sockets::send(far, b"twelve bytes")?;
    let recv = probe.push(opcode::RecvMultiBundle::new(Fd(near), GROUP).build())?;
    let (mut received, mut largest) = (0, 0);
    while received < 12 {
        let piece = probe.wait_ok(recv, "IORING_OP_RECV with IORING_RECVSEND_BUNDLE")?.result;
        require(piece > 0, "the stream ended")?;
        received += piece as usize;
        largest = largest.max(piece as usize);
    }
    let data = buffers::contents(&probe, 0, BUFFER_BYTES, 12);
    require(data == b"twelve bytes", "the buffers do not hold the data")?;
    require(largest > BUFFER_BYTES, "every completion filled a single buffer")
}

/// Tests IORING_RECVSEND_POLL_FIRST (5.19). Its effect cannot be observed, so the probe also sets
/// an undefined flag: a kernel that accepts it ignores this field.
pub fn poll_first() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    recv_hello(&mut probe, near, far, RECVSEND_POLL_FIRST)?;
    sockets::send(far, b"hello")?;
    let unknown = recv(&probe, near, UNKNOWN_FLAG);
    probe.run_expecting(unknown, "RECV with an undefined flag", libc::EINVAL)
}
