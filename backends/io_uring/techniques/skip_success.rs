//! `skip_success`: replaces the completion of an operation that others are linked to: what
//! succeeds says nothing (IOSQE_CQE_SKIP_SUCCESS, Linux 5.17), and the last of the chain speaks
//! for all of it.
//!
//! Gain: one completion a request less to look at; below what can be measured by itself. Its price
//! is care: if the silent one fails it speaks, and what was linked to it is cancelled *without* a
//! word. And a shutdown that fails silently would vanish, so that one is never silent.

use ::io_uring::squeue;

/// The entry says nothing when it succeeds.
pub(crate) fn silent(entry: squeue::Entry) -> squeue::Entry {
    entry.flags(squeue::Flags::SKIP_SUCCESS)
}
