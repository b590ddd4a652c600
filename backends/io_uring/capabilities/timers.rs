//! Time, and readiness without an operation.

use std::os::fd::RawFd;

use ::io_uring::squeue::Flags;

use super::ask::Ask;
use super::trial::{Completion, Trial};
use super::{Answer, Capability, Missing, capability, require, sockets};

/// All of this group.
pub const ALL: &[Capability] = &[
    capability("timeout", "IORING_OP_TIMEOUT", timeout),
    capability(
        "timeout_multishot",
        "IORING_TIMEOUT_MULTISHOT: it goes off again and again",
        timeout_multishot,
    ),
    capability(
        "link_timeout",
        "IORING_OP_LINK_TIMEOUT: an end for the operation before it",
        link_timeout,
    ),
    capability("poll", "IORING_OP_POLL_ADD", poll),
    capability("poll_multishot", "IORING_POLL_ADD_MULTI: one ask, told every time", poll_multishot),
];

const TIMEOUT: &str = "IORING_OP_TIMEOUT";
const POLL: &str = "IORING_OP_POLL_ADD";

/// IORING_OP_TIMEOUT (5.4).
pub fn timeout() -> Answer {
    Trial::plain()?.fails(Ask::timeout(), TIMEOUT, libc::ETIME)
}

/// IORING_TIMEOUT_MULTISHOT (6.4): twice, and then no more.
pub fn timeout_multishot() -> Answer {
    let mut trial = Trial::plain()?;
    let timeout = trial.push(Ask::timeout_multishot(2))?;
    for more in [true, false] {
        let fired = trial.answer(timeout, TIMEOUT)?;
        match -fired.result {
            libc::ETIME => {}
            errno => return Err(Missing::Refused { operation: TIMEOUT, errno }),
        }
        require(fired.more() == more, "it did not go off twice")?;
    }
    Ok(())
}

/// IORING_OP_LINK_TIMEOUT (5.5).
pub fn link_timeout() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, _far) = trial.pair()?;
    let poll = trial.push(Ask::poll(near).flags(Flags::IO_LINK))?;
    let timeout = trial.push(Ask::link_timeout())?;
    trial.ended_with(poll, POLL, libc::ECANCELED)?;
    trial.ended_with(timeout, "IORING_OP_LINK_TIMEOUT", libc::ETIME)
}

/// IORING_OP_POLL_ADD (5.1).
pub fn poll() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    let poll = trial.push(Ask::poll(near))?;
    trial.submit()?;
    readable(&mut trial, poll, far).map(drop)
}

/// IORING_POLL_ADD_MULTI (5.13): told twice, and the kernel means to go on.
pub fn poll_multishot() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    let poll = trial.push(Ask::poll_multishot(near))?;
    trial.submit()?;
    for _ in 0..2 {
        let told = readable(&mut trial, poll, far)?;
        require(told.more(), "it ended after the first time")?;
        sockets::must_hear(near, b"x")?;
    }
    Ok(())
}

fn readable(trial: &mut Trial, poll: u64, far: RawFd) -> Result<Completion, Missing> {
    require(trial.is_quiet(), "it told of data before there was any")?;
    sockets::tell(far, b"x")?;
    let told = trial.done(poll, POLL)?;
    require(told.result & i32::from(libc::POLLIN) != 0, "it did not tell of data")?;
    Ok(told)
}
