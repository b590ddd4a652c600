//! How a ring can be waited for.

use std::time::{Duration, Instant};

use ::io_uring::types::{Napi, SubmitArgs, Timespec};

use super::ask::{Ask, SOON};
use super::trial::Trial;
use super::{Answer, Capability, Missing, capability, require};

/// All of this group.
pub const ALL: &[Capability] = &[
    capability("wait_timeout", "IORING_ENTER_EXT_ARG: a wait with an end", timeout),
    capability(
        "min_wait",
        "min_wait_usec: a wait for several completions that after a while takes fewer",
        min_wait,
    ),
    capability(
        "napi_busy_poll",
        "IORING_REGISTER_NAPI: a wait that polls the network card",
        napi_busy_poll,
    ),
];

/// A timeout of the wait itself (IORING_ENTER_EXT_ARG, 5.11).
pub fn timeout() -> Answer {
    let trial = Trial::plain()?;
    match trial.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&SOON)) {
        Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
        Err(error) => Err(Missing::refused("io_uring_enter with IORING_ENTER_EXT_ARG")(error)),
        Ok(_) => Err(Missing::otherwise("the wait ended before its time")),
    }
}

/// `min_wait_usec` (6.12): with one of two completions there, the wait ends after a millisecond,
/// not after the seconds that its timeout allows.
pub fn min_wait() -> Answer {
    const LONG: Duration = Duration::from_secs(4);
    timeout()?;
    let mut trial = Trial::plain()?;
    let nop = trial.push(Ask::nop())?;
    trial.submit()?;
    let long = Timespec::new().sec(LONG.as_secs());
    let started = Instant::now();
    let arguments = SubmitArgs::new().min_wait_usec(1000).timespec(&long);
    let waited = trial.ring.submitter().submit_with_args(2, &arguments);
    waited.map_err(Missing::refused("io_uring_enter with min_wait_usec"))?;
    require(started.elapsed() < LONG, "the wait went on until its timeout")?;
    trial.done(nop, "IORING_OP_NOP").map(drop)
}

/// IORING_REGISTER_NAPI (6.9, CONFIG_NET_RX_BUSY_POLL): what was set is handed back.
pub fn napi_busy_poll() -> Answer {
    const MICROSECONDS: u32 = 50;
    let trial = Trial::plain()?;
    let submitter = trial.ring.submitter();
    let mut settings = Napi::new().set_busy_poll_timeout(MICROSECONDS);
    let registered = submitter.register_napi(&mut settings);
    registered.map_err(Missing::refused("IORING_REGISTER_NAPI"))?;
    let mut settings = Napi::new();
    let unregistered = submitter.unregister_napi(&mut settings);
    unregistered.map_err(Missing::refused("IORING_UNREGISTER_NAPI"))?;
    let told = settings.busy_poll_timeout();
    require(told == MICROSECONDS, format!("{MICROSECONDS} µs became {told} µs"))
}
