//! `multishot_accept`: replaces one ACCEPT for each connection with one for all of them
//! (IORING_ACCEPT_MULTISHOT, Linux 5.19): it completes again and again, with F_MORE, until an
//! error, an overflow of the completion queue or a cancel ends it.
//!
//! Gain: 1 µs a request in a load of one request a connection. It hurts where connections must not
//! come faster than they can be taken in: the kernel accepts whoever waits, asked or not. So it is
//! armed only while there is plenty of room, taken back when that ends, and whoever has come
//! meanwhile waits in a [`Lobby`], first come, first served. A last completion may carry a
//! descriptor too.

use std::collections::VecDeque;

use ::io_uring::{opcode, squeue, types};

use super::direct_descriptors::Descriptor;

/// With so many free slots it is armed; with half of them it is taken back.
const PLENTY: usize = 128;

/// Accepts until further notice. The peer's address is not asked for.
pub(crate) fn entry(listener: i32, directly: bool) -> squeue::Entry {
    let accept = opcode::AcceptMulti::new(types::Fd(listener));
    // A direct descriptor is in no table that an exec could hand on, and EINVAL follows the flag.
    let flags = if directly { 0 } else { libc::SOCK_CLOEXEC };
    accept.allocate_file_index(directly).flags(flags).build()
}

/// Whether there is room enough to accept without being asked.
pub(crate) fn has_room(free: usize, slots: usize) -> bool {
    free >= PLENTY.min(slots / 2 + 1)
}

/// Whether so little room is left that it has to end.
pub(crate) fn has_to_end(free: usize, slots: usize) -> bool {
    free < PLENTY.min(slots / 2 + 1) / 2 + 1
}

/// Those whom the kernel has accepted and for whom there is no slot. A completion queue's worth
/// of them can come before the kernel hears that it should stop.
pub(crate) struct Lobby(VecDeque<Descriptor>);

impl Lobby {
    /// Room for so many, which is made at once; more are not turned away.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(VecDeque::with_capacity(capacity))
    }

    /// One more waits.
    pub(crate) fn enter(&mut self, newcomer: Descriptor) {
        self.0.push_back(newcomer);
    }

    /// Who has waited longest.
    pub(crate) fn leave(&mut self) -> Option<Descriptor> {
        self.0.pop_front()
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
