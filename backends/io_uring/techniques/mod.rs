//! io_uring features beyond one SQE for each step, one file for each technique. It states what the
//! technique replaces, which kernel it needs, and when it helps and hurts. [`Techniques`]
//! declares all of them, and turns them on and off.
//!
//! Probes ([`crate::capabilities`]), not the version, determine which of them a kernel supports:
//! distributions backport features, and sandboxes remove them.

pub(crate) mod bundles;
pub(crate) mod busy_poll;
pub(crate) mod defer_taskrun;
pub(crate) mod enter;
pub(crate) mod multishot_accept;
pub(crate) mod multishot_receive;
pub(crate) mod provided_buffers;
pub(crate) mod send_zc;
mod setup;
mod sqpoll;

pub(crate) use setup::set_up;
