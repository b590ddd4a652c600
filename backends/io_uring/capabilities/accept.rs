//! Connections from a listener.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::ask::Ask;
use super::files::{SLOTS, table};
use super::sockets::Listening;
use super::trial::{Completion, Trial};
use super::{Answer, Capability, Missing, capability, require, sockets};

/// All of this group.
pub const ALL: &[Capability] = &[
    capability("accept", "IORING_OP_ACCEPT", single),
    capability("accept_multishot", "IORING_ACCEPT_MULTISHOT: one ask, many connections", multishot),
    capability(
        "accept_direct",
        "ACCEPT into a slot of the table of files that the server chooses",
        direct,
    ),
    capability(
        "accept_direct_alloc",
        "the same with IORING_FILE_INDEX_ALLOC: the kernel chooses",
        direct_alloc,
    ),
    capability(
        "accept_direct_multishot",
        "multishot, into slots that the kernel chooses",
        direct_multishot,
    ),
];

const NAME: &str = "IORING_OP_ACCEPT";

/// A trial with a listener that nobody waits at.
fn listening() -> Result<(Trial, Listening), Missing> {
    Ok((Trial::plain()?, Listening::new()?))
}

/// The descriptor that came with an ACCEPT.
fn descriptor(completion: Completion) -> OwnedFd {
    // SAFETY: the kernel has made this descriptor for the ACCEPT that this completes, and nobody
    // else owns it.
    unsafe { OwnedFd::from_raw_fd(completion.result) }
}

/// IORING_OP_ACCEPT (5.5).
pub fn single() -> Answer {
    let (mut trial, listening) = listening()?;
    let listener = listening.number();
    let accept = trial.push(Ask::accept(listener))?;
    trial.submit()?;
    let client = listening.connect()?;
    let client = trial.keep(client);
    trial.keep(listening);
    let accepted = trial.done(accept, NAME)?;
    connected(&mut trial, accepted, client)
}

/// What was accepted is the other end of this client.
fn connected(trial: &mut Trial, accepted: Completion, client: RawFd) -> Answer {
    let server = trial.keep(descriptor(accepted));
    sockets::tell(server, b"hello")?;
    sockets::must_hear(client, b"hello")
}

/// IORING_ACCEPT_MULTISHOT (5.19): two connections, and the kernel means to go on.
pub fn multishot() -> Answer {
    let (mut trial, listening) = listening()?;
    let listener = listening.number();
    let accept = trial.push(Ask::accept_multishot(listener))?;
    trial.submit()?;
    let result = (0..2).try_for_each(|_| {
        let client = listening.connect()?;
        let client = trial.keep(client);
        let accepted = trial.done(accept, NAME)?;
        connected(&mut trial, accepted, client)?;
        require(accepted.more(), "it ended after a connection")
    });
    trial.keep(listening);
    result
}

/// ACCEPT into a slot that is named (5.15).
pub fn direct() -> Answer {
    directly(|listener| Ask::accept_direct(listener, Some(1)), Some(1))
}

/// ACCEPT into a slot that the kernel chooses (IORING_FILE_INDEX_ALLOC, 5.19).
pub fn direct_alloc() -> Answer {
    directly(|listener| Ask::accept_direct(listener, None), None)
}

fn directly(ask: fn(RawFd) -> Ask, slot: Option<u32>) -> Answer {
    let (mut trial, listening) = listening()?;
    table(&mut trial, &[])?;
    let client = listening.connect()?;
    let client = trial.keep(client);
    let listener = trial.keep(listening);
    let accepted = trial.does(ask(listener), NAME)?;
    // The result is 0 where the slot was named, and the index where the kernel chose it.
    no_descriptor(&mut trial, accepted, slot.map_or(SLOTS, |_| 1))?;
    works_at(&mut trial, slot.unwrap_or(accepted.result as u32), client)
}

/// A kernel that does not know of direct descriptors takes no notice and makes a normal one, which
/// must be closed. It cannot be so small a number: the ring, the listener and the client have
/// taken the smallest ones.
fn no_descriptor(trial: &mut Trial, accepted: Completion, indices: u32) -> Answer {
    if accepted.result as u32 >= indices {
        trial.keep(descriptor(accepted));
        return Err(Missing::otherwise("ACCEPT made a normal descriptor in place of a direct one"));
    }
    Ok(())
}

/// What stands at this slot is the other end of this client.
fn works_at(trial: &mut Trial, slot: u32, client: RawFd) -> Answer {
    trial.does(Ask::send(slot as RawFd, b"hello", 0).fixed(), "SEND on a direct descriptor")?;
    sockets::must_hear(client, b"hello")
}

/// Multishot into slots that the kernel chooses (5.19).
pub fn direct_multishot() -> Answer {
    let (mut trial, listening) = listening()?;
    table(&mut trial, &[])?;
    let listener = listening.number();
    let accept = trial.push(Ask::accept_direct_multishot(listener))?;
    trial.submit()?;
    let result = (0..2).try_for_each(|_| {
        let client = listening.connect()?;
        let client = trial.keep(client);
        let accepted = trial.done(accept, NAME)?;
        no_descriptor(&mut trial, accepted, SLOTS)?;
        works_at(&mut trial, accepted.result as u32, client)?;
        require(accepted.more(), "it ended after a connection")
    });
    trial.keep(listening);
    result
}
