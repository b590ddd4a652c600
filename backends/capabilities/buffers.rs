//! Provided buffers: the kernel picks one when data arrives.

use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};

use ::io_uring::squeue::{Entry, Flags};
use ::io_uring::{opcode, types};
use types::BufRingEntry;

use super::probe_ring::{ProbeRing, retry_on_enomem};
use super::{Capability, ProbeError, ProbeResult, probe, require, sockets};
use crate::completion::Completion;

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    probe("buf_ring", "IORING_REGISTER_PBUF_RING: a ring of provided buffers", ring),
    probe("buf_ring_inc", "IOU_PBUF_RING_INC: receives consume a buffer in parts", incremental),
    probe("provide_buffers", "IORING_OP_PROVIDE_BUFFERS: buffers provided with an SQE", provide),
];

/// Buffer group ID of all probes.
pub(super) const GROUP: u16 = 1;

/// Offset of the buffers in the probe's memory. The buffer ring is at its start.
const BUFFERS_AT: usize = 4096;

/// `IOU_PBUF_RING_INC` (io_uring_register(2)).
const INCREMENTAL: u16 = 2;

const ENTRIES: u16 = 8;

/// Registers a buffer ring with `count` buffers of `length` bytes.
pub(super) fn register(
    probe: &mut ProbeRing,
    count: u16,
    length: usize,
    flags: u16,
) -> ProbeResult {
    assert!(count <= ENTRIES);
    let base = probe.address(0, usize::from(ENTRIES) * size_of::<BufRingEntry>());
    retry_on_enomem(|| {
        let submitter = probe.ring.submitter();
        // SAFETY: the probe owns the memory, and frees it after the ring or never.
        let registered =
            unsafe { submitter.register_buf_ring_with_flags(base as u64, ENTRIES, GROUP, flags) };
        registered.map_err(ProbeError::refused("IORING_REGISTER_PBUF_RING"))
    })?;
    let entries = base.cast::<BufRingEntry>();
    for index in 0..count {
        let address = probe.address(BUFFERS_AT + usize::from(index) * length, length);
        // SAFETY: the entry is within the ring, which has room for ENTRIES of them.
        let entry = unsafe { entries.add(usize::from(index)) };
        // SAFETY: it is aligned, zeros are valid, and the kernel does not read it before the tail
        // has moved past it.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address as u64);
        entry.set_len(length as u32);
        entry.set_bid(index);
    }
    // SAFETY: this is the first entry of a buffer ring.
    let tail = unsafe { BufRingEntry::tail(entries) };
    // SAFETY: the tail is aligned, lives as long as the ring, and only the kernel reads it.
    unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(count, Ordering::Release);
    Ok(())
}

/// Returns the first `bytes` bytes of a buffer.
pub(super) fn contents(probe: &ProbeRing, buffer: u16, length: usize, bytes: usize) -> Vec<u8> {
    probe.bytes(BUFFERS_AT + usize::from(buffer) * length, bytes)
}

/// Returns a RECV into a provided buffer of `length` bytes. Before Linux 5.19 a length of zero
/// receives nothing; later it means the whole buffer.
fn recv(socket: RawFd, length: usize) -> Entry {
    let recv = opcode::Recv::new(types::Fd(socket), ptr::null_mut(), length as u32);
    recv.buf_group(GROUP).build().flags(Flags::BUFFER_SELECT)
}

/// Checks that a RECV completed with these bytes in a buffer of `length` bytes.
pub(super) fn expect(
    probe: &ProbeRing,
    received: Completion,
    length: usize,
    bytes: &[u8],
) -> ProbeResult {
    let Some(buffer) = received.buffer_id() else {
        return Err(ProbeError::unexpected("RECV completed without a buffer"));
    };
    let is_complete = received.result as usize == bytes.len()
        && contents(probe, buffer, length, bytes.len()) == bytes;
    require(is_complete, "the buffer does not hold the data")
}

fn recv_hello(probe: &mut ProbeRing, near: RawFd, far: RawFd) -> ProbeResult {
    sockets::send(far, b"hello")?;
    let received = probe.run(recv(near, 64), "IORING_OP_RECV")?;
    expect(probe, received, 64, b"hello")
}

/// Tests IORING_REGISTER_PBUF_RING (5.19): a receive takes a buffer from the ring.
pub fn ring() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    register(&mut probe, 2, 64, 0)?;
    recv_hello(&mut probe, near, far)
}

/// Tests IOU_PBUF_RING_INC (6.12): two receives fill one buffer, one after the other.
pub fn incremental() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    register(&mut probe, 1, 64, INCREMENTAL)?;
    for piece in [b"hel", b"lo!"] {
        sockets::send(far, piece)?;
        let received = probe.run(recv(near, 64), "IORING_OP_RECV")?;
        let stays = received.buffer_id() == Some(0) && received.buffer_more();
        require(stays, "the buffer was consumed by one receive")?;
    }
    let continues = contents(&probe, 0, 64, 6) == b"hello!";
    require(continues, "the second receive does not continue the first")
}

/// Tests IORING_OP_PROVIDE_BUFFERS (5.7): a receive takes the buffer.
pub fn provide() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    let buffer = probe.address(BUFFERS_AT, 64);
    let provide = opcode::ProvideBuffers::new(buffer, 64, 1, GROUP, 0).build();
    probe.run(provide, "IORING_OP_PROVIDE_BUFFERS")?;
    recv_hello(&mut probe, near, far)
}
