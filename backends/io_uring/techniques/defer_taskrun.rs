//! `defer_taskrun` and `coop_taskrun`: when the kernel runs task work.
//!
//! Replaces no step. A socket that becomes ready queues task work, which completes the operation,
//! for the thread that submitted it. By default the kernel interrupts that thread to run it. With
//! IORING_SETUP_COOP_TASKRUN the task work waits for the thread's next transition to the kernel.
//! With IORING_SETUP_DEFER_TASKRUN, which needs IORING_SETUP_SINGLE_ISSUER, it waits for the next
//! io_uring_enter(2) with IORING_ENTER_GETEVENTS and then runs as a batch.
//!
//! Kernel: Linux 5.19 for COOP_TASKRUN, 6.1 for DEFER_TASKRUN.
//!
//! Helps with every load: either flag saves the interrupts. A completion becomes visible only after
//! that entry into the kernel, so [`super::busy_poll`] must look at IORING_SQ_TASKRUN.
//! Cannot be combined with [`super::sqpoll`].

use ::io_uring::Builder;

use crate::techniques::Techniques;

pub(super) fn apply(techniques: &Techniques, builder: &mut Builder) {
    if techniques.sqpoll {
        return;
    }
    if techniques.defer_taskrun {
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    } else if techniques.coop_taskrun {
        builder.setup_coop_taskrun().setup_taskrun_flag();
    }
}
