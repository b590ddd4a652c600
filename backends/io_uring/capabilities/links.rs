//! Operations that wait for each other, and completions that do not come.

use ::io_uring::squeue::Flags;

use super::ask::Ask;
use super::trial::Trial;
use super::{Answer, Capability, capability, require, sockets};

/// All of this group.
pub const ALL: &[Capability] = &[
    capability("link", "IOSQE_IO_LINK: one operation after the other, unless one fails", soft),
    capability(
        "hard_link",
        "IOSQE_IO_HARDLINK: one operation after the other, whatever happens",
        hard,
    ),
    capability(
        "skip_success",
        "IOSQE_CQE_SKIP_SUCCESS: success without a completion",
        skip_success,
    ),
];

/// IOSQE_IO_LINK (5.3): the second waits for the first, and is cancelled if that fails.
pub fn soft() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    let first = trial.push(Ask::poll(near).flags(Flags::IO_LINK))?;
    let second = trial.push(Ask::nop())?;
    trial.submit()?;
    require(trial.is_quiet(), "the second did not wait for the first")?;
    sockets::tell(far, b"x")?;
    trial.done(first, "IORING_OP_POLL_ADD")?;
    trial.done(second, "the linked operation")?;
    let first = trial.push(Ask::timeout().flags(Flags::IO_LINK))?;
    let second = trial.push(Ask::nop())?;
    trial.ended_with(first, "IORING_OP_TIMEOUT", libc::ETIME)?;
    trial.ended_with(second, "the operation behind a failed one", libc::ECANCELED)
}

/// IOSQE_IO_HARDLINK (5.5): the second is done though the first fails.
pub fn hard() -> Answer {
    let mut trial = Trial::plain()?;
    let first = trial.push(Ask::timeout().flags(Flags::IO_HARDLINK))?;
    let second = trial.push(Ask::nop())?;
    trial.submit()?;
    trial.ended_with(first, "IORING_OP_TIMEOUT", libc::ETIME)?;
    trial.done(second, "the operation behind a failed one").map(drop)
}

/// IOSQE_CQE_SKIP_SUCCESS (5.17): the send is done, and only the operation behind it completes.
pub fn skip_success() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    let skipped = trial.push(Ask::send(near, b"hello", 0).flags(Flags::SKIP_SUCCESS))?;
    let behind = trial.push(Ask::nop())?;
    trial.done(behind, "IORING_OP_NOP")?;
    if !trial.is_quiet() {
        trial.done(skipped, "an operation with IOSQE_CQE_SKIP_SUCCESS")?;
        require(false, "the completion came all the same")?;
    }
    sockets::must_hear(far, b"hello")
}
