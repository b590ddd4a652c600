//! `direct_descriptors`: connections are slots of the ring's own file table, not descriptors of the
//! process (IORING_FILE_INDEX_ALLOC, see io_uring_prep_accept_direct(3)).
//!
//! Replaces the descriptors of connections: an SQE with IOSQE_FIXED_FILE names the slot.
//!
//! Kernel: Linux 5.19.
//!
//! Helps in processes with many threads, where the kernel must lock and reference-count the shared
//! descriptor table. Hurts where a system call is needed: shutdown(2) takes no slot, so
//! IORING_OP_SHUTDOWN is used, which needs an io-wq worker thread. An ACCEPT with a full table
//! accepts a connection and drops it; so it is submitted only while a slot is free, and multishot
//! only while more slots are free than two completion queues have entries. Off by default.

use std::io;
use std::os::fd::RawFd;

use ::io_uring::{opcode, squeue, types};

use crate::kernel::{Kernel, KernelRing};

/// Largest direct descriptor table that is registered.
const MAX_SLOTS: usize = 1 << 20;

/// The direct descriptor table, and the number of its slots in use.
pub(crate) struct DirectTable {
    slots: usize,
    used: usize,
    /// Length of the completion queue.
    completions: usize,
}

impl DirectTable {
    /// Registers a table with a slot for each connection and for each completion of two completion
    /// queues, or fewer if RLIMIT_NOFILE is lower, above which the kernel returns EMFILE.
    pub(crate) fn register<K: Kernel>(
        ring: &mut K::Ring,
        connections: usize,
        completions: usize,
    ) -> io::Result<Self> {
        let wanted = connections + 2 * completions;
        let slots = wanted.min(K::max_descriptors()).min(MAX_SLOTS);
        ring.register_direct_descriptors(slots as u32)?;
        Ok(Self { slots, used: 0, completions })
    }

    /// Returns true if an ACCEPT can be submitted. One that finds the table full accepts a
    /// connection and drops it (ENFILE).
    pub(crate) fn has_slot(&self) -> bool {
        self.used < self.slots
    }

    /// Returns true if a multishot ACCEPT can be submitted. It may fill the completion queue twice
    /// before a cancel reaches the kernel: once until the completions are reaped, and again while
    /// they are dispatched.
    pub(crate) fn has_slots_for_batch(&self) -> bool {
        self.slots - self.used > 2 * self.completions
    }

    /// Records that an ACCEPT has taken a slot.
    pub(crate) fn on_slot_used(&mut self) {
        self.used += 1;
    }

    /// Records that a slot is closed. Not before the completion of the CLOSE: an ACCEPT may run
    /// before it, since SQEs are not ordered.
    pub(crate) fn on_slot_closed(&mut self) {
        self.used -= 1;
    }
}

/// Returns the SQE of a single ACCEPT into any free slot.
pub(crate) fn accept_sqe(listener: RawFd) -> squeue::Entry {
    let no_address = std::ptr::null_mut();
    let accept = opcode::Accept::new(types::Fd(listener), no_address, std::ptr::null_mut());
    accept.file_index(Some(types::DestinationSlot::auto_target())).build()
}
