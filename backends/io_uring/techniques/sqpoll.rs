//! `sqpoll`: a kernel thread polls the submission queue (IORING_SETUP_SQPOLL, see
//! io_uring_setup(2)).
//!
//! Replaces the io_uring_enter(2) calls that submit.
//!
//! Kernel: Linux 5.11 with CAP_SYS_NICE, 5.13 without privileges. Excludes
//! [`super::defer_taskrun`] and `coop_taskrun`.
//!
//! Helps with a CPU to spare: the server thread makes fewer system calls. Hurts otherwise: the
//! kernel thread uses a whole CPU while there is work and for [`IDLE_MS`] after it, and on a shared
//! CPU it delays the server. Off by default.

use ::io_uring::Builder;

use crate::techniques::Techniques;

/// Idle time after which the kernel thread sleeps; then a system call must wake it
/// (IORING_ENTER_SQ_WAKEUP).
const IDLE_MS: u32 = 50;

pub(super) fn apply(techniques: &Techniques, builder: &mut Builder) {
    if techniques.sqpoll {
        builder.setup_sqpoll(IDLE_MS);
    }
}
