//! Accepting connections.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use ::io_uring::{opcode, types::DestinationSlot, types::Fd};

use super::files::{SLOTS, register_table, send_from_slot};
use super::probe_ring::ProbeRing;
use super::{Capability, ProbeError, ProbeResult, probe, require, sockets};
use crate::completion::Completion;

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    probe("accept", "IORING_OP_ACCEPT", single),
    probe("accept_multishot", "IORING_ACCEPT_MULTISHOT: one SQE, many connections", multishot),
    probe("accept_direct", "IORING_OP_ACCEPT into a given slot of the file table", direct),
    probe("accept_direct_alloc", "IORING_FILE_INDEX_ALLOC: the kernel picks a slot", direct_alloc),
    probe("accept_direct_multishot", "IORING_ACCEPT_MULTISHOT into slots", direct_multishot),
];

const NAME: &str = "IORING_OP_ACCEPT";

/// Sets up a ring with a listener. A Unix socket needs no loopback interface, and an abstract name
/// leaves no file.
fn ring_with_listener() -> ProbeResult<(ProbeRing, RawFd, SocketAddr)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("ringpoll-capabilities-{}-{number}", process::id());
    let mut probe = ProbeRing::new()?;
    let address = SocketAddr::from_abstract_name(name).map_err(ProbeError::refused("bind"))?;
    let listener = UnixListener::bind_addr(&address).map_err(ProbeError::refused("bind"))?;
    let listener = probe.own_socket(listener);
    Ok((probe, listener, address))
}

fn connect(probe: &mut ProbeRing, address: &SocketAddr) -> ProbeResult<RawFd> {
    let client = UnixStream::connect_addr(address).map_err(ProbeError::refused("connect"))?;
    Ok(probe.own_socket(client))
}

fn accept(listener: RawFd) -> opcode::Accept {
    opcode::Accept::new(Fd(listener), ptr::null_mut(), ptr::null_mut())
}

fn accepted_fd(completion: Completion) -> OwnedFd {
    // SAFETY: the kernel opened this descriptor for the ACCEPT, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(completion.result) }
}

/// Tests IORING_OP_ACCEPT (5.5): data arrives over the new connection.
pub fn single() -> ProbeResult {
    let (mut probe, listener, address) = ring_with_listener()?;
    let accept = probe.push(accept(listener).flags(libc::SOCK_CLOEXEC).build())?;
    probe.submit()?;
    let client = connect(&mut probe, &address)?;
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
    let (mut probe, listener, address) = ring_with_listener()?;
    let accept = opcode::AcceptMulti::new(Fd(listener)).flags(libc::SOCK_CLOEXEC);
    let accept = probe.push(accept.build())?;
    probe.submit()?;
    for _ in 0..2 {
        let client = connect(&mut probe, &address)?;
        let accepted = probe.wait_ok(accept, NAME)?;
        expect_connected(&mut probe, accepted, client)?;
        require(accepted.more(), "it ended after one connection")?;
    }
    Ok(())
}

/// Tests IORING_OP_ACCEPT into a given slot of the file table (5.15).
pub fn direct() -> ProbeResult {
    accept_into_slot(Some(1))
}

/// Tests IORING_OP_ACCEPT with IORING_FILE_INDEX_ALLOC (5.19): the kernel allocates the slot.
pub fn direct_alloc() -> ProbeResult {
    accept_into_slot(None)
}

/// Accepts without SOCK_CLOEXEC, which the kernel refuses for a direct descriptor.
fn accept_into_slot(slot: Option<u32>) -> ProbeResult {
    let (mut probe, listener, address) = ring_with_listener()?;
    register_table(&mut probe, &[])?;
    let client = connect(&mut probe, &address)?;
    let given = slot.and_then(|slot| DestinationSlot::try_from_slot_target(slot).ok());
    let target = given.unwrap_or(DestinationSlot::auto_target());
    let accepted = probe.run(accept(listener).file_index(Some(target)).build(), NAME)?;
    // The result is 0 for a given slot, and the index of an allocated one.
    expect_slot_index(&mut probe, accepted, slot.map_or(SLOTS, |_| 1))?;
    send_from_slot(&mut probe, slot.unwrap_or(accepted.result as u32), client)
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
    let (mut probe, listener, address) = ring_with_listener()?;
    register_table(&mut probe, &[])?;
    let accept = opcode::AcceptMulti::new(Fd(listener)).allocate_file_index(true);
    let accept = probe.push(accept.build())?;
    probe.submit()?;
    for _ in 0..2 {
        let client = connect(&mut probe, &address)?;
        let accepted = probe.wait_ok(accept, NAME)?;
        expect_slot_index(&mut probe, accepted, SLOTS)?;
        send_from_slot(&mut probe, accepted.result as u32, client)?;
        require(accepted.more(), "it ended after one connection")?;
    }
    Ok(())
}
