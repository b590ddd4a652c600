//! Bytes from a socket.

use std::os::fd::RawFd;

use super::ask::{Ask, NO_SUCH_FLAG, POLL_FIRST};
use super::buffers::{self, GROUP};
use super::trial::Trial;
use super::{Answer, Capability, Missing, capability, require, sockets};

/// All of this group.
pub const ALL: &[Capability] = &[
    capability("recv", "IORING_OP_RECV", single),
    capability("recv_multishot", "IORING_RECV_MULTISHOT: one ask, many receives", multishot),
    capability("recv_bundle", "IORING_RECVSEND_BUNDLE: one receive fills several buffers", bundle),
    capability(
        "recv_poll_first",
        "IORING_RECVSEND_POLL_FIRST: no attempt before there is data",
        poll_first,
    ),
];

const NAME: &str = "IORING_OP_RECV";

/// IORING_OP_RECV (5.6), on a socket to which data comes later.
pub fn single() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    hears_hello(&mut trial, near, far, 0)
}

fn hears_hello(trial: &mut Trial, near: RawFd, far: RawFd, how: u16) -> Answer {
    let recv = trial.push(Ask::recv(trial, near, 16, how))?;
    trial.submit()?;
    sockets::tell(far, b"hello")?;
    let received = trial.done(recv, NAME)?;
    let right = received.result == 5 && trial.bytes(0, 5) == b"hello";
    require(right, "what was sent is not in the buffer")
}

/// IORING_RECV_MULTISHOT (6.0), into a ring of buffers: two pieces, and the kernel means to go on.
pub fn multishot() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    buffers::register(&mut trial, 4, 64, 0)?;
    let recv = trial.push(Ask::recv_multishot(near, GROUP))?;
    trial.submit()?;
    for piece in [b"hello", b"world"] {
        sockets::tell(far, piece)?;
        let received = trial.done(recv, NAME)?;
        let Some(buffer) = received.buffer() else {
            return Err(Missing::otherwise("RECV told of no buffer"));
        };
        let told = buffers::contents(&trial, buffer, 64, 5);
        require(received.result == 5 && told == piece, "what was sent is not in the buffer")?;
        require(received.more(), "it ended after a receive")?;
    }
    Ok(())
}

/// IORING_RECVSEND_BUNDLE on a multishot receive (6.10). Of what has come at once the first
/// completion may take a single buffer only; the next must take the rest.
pub fn bundle() -> Answer {
    const BUFFER_BYTES: usize = 4;
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    buffers::register(&mut trial, 6, BUFFER_BYTES, 0)?;
    sockets::tell(far, b"twelve bytes")?;
    let recv = trial.push(Ask::recv_bundle(near, GROUP))?;
    let (mut received, mut largest) = (0, 0);
    while received < 12 {
        let piece = trial.done(recv, "IORING_OP_RECV with IORING_RECVSEND_BUNDLE")?.result;
        require(piece > 0, "the stream ended")?;
        received += piece as usize;
        largest = largest.max(piece as usize);
    }
    require(buffers::contents(&trial, 0, BUFFER_BYTES, 12) == b"twelve bytes", "other bytes came")?;
    require(largest > BUFFER_BYTES, "each completion filled one buffer alone")
}

/// IORING_RECVSEND_POLL_FIRST (5.19). What it saves cannot be seen from here, so a kernel that
/// takes anything in its place is told apart by a flag that nobody knows.
pub fn poll_first() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    hears_hello(&mut trial, near, far, POLL_FIRST)?;
    sockets::tell(far, b"hello")?;
    let unknown = Ask::recv(&trial, near, 16, NO_SUCH_FLAG);
    trial.fails(unknown, "RECV with a flag that does not exist", libc::EINVAL)
}
