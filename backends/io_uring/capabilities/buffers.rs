//! Buffers that the kernel chooses from when data has come.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU16, Ordering};

use ::io_uring::types::BufRingEntry;

use super::ask::Ask;
use super::trial::Trial;
use super::{Answer, Capability, Missing, capability, require, sockets};

/// All of this group.
pub const ALL: &[Capability] = &[
    capability("buffer_ring", "IORING_REGISTER_PBUF_RING: buffers provided through a ring", ring),
    capability(
        "buffer_ring_incremental",
        "IOU_PBUF_RING_INC: a buffer is filled bit by bit",
        incremental,
    ),
    capability(
        "provide_buffers",
        "IORING_OP_PROVIDE_BUFFERS: buffers provided by an operation",
        provide,
    ),
];

/// The group that trials use.
pub(super) const GROUP: u16 = 1;

/// Where the buffers begin in the trial's memory; the ring of buffers stands before them.
const BUFFERS_AT: usize = 4096;

/// `IOU_PBUF_RING_INC` (io_uring_register(2)).
const INCREMENTAL: u16 = 2;

const ENTRIES: u16 = 8;

/// Gives a trial a ring with so many buffers of such a length.
pub(super) fn register(trial: &mut Trial, count: u16, length: usize, flags: u16) -> Answer {
    assert!(count <= ENTRIES);
    let base = trial.address(0, usize::from(ENTRIES) * size_of::<BufRingEntry>());
    // SAFETY: the memory is the trial's, which frees it after the ring that it belongs to, or
    // never.
    let registered = unsafe {
        let submitter = trial.ring.submitter();
        submitter.register_buf_ring_with_flags(base as u64, ENTRIES, GROUP, flags)
    };
    registered.map_err(Missing::refused("IORING_REGISTER_PBUF_RING"))?;
    let entries = base.cast::<BufRingEntry>();
    for index in 0..count {
        let address = trial.address(BUFFERS_AT + usize::from(index) * length, length);
        // SAFETY: the entry is within the ring, which has room for ENTRIES of them.
        let entry = unsafe { entries.add(usize::from(index)) };
        // SAFETY: it is aligned, all zeros are valid, and the kernel does not look at it before
        // the tail says so.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address as u64);
        entry.set_len(length as u32);
        entry.set_bid(index);
    }
    // SAFETY: this is the first entry of a ring of buffers.
    let tail = unsafe { BufRingEntry::tail(entries) };
    // SAFETY: the tail is aligned, lives as long as the ring, and is read by the kernel alone.
    unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(count, Ordering::Release);
    Ok(())
}

/// What stands in the buffer of that number.
pub(super) fn contents(trial: &Trial, buffer: u16, length: usize, bytes: usize) -> Vec<u8> {
    trial.bytes(BUFFERS_AT + usize::from(buffer) * length, bytes)
}

fn receives_hello(trial: &mut Trial, socket: RawFd, length: usize) -> Answer {
    let received = trial.does(Ask::recv_provided(socket, GROUP), "IORING_OP_RECV")?;
    let Some(buffer) = received.buffer() else {
        return Err(Missing::otherwise("RECV told of no buffer"));
    };
    let told = contents(trial, buffer, length, 5);
    require(received.result == 5 && told == b"hello", "what was sent is not in the buffer")
}

/// IORING_REGISTER_PBUF_RING (5.19).
pub fn ring() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    register(&mut trial, 2, 64, 0)?;
    sockets::tell(far, b"hello")?;
    receives_hello(&mut trial, near, 64)
}

/// IOU_PBUF_RING_INC (6.12): two pieces end up in one buffer, one behind the other.
pub fn incremental() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    register(&mut trial, 1, 64, INCREMENTAL)?;
    for piece in [b"hel", b"lo!"] {
        sockets::tell(far, piece)?;
        let received = trial.does(Ask::recv_provided(near, GROUP), "IORING_OP_RECV")?;
        let goes_on = received.buffer() == Some(0) && received.buffer_more();
        require(goes_on, "the buffer was given back after one piece")?;
    }
    require(contents(&trial, 0, 64, 6) == b"hello!", "the pieces are not one behind the other")
}

/// IORING_OP_PROVIDE_BUFFERS (5.7).
pub fn provide() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    trial.does(Ask::provide(&trial, BUFFERS_AT, 64, GROUP), "IORING_OP_PROVIDE_BUFFERS")?;
    sockets::tell(far, b"hello")?;
    receives_hello(&mut trial, near, 64)
}
