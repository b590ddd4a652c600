//! Sets up a ring with the requested techniques that the kernel supports, restricts it to what
//! these need, and enables it.

use ::io_uring::register::Restriction;
use ::io_uring::{Builder, IoUring, opcode, squeue};

use super::{defer_taskrun, sqpoll};
use crate::engine_options::{EngineOptions, ShutdownBy};
use crate::error::BackendError;
use crate::io_uring::restriction::{OPERATIONS, probe_and_restrict};
use crate::kernel::RingSetup;
use crate::refusal;
use crate::techniques::Techniques;

// enum io_uring_register_op
const REGISTER_PBUF_RING: u8 = 22;
const UNREGISTER_PBUF_RING: u8 = 23;

/// Sets up a ring, with the options that are in force with it.
pub(crate) fn set_up(requested: &EngineOptions) -> Result<RingSetup<IoUring>, BackendError> {
    let mut options = requested.clone();
    options.techniques.disable_conflicting();
    let ring =
        build(requested, &mut options).map_err(|error| refusal::error("io_uring_setup", error))?;
    disable_unsupported(&mut options.techniques);
    let shutdown_by_call = restrict(&ring, &mut options)?;
    Ok(RingSetup { ring, options, shutdown_by_call })
}

/// Restricts the ring to what the options need, and enables it. Returns true if shutdown(2) must be
/// called, since the kernel has no IORING_OP_SHUTDOWN.
fn restrict(ring: &IoUring, options: &mut EngineOptions) -> Result<bool, BackendError> {
    let techniques = &options.techniques;
    let mut operations = OPERATIONS.to_vec();
    if techniques.send_zc_min_bytes > 0 {
        operations.push((opcode::SendZc::CODE, "IORING_OP_SEND_ZC"));
    }
    let has_shutdown = probe_and_restrict(ring, &operations, restrictions(techniques))?;
    let shutdown_by_call = !has_shutdown && options.shutdown == ShutdownBy::Ring;
    if shutdown_by_call {
        options.shutdown = ShutdownBy::Call;
    }
    // A sandbox may allow io_uring_setup and refuse io_uring_enter. This call, with nothing to
    // submit and nothing to wait for, finds out at startup.
    ring.submit().map_err(|error| refusal::error("io_uring_enter", error))?;
    Ok(shutdown_by_call)
}

/// Starts again from the requested options, since `sqpoll` disabled other techniques.
fn without_sqpoll(requested: &EngineOptions) -> EngineOptions {
    let mut options = requested.clone();
    options.techniques.sqpoll = false;
    options.techniques.disable_conflicting();
    options
}

/// Retries io_uring_setup(2) with fewer flags until the kernel knows all of them.
fn build(requested: &EngineOptions, options: &mut EngineOptions) -> std::io::Result<IoUring> {
    let mut submit_all = true;
    loop {
        let mut builder: Builder = IoUring::builder();
        builder.dontfork().setup_r_disabled().setup_cqsize(options.completions());
        if submit_all {
            // Missing before Linux 5.18. Without it an invalid SQE ends the submission, and the
            // SQEs after it stay queued until the next one.
            builder.setup_submit_all();
        }
        let techniques = &mut options.techniques;
        defer_taskrun::apply(techniques, &mut builder);
        sqpoll::apply(techniques, &mut builder);
        match builder.build(options.submission_queue_entries) {
            // A flag is unknown: the newest is removed first.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                if techniques.defer_taskrun {
                    techniques.defer_taskrun = false;
                    techniques.coop_taskrun = true;
                } else if techniques.coop_taskrun {
                    techniques.coop_taskrun = false;
                } else if submit_all {
                    submit_all = false;
                } else {
                    return Err(error);
                }
            }
            // SQPOLL needs a privilege before Linux 5.13.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) && techniques.sqpoll => {
                *options = without_sqpoll(requested);
            }
            // Before Linux 5.11 the SQPOLL thread can use registered files only.
            Ok(ring) if techniques.sqpoll && !ring.params().is_feature_sqpoll_nonfixed() => {
                *options = without_sqpoll(requested);
            }
            result => return result,
        }
    }
}

/// Disables requested techniques that a probe finds unsupported. Others are not probed, nor are the
/// flags that io_uring_setup(2) accepted.
fn disable_unsupported(techniques: &mut Techniques) {
    for technique in Techniques::ALL {
        let must_probe = technique.value_in(techniques) > 0 && !technique.is_setup_flag();
        if must_probe && !technique.is_supported() {
            let _ = techniques.set(technique.key, 0);
        }
    }
    techniques.disable_conflicting();
}

/// Returns the SQE flags and io_uring_register(2) calls to allow in addition to the operations.
fn restrictions(techniques: &Techniques) -> Vec<Restriction> {
    if techniques.provided_buffers == 0 {
        return Vec::new();
    }
    vec![
        Restriction::register_op(REGISTER_PBUF_RING),
        Restriction::register_op(UNREGISTER_PBUF_RING),
        Restriction::sqe_flags_allowed(squeue::Flags::BUFFER_SELECT.bits()),
    ]
}
