//! `submission_queue_polling`: replaces the system call that submits. A kernel thread looks into
//! the submission queue again and again (IORING_SETUP_SQPOLL; from Linux 5.11 with CAP_SYS_NICE,
//! from 5.13 without privileges).
//!
//! Gain: with a processor to spare, fewer system calls in the server's thread. It burns that
//! processor as long as there is work and for [`IDLE_MS`] after it; on a shared one it is by far
//! the worst of all. It excludes [`super::deferred_task_run`]. Off unless asked for.

use ::io_uring::Builder;

use super::Techniques;

/// After how long without work the thread goes to sleep. Waking it is a system call.
const IDLE_MS: u32 = 50;

pub(super) fn apply(techniques: &Techniques, builder: &mut Builder) {
    if techniques.submission_queue_polling {
        builder.setup_sqpoll(IDLE_MS);
    }
}
