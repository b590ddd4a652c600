//! `cqe_skip_success`: a SEND that succeeds posts no CQE (IOSQE_CQE_SKIP_SUCCESS, see
//! io_uring_enter(2)).
//!
//! Replaces the CQE of the SEND in a [`super::linked_close`] chain: the CQE of the next operation
//! implies that the SEND succeeded. A SEND that fails posts a CQE, but the operations linked to it
//! are cancelled *without* one.
//!
//! Kernel: Linux 5.17.
//!
//! Helps where completions are many: there is one fewer for each chain. Only the SEND uses it: a
//! SHUTDOWN that failed would otherwise cancel the CLOSE without a CQE.

use ::io_uring::squeue;

/// Sets IOSQE_CQE_SKIP_SUCCESS.
pub(crate) fn skip_success_completion(sqe: squeue::Entry) -> squeue::Entry {
    sqe.flags(squeue::Flags::SKIP_SUCCESS)
}
