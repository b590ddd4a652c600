//! Ends of connections.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use super::ask::Ask;
use super::files::table;
use super::trial::Trial;
use super::{Answer, Capability, accept, capability, sockets};

/// All of this group.
pub const ALL: &[Capability] = &[
    capability("shutdown", "IORING_OP_SHUTDOWN", shutdown),
    capability("close", "IORING_OP_CLOSE", descriptor),
    capability("close_direct", "IORING_OP_CLOSE of a slot in the table of files", direct),
];

/// IORING_OP_SHUTDOWN (5.11, and 5.10 with later fixes).
pub fn shutdown() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    trial.does(Ask::shutdown(near, libc::SHUT_WR), "IORING_OP_SHUTDOWN")?;
    sockets::must_end(far)
}

/// IORING_OP_CLOSE (5.6).
pub fn descriptor() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = sockets::pair()?;
    let far = trial.keep(far);
    let near = near.into_raw_fd();
    let close = trial.push(Ask::close(near))?;
    if let Err(missing) = trial.done(close, "IORING_OP_CLOSE") {
        // SAFETY: the kernel has refused to close it, so it is ours still.
        drop(unsafe { OwnedFd::from_raw_fd(near) });
        return Err(missing);
    }
    sockets::must_end(far)
}

/// IORING_OP_CLOSE of a direct descriptor (5.15): the table held the last reference.
///
/// A kernel without it would close descriptor 0 in its place. So it is tried only where ACCEPT
/// into the table works, which came with the same release; whoever uses it has to ask here.
pub fn direct() -> Answer {
    accept::direct()?;
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    table(&mut trial, &[near])?;
    drop(trial.release(near));
    trial.does(Ask::close_direct(0), "IORING_OP_CLOSE of a direct descriptor")?;
    sockets::must_end(far)
}
