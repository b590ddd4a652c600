//! `deferred_task_run`: replaces no step, but the moment at which completions are made.
//!
//! A socket that becomes ready leaves work behind for the thread that asked. Without flags the
//! kernel interrupts the thread for it, wherever it is. With IORING_SETUP_COOP_TASKRUN
//! (Linux 5.19) the work waits for the next change into the kernel, and with
//! IORING_SETUP_DEFER_TASKRUN, which needs IORING_SETUP_SINGLE_ISSUER (Linux 6.1), for the next
//! wait of the server's: then a whole batch is done at once, in a warm cache.
//!
//! Gain: the largest of all; about 5 µs of processor time a request for COOP_TASKRUN, 0.7 more for
//! this one. It hurts nobody, but completions are invisible until a wait asks for them (GETEVENTS), which
//! [`super::busy_poll`] has to know, and a kernel thread that submits cannot be combined with it
//! ([`super::submission_queue_polling`]).

use ::io_uring::Builder;

use super::Techniques;

pub(super) fn apply(techniques: &Techniques, builder: &mut Builder) {
    if techniques.submission_queue_polling {
        return;
    }
    if techniques.deferred_task_run {
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    } else if techniques.cooperative_task_run {
        builder.setup_coop_taskrun().setup_taskrun_flag();
    }
}
