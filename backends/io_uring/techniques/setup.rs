//! The ring of `io_uring:tuned`: set up with what was asked for less what the kernel does not
//! have, restricted to what that needs, and enabled.

use std::time::Duration;

use ::io_uring::register::Restriction;
use ::io_uring::{Builder, IoUring, opcode, squeue};

use super::registered_ring::RegisteredRing;
use super::{
    Techniques, Waits, deferred_task_run, linked_close, no_submission_queue_array,
    submission_queue_polling,
};
use crate::backend::{EngineOptions, ShutdownBy};
use crate::error::BackendError;
use crate::io_uring::capabilities::{accept, buffers, links, receive, send};
use crate::io_uring::restriction::{OPERATIONS, prove_and_restrict};
use crate::io_uring::ring::Ring;
use crate::kernel;

/// IORING_REGISTER_FILES2, IORING_UNREGISTER_RING_FDS, IORING_REGISTER_PBUF_RING,
/// IORING_UNREGISTER_PBUF_RING
const REGISTER_FILES: u8 = 13;
const UNREGISTER_RING_FDS: u8 = 21;
const REGISTER_BUFFER_RING: u8 = 22;
const UNREGISTER_BUFFER_RING: u8 = 23;

/// The ring, and the options in force with it.
pub(crate) fn set_up(asked: &EngineOptions) -> Result<(Ring, EngineOptions), BackendError> {
    let refused = |call| move |error| kernel::refusal(call, error);
    let mut options = asked.clone();
    leave_out_what_excludes_itself(&mut options);
    let ring = build(asked, &mut options).map_err(refused("io_uring_setup"))?;
    leave_out_what_is_missing(&ring, &mut options);
    if options.techniques.direct_descriptors && options.shutdown == ShutdownBy::Call {
        // shutdown(2) takes a descriptor, and there is none.
        options.shutdown = ShutdownBy::Ring;
    }
    let techniques = &mut options.techniques;
    let registered = techniques.registered_ring.then(|| RegisteredRing::new(&ring).ok()).flatten();
    techniques.registered_ring = registered.is_some();
    let mut operations = OPERATIONS.to_vec();
    if techniques.zero_copy_send_bytes > 0 {
        operations.push((opcode::SendZc::CODE, "IORING_OP_SEND_ZC"));
    }
    let shuts = prove_and_restrict(&ring, &operations, restrictions(techniques))?;
    let shutdown_by_call = !shuts && options.shutdown == ShutdownBy::Ring;
    if shutdown_by_call {
        options.shutdown = ShutdownBy::Call;
    }
    leave_out_what_has_no_use(&mut options);
    let techniques = &options.techniques;
    ring.submit().map_err(refused("io_uring_enter"))?;
    let waits = Waits {
        busy_poll: Duration::from_micros(options.busy_poll_us.into()),
        minimum_wait_us: techniques.minimum_wait_us,
        registered,
        is_polled: techniques.submission_queue_polling,
    };
    let mut ring = Ring::over_kernels(ring, waits, shutdown_by_call);
    ring.accepts_directly = techniques.direct_descriptors;
    Ok((ring, options))
}

/// What cannot be had together, whatever the kernel.
fn leave_out_what_excludes_itself(options: &mut EngineOptions) {
    let techniques = &mut options.techniques;
    techniques.deferred_task_run &= !techniques.submission_queue_polling;
    techniques.cooperative_task_run &=
        !techniques.submission_queue_polling && !techniques.deferred_task_run;
    techniques.multishot_receive &= techniques.provided_buffers > 0;
    techniques.bundles &= techniques.provided_buffers > 0;
    // A chain must fit into the queue as a whole.
    let longest_chain = 3;
    techniques.linked_close &= options.submission_queue_entries >= longest_chain;
    techniques.skip_success &= techniques.linked_close;
}

/// What would be claimed and never done: the end that the ring does not tell is linked to nothing.
fn leave_out_what_has_no_use(options: &mut EngineOptions) {
    let techniques = &mut options.techniques;
    techniques.linked_close &= options.shutdown != ShutdownBy::Call;
    techniques.skip_success &= techniques.linked_close;
}

/// Without the thread of the kernel's there is a choice again of what runs its tasks.
fn without_polling(asked: &EngineOptions) -> EngineOptions {
    let mut options = asked.clone();
    options.techniques.submission_queue_polling = false;
    leave_out_what_excludes_itself(&mut options);
    options
}

fn build(asked: &EngineOptions, options: &mut EngineOptions) -> std::io::Result<IoUring> {
    let mut submit_all = true;
    loop {
        let mut builder: Builder = IoUring::builder();
        builder.dontfork().setup_r_disabled().setup_cqsize(options.completions());
        if submit_all {
            builder.setup_submit_all();
        }
        let techniques = &mut options.techniques;
        deferred_task_run::apply(techniques, &mut builder);
        no_submission_queue_array::apply(techniques, &mut builder);
        submission_queue_polling::apply(techniques, &mut builder);
        match builder.build(options.submission_queue_entries) {
            // Something is unknown: the newest is given up first.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                if techniques.no_submission_queue_array {
                    techniques.no_submission_queue_array = false;
                } else if techniques.deferred_task_run {
                    techniques.deferred_task_run = false;
                    techniques.cooperative_task_run = true;
                } else if techniques.cooperative_task_run {
                    techniques.cooperative_task_run = false;
                } else if submit_all {
                    submit_all = false;
                } else {
                    return Err(error);
                }
            }
            // Before Linux 5.13 it was a privilege.
            Err(error)
                if error.raw_os_error() == Some(libc::EPERM)
                    && techniques.submission_queue_polling =>
            {
                *options = without_polling(asked);
            }
            // Before Linux 5.11 that thread knew no descriptors but registered ones.
            Ok(ring)
                if techniques.submission_queue_polling
                    && !ring.params().is_feature_sqpoll_nonfixed() =>
            {
                *options = without_polling(asked);
            }
            result => return result,
        }
    }
}

/// What was asked for is tried; what was not, is not.
fn leave_out_what_is_missing(ring: &IoUring, options: &mut EngineOptions) {
    let techniques = &mut options.techniques;
    let directly = techniques.direct_descriptors;
    techniques.direct_descriptors = directly && accept::direct_alloc().is_ok();
    let accepts_all =
        if techniques.direct_descriptors { accept::direct_multishot } else { accept::multishot };
    techniques.multishot_accept = techniques.multishot_accept && accepts_all().is_ok();
    if techniques.provided_buffers > 0 && buffers::ring().is_err() {
        techniques.provided_buffers = 0;
    }
    let provided = techniques.provided_buffers > 0;
    techniques.multishot_receive =
        provided && techniques.multishot_receive && receive::multishot().is_ok();
    techniques.bundles =
        techniques.multishot_receive && techniques.bundles && receive::bundle().is_ok();
    techniques.linked_close =
        techniques.linked_close && links::soft().is_ok() && linked_close::sends_are_whole();
    techniques.skip_success =
        techniques.linked_close && techniques.skip_success && links::skip_success().is_ok();
    if techniques.zero_copy_send_bytes > 0 && send::zero_copy().is_err() {
        techniques.zero_copy_send_bytes = 0;
    }
    if !ring.params().is_feature_min_timeout() {
        techniques.minimum_wait_us = 0;
    }
}

/// What is allowed beside the operations.
fn restrictions(techniques: &Techniques) -> Vec<Restriction> {
    let mut flags = squeue::Flags::empty();
    let mut allowed = Vec::new();
    if techniques.linked_close {
        flags |= squeue::Flags::IO_LINK;
    }
    if techniques.skip_success {
        flags |= squeue::Flags::SKIP_SUCCESS;
    }
    if techniques.direct_descriptors {
        flags |= squeue::Flags::FIXED_FILE;
        allowed.push(Restriction::register_op(REGISTER_FILES));
    }
    if techniques.provided_buffers > 0 {
        flags |= squeue::Flags::BUFFER_SELECT;
        allowed.push(Restriction::register_op(REGISTER_BUFFER_RING));
        allowed.push(Restriction::register_op(UNREGISTER_BUFFER_RING));
    }
    if techniques.registered_ring {
        allowed.push(Restriction::register_op(UNREGISTER_RING_FDS));
    }
    if !flags.is_empty() {
        allowed.push(Restriction::sqe_flags_allowed(flags.bits()));
    }
    allowed
}
