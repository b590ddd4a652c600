//! Rings with flags. A kernel refuses every setup flag that it does not know (io_uring_setup(2)),
//! so a ring that was made has the flag; where its effect can be seen, that is looked at too.

use std::thread;
use std::time::{Duration, Instant};

use ::io_uring::register::Restriction;
use ::io_uring::{IoUring, Probe, cqueue, opcode, squeue::Entry};

use super::ask::Ask;
use super::trial::{PATIENCE, Trial};
use super::{Answer, Capability, Missing, capability, require, sockets};

/// All of this group.
pub const ALL: &[Capability] = &[
    capability("ring", "a ring, and IORING_OP_NOP on it", ring),
    capability("setup_clamp", "IORING_SETUP_CLAMP: sizes are cut to what is possible", clamp),
    capability("setup_r_disabled", "IORING_SETUP_R_DISABLED: a ring that starts later", r_disabled),
    capability(
        "setup_submit_all",
        "IORING_SETUP_SUBMIT_ALL: a bad entry does not end the batch",
        submit_all,
    ),
    capability(
        "setup_coop_taskrun",
        "IORING_SETUP_COOP_TASKRUN: no interrupts for completions",
        coop_taskrun,
    ),
    capability(
        "setup_taskrun_flag",
        "IORING_SETUP_TASKRUN_FLAG: a flag tells of waiting completions",
        taskrun_flag,
    ),
    capability(
        "setup_single_issuer",
        "IORING_SETUP_SINGLE_ISSUER: one thread submits, others are refused",
        single_issuer,
    ),
    capability(
        "setup_defer_taskrun",
        "IORING_SETUP_DEFER_TASKRUN: completions come when asked for",
        defer_taskrun,
    ),
    capability(
        "setup_no_sqarray",
        "IORING_SETUP_NO_SQARRAY: no indirection in the submission queue",
        no_sqarray,
    ),
    capability("setup_sqpoll", "IORING_SETUP_SQPOLL: a kernel thread submits", sqpoll),
    capability(
        "restrictions",
        "IORING_REGISTER_RESTRICTIONS: a ring bound to some operations",
        restrictions,
    ),
    capability(
        "register_probe",
        "IORING_REGISTER_PROBE: the kernel lists its operations",
        register_probe,
    ),
    capability(
        "registered_ring",
        "IORING_REGISTER_RING_FDS: entering without looking the ring up",
        registered_ring,
    ),
    capability(
        "worker_limit",
        "IORING_REGISTER_IOWQ_MAX_WORKERS: a limit of worker threads",
        worker_limit,
    ),
    capability(
        "overflow_kept",
        "completions for which there is no room are kept (IORING_FEAT_NODROP)",
        overflow_kept,
    ),
];

/// A ring can be made, entered, and does something.
pub fn ring() -> Answer {
    Trial::plain()?.works()
}

/// IORING_SETUP_CLAMP (5.6).
pub fn clamp() -> Answer {
    const FAR_TOO_MANY: u32 = 1 << 30;
    match IoUring::<Entry, cqueue::Entry>::builder()
        .dontfork()
        .setup_clamp()
        .setup_cqsize(FAR_TOO_MANY)
        .build(8)
    {
        Ok(ring) => require(ring.params().cq_entries() < FAR_TOO_MANY, "the size was not cut"),
        // Cut, and still more than there is memory for; without the flag it would be EINVAL.
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => Ok(()),
        Err(error) => Err(Missing::refused("io_uring_setup")(error)),
    }
}

/// IORING_SETUP_R_DISABLED (5.10).
pub fn r_disabled() -> Answer {
    let mut trial = Trial::with(|it| it.setup_r_disabled())?;
    match trial.ring.submit() {
        Err(error) if error.raw_os_error() == Some(libc::EBADFD) => {}
        Err(error) => return Err(Missing::refused("io_uring_enter")(error)),
        Ok(_) => return Err(Missing::otherwise("a disabled ring could be entered")),
    }
    enable(&trial)?;
    trial.works()
}

fn enable(trial: &Trial) -> Answer {
    let enabled = trial.ring.submitter().register_enable_rings();
    enabled.map_err(Missing::refused("IORING_REGISTER_ENABLE_RINGS"))
}

/// IORING_SETUP_SUBMIT_ALL (5.18).
pub fn submit_all() -> Answer {
    let mut trial = Trial::with(|it| it.setup_submit_all())?;
    let faulty = trial.push(Ask::faulty())?;
    let behind = trial.push(Ask::nop())?;
    let submitted = trial.ring.submit().map_err(Missing::refused("io_uring_enter"))?;
    require(submitted == 2, format!("{submitted} of two entries were submitted"))?;
    trial.ended_with(faulty, "a faulty entry", libc::EINVAL)?;
    trial.done(behind, "the entry behind it").map(drop)
}

/// IORING_SETUP_COOP_TASKRUN (5.19). What it saves, interrupts, cannot be seen from here.
pub fn coop_taskrun() -> Answer {
    Trial::with(|it| it.setup_coop_taskrun())?.works()
}

/// IORING_SETUP_TASKRUN_FLAG (5.19). Its effect shows together with IORING_SETUP_DEFER_TASKRUN;
/// a kernel without that is only asked for the flag.
pub fn taskrun_flag() -> Answer {
    Trial::with(|it| it.setup_coop_taskrun().setup_taskrun_flag())?.works()?;
    let deferring =
        Trial::with(|it| it.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag());
    let Ok(mut trial) = deferring else { return Ok(()) };
    let poll = put_off_a_poll(&mut trial)?;
    require(trial.ring.submission().taskrun(), "IORING_SQ_TASKRUN was not shown")?;
    trial.done(poll, "IORING_OP_POLL_ADD").map(drop)
}

/// A poll that has been answered, though nobody has entered the ring since.
fn put_off_a_poll(trial: &mut Trial) -> Result<u64, Missing> {
    let (near, far) = trial.pair()?;
    let poll = trial.push(Ask::poll(near))?;
    trial.submit()?;
    sockets::tell(far, b"x")?;
    Ok(poll)
}

/// IORING_SETUP_SINGLE_ISSUER (6.0).
pub fn single_issuer() -> Answer {
    let mut trial = Trial::with(|it| it.setup_single_issuer())?;
    let nop = trial.push(Ask::nop())?;
    let ring = &trial.ring;
    let from_elsewhere = thread::scope(|scope| scope.spawn(|| ring.submit()).join());
    match from_elsewhere {
        Ok(Err(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        _ => return Err(Missing::otherwise("another thread was allowed to submit")),
    }
    trial.done(nop, "IORING_OP_NOP").map(drop)
}

/// IORING_SETUP_DEFER_TASKRUN (6.1), which needs IORING_SETUP_SINGLE_ISSUER.
pub fn defer_taskrun() -> Answer {
    let mut trial = Trial::with(|it| it.setup_single_issuer().setup_defer_taskrun())?;
    let poll = put_off_a_poll(&mut trial)?;
    require(trial.is_quiet(), "a completion came that nobody had asked for")?;
    trial.done(poll, "IORING_OP_POLL_ADD").map(drop)
}

/// IORING_SETUP_NO_SQARRAY (6.6): more entries than the queue is long, one after the other.
pub fn no_sqarray() -> Answer {
    let mut trial = Trial::with(|it| it.setup_no_sqarray())?;
    (0..20).try_for_each(|_| trial.works())
}

/// IORING_SETUP_SQPOLL (5.1; without privileges from 5.13 on).
pub fn sqpoll() -> Answer {
    const IDLE_MS: u32 = 1000;
    let mut trial = Trial::with(|it| it.setup_sqpoll(IDLE_MS))?;
    trial.push(Ask::nop())?;
    let deadline = Instant::now() + PATIENCE;
    while trial.is_quiet() {
        require(Instant::now() < deadline, "the kernel's thread submitted nothing")?;
        if trial.ring.submission().need_wakeup() {
            trial.submit()?;
        }
        thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

/// IORING_REGISTER_RESTRICTIONS (5.10): what is not allowed is refused with EACCES.
pub fn restrictions() -> Answer {
    let mut trial = Trial::with(|it| it.setup_r_disabled())?;
    let mut allowed = [Restriction::sqe_op(opcode::Nop::CODE)];
    let restricted = trial.ring.submitter().register_restrictions(&mut allowed);
    restricted.map_err(Missing::refused("IORING_REGISTER_RESTRICTIONS"))?;
    enable(&trial)?;
    trial.fails(Ask::timeout(), "an operation that is not allowed", libc::EACCES)?;
    trial.works()
}

/// IORING_REGISTER_PROBE (5.6).
pub fn register_probe() -> Answer {
    let mut probe = Probe::new();
    let listed = Trial::plain()?.ring.submitter().register_probe(&mut probe);
    listed.map_err(Missing::refused("IORING_REGISTER_PROBE"))?;
    require(probe.is_supported(opcode::Nop::CODE), "it does not list IORING_OP_NOP")
}

/// IORING_REGISTER_RING_FDS (5.18).
pub fn registered_ring() -> Answer {
    let mut trial = Trial::plain()?;
    let nop = trial.push(Ask::nop())?;
    let mut submitter = trial.ring.submitter();
    submitter.register_ring_fd().map_err(Missing::refused("IORING_REGISTER_RING_FDS"))?;
    let submitted = submitter.submit().map_err(Missing::refused("io_uring_enter"));
    let unregistered = submitter.unregister_ring_fd();
    unregistered.map_err(Missing::refused("IORING_UNREGISTER_RING_FDS"))?;
    require(submitted? == 1, "the registered ring submitted nothing")?;
    trial.done(nop, "IORING_OP_NOP").map(drop)
}

/// IORING_REGISTER_IOWQ_MAX_WORKERS (5.15): a limit that was set is the one that is told.
pub fn worker_limit() -> Answer {
    let trial = Trial::plain()?;
    let submitter = trial.ring.submitter();
    let refused = Missing::refused("IORING_REGISTER_IOWQ_MAX_WORKERS");
    submitter.register_iowq_max_workers(&mut [3, 5]).map_err(&refused)?;
    // Zeros change nothing and are overwritten with what is in force.
    let mut told = [0, 0];
    submitter.register_iowq_max_workers(&mut told).map_err(&refused)?;
    require(told == [3, 5], format!("limits of 3 and 5 became {} and {}", told[0], told[1]))
}

/// Nothing is lost where more completions come than the queue has room for (5.5).
pub fn overflow_kept() -> Answer {
    let mut trial = Trial::with(|it| it.setup_cqsize(8))?;
    require(trial.ring.params().cq_entries() == 8, "the queue got another length")?;
    let mut nops = Vec::new();
    for _ in 0..3 {
        for _ in 0..4 {
            nops.push(trial.push(Ask::nop())?);
        }
        trial.submit()?;
    }
    nops.into_iter().try_for_each(|nop| trial.done(nop, "IORING_OP_NOP").map(drop))
}
