//! Ways to wait for completions.

use std::time::{Duration, Instant};

use ::io_uring::types::{Napi, SubmitArgs, Timespec};

use super::probe_ring::ProbeRing;
use super::sqe::{self, SHORT_TIMEOUT};
use super::{Capability, ProbeError, ProbeResult, expect_errno, probe, require};

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    probe("ext_arg", "IORING_ENTER_EXT_ARG: a wait with a timeout", ext_arg),
    probe("min_wait", "min_wait_usec: after this time a wait accepts fewer completions", min_wait),
    probe("napi_busy_poll", "IORING_REGISTER_NAPI: busy polls the network card", napi_busy_poll),
];

/// Tests IORING_ENTER_EXT_ARG (5.11): a wait without completions ends with ETIME.
pub fn ext_arg() -> ProbeResult {
    let probe = ProbeRing::new()?;
    let arguments = SubmitArgs::new().timespec(&SHORT_TIMEOUT);
    let waited = probe.ring.submitter().submit_with_args(1, &arguments);
    expect_errno(waited, "io_uring_enter with IORING_ENTER_EXT_ARG", libc::ETIME)
}

/// Tests `min_wait_usec` (6.12): with one of two completions posted, the wait ends after a
/// millisecond, not at its timeout.
pub fn min_wait() -> ProbeResult {
    const TIMEOUT: Duration = Duration::from_secs(4);
    ext_arg()?;
    let mut probe = ProbeRing::new()?;
    let nop = probe.push(sqe::nop())?;
    probe.submit()?;
    let timeout = Timespec::new().sec(TIMEOUT.as_secs());
    let started = Instant::now();
    let arguments = SubmitArgs::new().min_wait_usec(1000).timespec(&timeout);
    let waited = probe.ring.submitter().submit_with_args(2, &arguments);
    waited.map_err(ProbeError::refused("io_uring_enter with min_wait_usec"))?;
    require(started.elapsed() < TIMEOUT, "the wait lasted until its timeout")?;
    probe.wait_ok(nop, "IORING_OP_NOP").map(drop)
}

/// Tests IORING_REGISTER_NAPI (6.9, CONFIG_NET_RX_BUSY_POLL): the kernel returns the setting.
pub fn napi_busy_poll() -> ProbeResult {
    const MICROSECONDS: u32 = 50;
    let probe = ProbeRing::new()?;
    let submitter = probe.ring.submitter();
    let mut settings = Napi::new().set_busy_poll_timeout(MICROSECONDS);
    let registered = submitter.register_napi(&mut settings);
    registered.map_err(ProbeError::refused("IORING_REGISTER_NAPI"))?;
    let mut settings = Napi::new();
    let unregistered = submitter.unregister_napi(&mut settings);
    unregistered.map_err(ProbeError::refused("IORING_UNREGISTER_NAPI"))?;
    let returned = settings.busy_poll_timeout();
    require(returned == MICROSECONDS, format!("{MICROSECONDS} µs became {returned} µs"))
}
