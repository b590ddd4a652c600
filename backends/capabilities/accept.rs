//! Accepting connections.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::files::{SLOTS, register_table, send_from_slot};
use super::probe_ring::ProbeRing;
use super::sockets::ProbeListener;
use super::sqe::Sqe;
use super::{Capability, ProbeError, ProbeResult, capability, require, sockets};
use crate::completion::Completion;

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    capability("accept", "IORING_OP_ACCEPT", single),
    capability("accept_multishot", "IORING_ACCEPT_MULTISHOT: one SQE, many connections", multishot),
    capability("accept_direct", "IORING_OP_ACCEPT into a given slot of the file table", direct),
    capability(
        "accept_direct_alloc",
        "IORING_FILE_INDEX_ALLOC: the kernel allocates the slot",
        direct_alloc,
    ),
    capability(
        "accept_direct_multishot",
        "IORING_ACCEPT_MULTISHOT with IORING_FILE_INDEX_ALLOC",
        direct_multishot,
    ),
];

const NAME: &str = "IORING_OP_ACCEPT";

fn ring_and_listener() -> ProbeResult<(ProbeRing, ProbeListener)> {
    Ok((ProbeRing::new()?, ProbeListener::new()?))
}

fn accepted_fd(completion: Completion) -> OwnedFd {
    // SAFETY: the kernel opened this descriptor for the ACCEPT, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(completion.result) }
}

/// Tests IORING_OP_ACCEPT (5.5): data arrives over the new connection.
pub fn single() -> ProbeResult {
    let (mut probe, listener) = ring_and_listener()?;
    let accept = probe.push(Sqe::accept(listener.fd()))?;
    probe.submit()?;
    let client = listener.connect()?;
    let client = probe.own_socket(client);
    probe.own_socket(listener);
    let accepted = probe.wait_ok(accept, NAME)?;
    expect_connected(&mut probe, accepted, client)
}

/// Checks that the accepted socket is connected to this client.
fn expect_connected(probe: &mut ProbeRing, accepted: Completion, client: RawFd) -> ProbeResult {
    let server = probe.own_socket(accepted_fd(accepted));
    sockets::send(server, b"hello")?;
    sockets::expect_bytes(client, b"hello")
}

/// Tests IORING_ACCEPT_MULTISHOT (5.19): two connections, each with IORING_CQE_F_MORE.
pub fn multishot() -> ProbeResult {
    let (mut probe, listener) = ring_and_listener()?;
    let accept = probe.push(Sqe::accept_multishot(listener.fd()))?;
    probe.submit()?;
    let result = (0..2).try_for_each(|_| {
        let client = listener.connect()?;
        let client = probe.own_socket(client);
        let accepted = probe.wait_ok(accept, NAME)?;
        expect_connected(&mut probe, accepted, client)?;
        require(accepted.more(), "it ended after one connection")
    });
    probe.own_socket(listener);
    result
}

/// Tests IORING_OP_ACCEPT into a given slot of the file table (5.15).
pub fn direct() -> ProbeResult {
    accept_into_slot(|listener| Sqe::accept_direct(listener, Some(1)), Some(1))
}

/// Tests IORING_OP_ACCEPT with IORING_FILE_INDEX_ALLOC (5.19): the kernel allocates the slot.
pub fn direct_alloc() -> ProbeResult {
    accept_into_slot(|listener| Sqe::accept_direct(listener, None), None)
}

fn accept_into_slot(accept: fn(RawFd) -> Sqe, slot: Option<u32>) -> ProbeResult {
    let (mut probe, listener) = ring_and_listener()?;
    register_table(&mut probe, &[])?;
    let client = listener.connect()?;
    let client = probe.own_socket(client);
    let listener = probe.own_socket(listener);
    let accepted = probe.run(accept(listener), NAME)?;
    // The result is 0 for a given slot, and the index of an allocated one.
    expect_slot_index(&mut probe, accepted, slot.map_or(SLOTS, |_| 1))?;
    send_from_slot(&mut probe, slot.map_or(accepted.result, |it| it as RawFd), client)
}

/// Checks that the result is a slot index. A kernel without direct descriptors ignores the slot and
/// opens a normal descriptor, which is closed here. Its number is larger than any index: the ring,
/// the listener and the client have the smallest ones.
fn expect_slot_index(probe: &mut ProbeRing, accepted: Completion, indices: u32) -> ProbeResult {
    if accepted.result as u32 >= indices {
        probe.own_socket(accepted_fd(accepted));
        return Err(ProbeError::unexpected(
            "ACCEPT opened a normal descriptor instead of a direct one",
        ));
    }
    Ok(())
}

/// Tests IORING_ACCEPT_MULTISHOT with IORING_FILE_INDEX_ALLOC (5.19).
pub fn direct_multishot() -> ProbeResult {
    let (mut probe, listener) = ring_and_listener()?;
    register_table(&mut probe, &[])?;
    let accept = probe.push(Sqe::accept_direct_multishot(listener.fd()))?;
    probe.submit()?;
    let result = (0..2).try_for_each(|_| {
        let client = listener.connect()?;
        let client = probe.own_socket(client);
        let accepted = probe.wait_ok(accept, NAME)?;
        expect_slot_index(&mut probe, accepted, SLOTS)?;
        send_from_slot(&mut probe, accepted.result, client)?;
        require(accepted.more(), "it ended after one connection")
    });
    probe.own_socket(listener);
    result
}
