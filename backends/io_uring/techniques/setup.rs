//! Sets up the ring of `io_uring:tuned` with the requested techniques that the kernel supports,
//! restricts it to what these need, and enables it.

use std::time::Duration;

use ::io_uring::register::Restriction;
use ::io_uring::{Builder, IoUring, opcode, squeue};

use super::registered_ring::RegisteredRing;
use super::{Techniques, WaitPolicy, defer_taskrun, linked_close, no_sqarray, sqpoll};
use crate::backend::{EngineOptions, ShutdownBy};
use crate::error::BackendError;
use crate::io_uring::capabilities::{accept, buffers, links, receive, send};
use crate::io_uring::restriction::{OPERATIONS, probe_and_restrict};
use crate::io_uring::ring::Ring;
use crate::kernel;

// enum io_uring_register_op
const REGISTER_FILES2: u8 = 13;
const UNREGISTER_RING_FDS: u8 = 21;
const REGISTER_PBUF_RING: u8 = 22;
const UNREGISTER_PBUF_RING: u8 = 23;

/// Returns the ring and the options that are in effect with it.
pub(crate) fn set_up(requested: &EngineOptions) -> Result<(Ring, EngineOptions), BackendError> {
    let refused = |call| move |error| kernel::refusal(call, error);
    let mut options = requested.clone();
    disable_conflicting(&mut options);
    let ring = build(requested, &mut options).map_err(refused("io_uring_setup"))?;
    disable_unsupported(&ring, &mut options);
    if options.techniques.direct_descriptors && options.shutdown == ShutdownBy::Call {
        // shutdown(2) takes no direct descriptor.
        options.shutdown = ShutdownBy::Ring;
    }
    let techniques = &mut options.techniques;
    let registered = techniques.registered_ring.then(|| RegisteredRing::new(&ring).ok()).flatten();
    techniques.registered_ring = registered.is_some();
    let mut operations = OPERATIONS.to_vec();
    if techniques.send_zc_min_bytes > 0 {
        operations.push((opcode::SendZc::CODE, "IORING_OP_SEND_ZC"));
    }
    let has_shutdown = probe_and_restrict(&ring, &operations, restrictions(techniques))?;
    let shutdown_by_call = !has_shutdown && options.shutdown == ShutdownBy::Ring;
    if shutdown_by_call {
        options.shutdown = ShutdownBy::Call;
    }
    disable_unused(&mut options);
    let techniques = &options.techniques;
    ring.submit().map_err(refused("io_uring_enter"))?;
    let wait_policy = WaitPolicy {
        busy_poll: Duration::from_micros(options.busy_poll_us.into()),
        min_wait_us: techniques.min_wait_us,
        registered,
        is_sqpoll: techniques.sqpoll,
    };
    let mut ring = Ring::on_kernel(ring, wait_policy, shutdown_by_call);
    ring.accepts_direct = techniques.direct_descriptors;
    Ok((ring, options))
}

/// Disables techniques that exclude each other or need another one, on any kernel.
fn disable_conflicting(options: &mut EngineOptions) {
    let techniques = &mut options.techniques;
    techniques.defer_taskrun &= !techniques.sqpoll;
    techniques.coop_taskrun &= !techniques.sqpoll && !techniques.defer_taskrun;
    techniques.multishot_receive &= techniques.provided_buffers > 0;
    techniques.bundles &= techniques.provided_buffers > 0;
    // A chain must fit into the submission queue as a whole.
    let longest_chain = 3;
    techniques.linked_close &= options.submission_queue_entries >= longest_chain;
    techniques.cqe_skip_success &= techniques.linked_close;
}

/// Disables what would have no effect: a shutdown(2) call cannot be part of a chain.
fn disable_unused(options: &mut EngineOptions) {
    let techniques = &mut options.techniques;
    techniques.linked_close &= options.shutdown != ShutdownBy::Call;
    techniques.cqe_skip_success &= techniques.linked_close;
}

/// Starts again from the requested options, since `sqpoll` disabled other techniques.
fn without_sqpoll(requested: &EngineOptions) -> EngineOptions {
    let mut options = requested.clone();
    options.techniques.sqpoll = false;
    disable_conflicting(&mut options);
    options
}

/// Retries io_uring_setup(2) with fewer flags until the kernel knows all of them.
fn build(requested: &EngineOptions, options: &mut EngineOptions) -> std::io::Result<IoUring> {
    let mut submit_all = true;
    loop {
        let mut builder: Builder = IoUring::builder();
        builder.dontfork().setup_r_disabled().setup_cqsize(options.completions());
        if submit_all {
            builder.setup_submit_all();
        }
        let techniques = &mut options.techniques;
        defer_taskrun::apply(techniques, &mut builder);
        no_sqarray::apply(techniques, &mut builder);
        sqpoll::apply(techniques, &mut builder);
        match builder.build(options.submission_queue_entries) {
            // A flag is unknown: the newest is removed first.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                if techniques.no_sqarray {
                    techniques.no_sqarray = false;
                } else if techniques.defer_taskrun {
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

/// Disables requested techniques that a probe finds unsupported. Others are not probed.
fn disable_unsupported(ring: &IoUring, options: &mut EngineOptions) {
    let techniques = &mut options.techniques;
    techniques.direct_descriptors = techniques.direct_descriptors && accept::direct_alloc().is_ok();
    let probe_multishot =
        if techniques.direct_descriptors { accept::direct_multishot } else { accept::multishot };
    techniques.multishot_accept = techniques.multishot_accept && probe_multishot().is_ok();
    if techniques.provided_buffers > 0 && buffers::ring().is_err() {
        techniques.provided_buffers = 0;
    }
    let provided = techniques.provided_buffers > 0;
    techniques.multishot_receive =
        provided && techniques.multishot_receive && receive::multishot().is_ok();
    techniques.bundles =
        techniques.multishot_receive && techniques.bundles && receive::bundle().is_ok();
    techniques.linked_close =
        techniques.linked_close && links::soft().is_ok() && linked_close::supports_msg_waitall();
    techniques.cqe_skip_success =
        techniques.linked_close && techniques.cqe_skip_success && links::cqe_skip_success().is_ok();
    if techniques.send_zc_min_bytes > 0 && send::zc().is_err() {
        techniques.send_zc_min_bytes = 0;
    }
    if !ring.params().is_feature_min_timeout() {
        techniques.min_wait_us = 0;
    }
}

/// Returns the SQE flags and io_uring_register(2) calls to allow in addition to the operations.
fn restrictions(techniques: &Techniques) -> Vec<Restriction> {
    let mut flags = squeue::Flags::empty();
    let mut allowed = Vec::new();
    if techniques.linked_close {
        flags |= squeue::Flags::IO_LINK;
    }
    if techniques.cqe_skip_success {
        flags |= squeue::Flags::SKIP_SUCCESS;
    }
    if techniques.direct_descriptors {
        flags |= squeue::Flags::FIXED_FILE;
        allowed.push(Restriction::register_op(REGISTER_FILES2));
    }
    if techniques.provided_buffers > 0 {
        flags |= squeue::Flags::BUFFER_SELECT;
        allowed.push(Restriction::register_op(REGISTER_PBUF_RING));
        allowed.push(Restriction::register_op(UNREGISTER_PBUF_RING));
    }
    if techniques.registered_ring {
        allowed.push(Restriction::register_op(UNREGISTER_RING_FDS));
    }
    if !flags.is_empty() {
        allowed.push(Restriction::sqe_flags_allowed(flags.bits()));
    }
    allowed
}
