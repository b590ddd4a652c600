//! Setup flags and registrations. A kernel refuses a setup flag that it does not know
//! (io_uring_setup(2)), so a ring that was set up has the flag. Probes also check its effect where
//! it can be observed.

use std::thread;
use std::time::{Duration, Instant};

use ::io_uring::register::Restriction;
use ::io_uring::{IoUring, Probe, cqueue, opcode, squeue::Entry};

use super::probe_ring::ProbeRing;
use super::sockets::COMPLETION_TIMEOUT;
use super::{Capability, ProbeError, ProbeResult, expect_errno, probe, require, sockets, sqe};

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    probe("ring", "io_uring_setup, and IORING_OP_NOP on the ring", ring),
    probe("setup_clamp", "IORING_SETUP_CLAMP: queue sizes are clamped to the maximum", clamp),
    probe("setup_r_disabled", "IORING_SETUP_R_DISABLED: a ring that starts disabled", r_disabled),
    probe("setup_submit_all", "IORING_SETUP_SUBMIT_ALL: submits past an invalid SQE", submit_all),
    probe("setup_coop_taskrun", "IORING_SETUP_COOP_TASKRUN: no task interrupts", coop_taskrun),
    probe("setup_taskrun_flag", "IORING_SETUP_TASKRUN_FLAG: shows pending work", taskrun_flag),
    probe("setup_single_issuer", "IORING_SETUP_SINGLE_ISSUER: one thread submits", single_issuer),
    probe("setup_defer_taskrun", "IORING_SETUP_DEFER_TASKRUN: runs work on enter", defer_taskrun),
    probe("setup_no_sqarray", "IORING_SETUP_NO_SQARRAY: no array of SQE indices", no_sqarray),
    probe("setup_sqpoll", "IORING_SETUP_SQPOLL: a kernel thread submits", sqpoll),
    probe("restrictions", "IORING_REGISTER_RESTRICTIONS: limits the operations", restrictions),
    probe("register_probe", "IORING_REGISTER_PROBE: the kernel lists its opcodes", register_probe),
    probe("registered_ring", "IORING_REGISTER_RING_FDS: enters without a lookup", registered_ring),
    probe("iowq_max_workers", "IORING_REGISTER_IOWQ_MAX_WORKERS: limits io-wq", iowq_max_workers),
    probe("feat_nodrop", "IORING_FEAT_NODROP: completions are kept if the queue is full", nodrop),
];

/// Sets up a ring and completes IORING_OP_NOP (5.1).
pub fn ring() -> ProbeResult {
    ProbeRing::new()?.run_nop()
}

/// Tests IORING_SETUP_CLAMP (5.6): a completion queue that is too large is clamped.
pub fn clamp() -> ProbeResult {
    const TOO_MANY_ENTRIES: u32 = 1 << 30;
    let mut builder = IoUring::<Entry, cqueue::Entry>::builder();
    match builder.dontfork().setup_clamp().setup_cqsize(TOO_MANY_ENTRIES).build(8) {
        Ok(ring) => {
            require(ring.params().cq_entries() < TOO_MANY_ENTRIES, "the size was not clamped")
        }
        // Clamped, but there is too little memory; without the flag it would be EINVAL.
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => Ok(()),
        Err(error) => Err(ProbeError::refused("io_uring_setup")(error)),
    }
}

/// Tests IORING_SETUP_R_DISABLED (5.10): io_uring_enter fails until the ring is enabled.
pub fn r_disabled() -> ProbeResult {
    let mut probe = ProbeRing::with_setup(|it| it.setup_r_disabled())?;
    expect_errno(probe.ring.submit(), "io_uring_enter on a disabled ring", libc::EBADFD)?;
    enable(&probe)?;
    probe.run_nop()
}

fn enable(probe: &ProbeRing) -> ProbeResult {
    let enabled = probe.ring.submitter().register_enable_rings();
    enabled.map_err(ProbeError::refused("IORING_REGISTER_ENABLE_RINGS"))
}

/// Tests IORING_SETUP_SUBMIT_ALL (5.18): the SQE after an invalid one is submitted.
pub fn submit_all() -> ProbeResult {
    let mut probe = ProbeRing::with_setup(|it| it.setup_submit_all())?;
    // Every kernel refuses it: the personality is not registered.
    let invalid = opcode::Nop::new().build().personality(0x7fff);
    let invalid = probe.push(invalid)?;
    let next = probe.push(sqe::nop())?;
    let submitted = probe.submit()?;
    require(submitted == 2, format!("{submitted} of two SQEs were submitted"))?;
    probe.wait_expecting(invalid, "an invalid SQE", libc::EINVAL)?;
    probe.wait_ok(next, "the SQE after an invalid one").map(drop)
}

/// Tests IORING_SETUP_COOP_TASKRUN (5.19). Its effect, fewer interrupts, cannot be observed.
pub fn coop_taskrun() -> ProbeResult {
    ProbeRing::with_setup(|it| it.setup_coop_taskrun())?.run_nop()
}

/// Tests IORING_SETUP_TASKRUN_FLAG (5.19). Its effect can be observed only with
/// IORING_SETUP_DEFER_TASKRUN; before 6.1 only the flag itself is tested.
pub fn taskrun_flag() -> ProbeResult {
    ProbeRing::with_setup(|it| it.setup_coop_taskrun().setup_taskrun_flag())?.run_nop()?;
    let deferred = ProbeRing::with_setup(|it| {
        it.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag()
    });
    let Ok(mut probe) = deferred else { return Ok(()) };
    let poll = submit_ready_poll(&mut probe)?;
    require(probe.ring.submission().taskrun(), "IORING_SQ_TASKRUN was not set")?;
    probe.wait_ok(poll, "IORING_OP_POLL_ADD").map(drop)
}

/// Submits a poll whose socket becomes readable afterwards, so that its completion is pending as
/// task work.
fn submit_ready_poll(probe: &mut ProbeRing) -> ProbeResult<u64> {
    let (near, far) = probe.socket_pair()?;
    let poll = probe.push(sqe::poll(near))?;
    probe.submit()?;
    sockets::send(far, b"x")?;
    Ok(poll)
}

/// Tests IORING_SETUP_SINGLE_ISSUER (6.0): submission from another thread fails with EEXIST.
pub fn single_issuer() -> ProbeResult {
    let mut probe = ProbeRing::with_setup(|it| it.setup_single_issuer())?;
    let nop = probe.push(sqe::nop())?;
    let ring = &probe.ring;
    let from_other_thread = thread::scope(|scope| scope.spawn(|| ring.submit()).join());
    let submitted = from_other_thread.expect("the thread does not panic");
    expect_errno(submitted, "io_uring_enter of another thread", libc::EEXIST)?;
    probe.wait_ok(nop, "IORING_OP_NOP").map(drop)
}

/// Tests IORING_SETUP_DEFER_TASKRUN (6.1), which needs IORING_SETUP_SINGLE_ISSUER: a completion is
/// posted only within io_uring_enter.
pub fn defer_taskrun() -> ProbeResult {
    let mut probe = ProbeRing::with_setup(|it| it.setup_single_issuer().setup_defer_taskrun())?;
    let poll = submit_ready_poll(&mut probe)?;
    require(probe.has_no_completion(), "a completion was posted outside io_uring_enter")?;
    probe.wait_ok(poll, "IORING_OP_POLL_ADD").map(drop)
}

/// Tests IORING_SETUP_NO_SQARRAY (6.6) with more SQEs than the queue has entries.
pub fn no_sqarray() -> ProbeResult {
    let mut probe = ProbeRing::with_setup(|it| it.setup_no_sqarray())?;
    (0..20).try_for_each(|_| probe.run_nop())
}

/// Tests IORING_SETUP_SQPOLL (5.1; unprivileged since 5.13).
pub fn sqpoll() -> ProbeResult {
    const IDLE_MS: u32 = 1000;
    let mut probe = ProbeRing::with_setup(|it| it.setup_sqpoll(IDLE_MS))?;
    probe.push(sqe::nop())?;
    let deadline = Instant::now() + COMPLETION_TIMEOUT;
    while probe.has_no_completion() {
        require(Instant::now() < deadline, "the kernel thread submitted nothing")?;
        if probe.ring.submission().need_wakeup() {
            probe.submit()?;
        }
        thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

/// Tests IORING_REGISTER_RESTRICTIONS (5.10): other operations fail with EACCES.
pub fn restrictions() -> ProbeResult {
    let mut probe = ProbeRing::with_setup(|it| it.setup_r_disabled())?;
    let mut allowed = [Restriction::sqe_op(opcode::Nop::CODE)];
    let restricted = probe.ring.submitter().register_restrictions(&mut allowed);
    restricted.map_err(ProbeError::refused("IORING_REGISTER_RESTRICTIONS"))?;
    enable(&probe)?;
    probe.run_expecting(sqe::timeout(), "an operation that is not allowed", libc::EACCES)?;
    probe.run_nop()
}

/// Tests IORING_REGISTER_PROBE (5.6): the list contains IORING_OP_NOP.
pub fn register_probe() -> ProbeResult {
    let mut probe = Probe::new();
    let listed = ProbeRing::new()?.ring.submitter().register_probe(&mut probe);
    listed.map_err(ProbeError::refused("IORING_REGISTER_PROBE"))?;
    require(probe.is_supported(opcode::Nop::CODE), "IORING_OP_NOP is not listed")
}

/// Tests IORING_REGISTER_RING_FDS (5.18): io_uring_enter takes the registered index.
pub fn registered_ring() -> ProbeResult {
    let mut probe = ProbeRing::new()?;
    let nop = probe.push(sqe::nop())?;
    let mut submitter = probe.ring.submitter();
    submitter.register_ring_fd().map_err(ProbeError::refused("IORING_REGISTER_RING_FDS"))?;
    let submitted = submitter.submit().map_err(ProbeError::refused("io_uring_enter"));
    let unregistered = submitter.unregister_ring_fd();
    unregistered.map_err(ProbeError::refused("IORING_UNREGISTER_RING_FDS"))?;
    require(submitted? == 1, "nothing was submitted through the registered ring")?;
    probe.wait_ok(nop, "IORING_OP_NOP").map(drop)
}

/// Tests IORING_REGISTER_IOWQ_MAX_WORKERS (5.15): the kernel returns the limits that were set.
pub fn iowq_max_workers() -> ProbeResult {
    let probe = ProbeRing::new()?;
    let submitter = probe.ring.submitter();
    let refused = ProbeError::refused("IORING_REGISTER_IOWQ_MAX_WORKERS");
    submitter.register_iowq_max_workers(&mut [3, 5]).map_err(&refused)?;
    // Zeros change nothing; the kernel overwrites them with the current limits.
    let mut limits = [0, 0];
    submitter.register_iowq_max_workers(&mut limits).map_err(&refused)?;
    require(limits == [3, 5], format!("limits of 3 and 5 became {} and {}", limits[0], limits[1]))
}

/// Tests IORING_FEAT_NODROP (5.5): no completion is lost if more arrive than the queue holds.
pub fn nodrop() -> ProbeResult {
    let mut probe = ProbeRing::with_setup(|it| it.setup_cqsize(8))?;
    require(probe.ring.params().cq_entries() == 8, "the completion queue has another size")?;
    let mut nops = Vec::new();
    for _ in 0..3 {
        for _ in 0..4 {
            nops.push(probe.push(sqe::nop())?);
        }
        probe.submit()?;
    }
    nops.into_iter().try_for_each(|nop| probe.wait_ok(nop, "IORING_OP_NOP").map(drop))
}
