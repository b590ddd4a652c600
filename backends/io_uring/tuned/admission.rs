//! Who is taken in, and who waits: in the listener's queue, as always, or, when an ACCEPT has
//! brought more than there are slots, in the lobby.

use std::io;

use super::Tuned;
use super::flight::Flight;
use crate::connection::Next;
use crate::io_uring::ring::Ring;
use crate::io_uring::techniques::Techniques;
use crate::io_uring::techniques::direct_descriptors::{self, Descriptor};
use crate::io_uring::techniques::multishot_accept::{self, Lobby};
use crate::lifecycle::Lifecycle;
use crate::token::{Operation, Token};

/// How the listener stands with the ring.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    Not,
    ForOne,
    ForAll,
    /// The ACCEPT for all has been cancelled.
    NoMore,
}

pub(super) struct Admission {
    pub(super) asking: Asking,
    slots: usize,
    lobby: Lobby,
    /// How many entries the table of direct descriptors has, and how many of them are taken.
    table: usize,
    taken: usize,
    completions: usize,
}

impl Admission {
    pub(super) fn new(
        ring: &mut Ring,
        techniques: &Techniques,
        slots: usize,
        completions: usize,
    ) -> io::Result<Self> {
        let table = if techniques.direct_descriptors {
            direct_descriptors::register_table(ring, slots + completions)?
        } else {
            0
        };
        let lobby = Lobby::with_capacity(if techniques.multishot_accept { completions } else { 0 });
        Ok(Self { asking: Asking::Not, slots, lobby, table, taken: 0, completions })
    }

    pub(super) fn is_asking(&self) -> bool {
        self.asking != Asking::Not
    }
}

impl Tuned {
    /// Asks for connections, for one or for all, or takes that back, as there is room.
    pub(super) fn ask_for_connections(&mut self) {
        let free = self.admission.slots - self.server.clients.len();
        let token = Token::of_worker(Operation::Accept);
        match self.admission.asking {
            Asking::Not if self.server.may_accept() && self.has_a_free_entry() => {}
            Asking::ForAll
                if multishot_accept::has_to_end(free, self.admission.slots)
                    || !self.has_entries_for_a_batch() =>
            {
                self.admission.asking = Asking::NoMore;
                return self.ring.cancel(token);
            }
            _ => return,
        }
        let directly = self.techniques.direct_descriptors;
        let for_all = self.techniques.multishot_accept
            && multishot_accept::has_room(free, self.admission.slots)
            && self.has_entries_for_a_batch();
        let listener = self.server.listener_fd();
        self.admission.asking = if for_all { Asking::ForAll } else { Asking::ForOne };
        let entry = if for_all {
            multishot_accept::entry(listener, directly)
        } else if directly {
            direct_descriptors::accept(listener)
        } else {
            return self.ring.accept(listener, token);
        };
        // SAFETY: the peer's address is not asked for, so the entry has no pointers.
        unsafe { self.ring.push(entry, token) };
    }

    /// An ACCEPT that finds no free entry in the table drops the connection.
    fn has_a_free_entry(&self) -> bool {
        !self.techniques.direct_descriptors || self.admission.taken < self.admission.table
    }

    fn has_entries_for_a_batch(&self) -> bool {
        !self.techniques.direct_descriptors
            || self.admission.table - self.admission.taken > self.admission.completions
    }

    /// Somebody has been accepted, whether or not there is a slot for them.
    pub(super) fn take_in_or_keep_waiting(&mut self, newcomer: Descriptor) {
        self.admission.taken += usize::from(matches!(newcomer, Descriptor::OfRing(_)));
        if self.admission.lobby.is_empty() && !self.server.clients.is_full() {
            self.take_in(newcomer);
        } else {
            self.admission.lobby.enter(newcomer);
        }
    }

    pub(super) fn take_in(&mut self, newcomer: Descriptor) {
        let name = newcomer.name();
        let id = match newcomer {
            Descriptor::OfProcess(fd) => self.server.accepted(fd),
            Descriptor::OfRing(_) => self.server.accepted(None),
        };
        *self.flight(id) = Flight::new(name);
        self.advance(id, Next::Recv);
    }

    /// Whoever waits longest comes first.
    pub(super) fn take_in_from_lobby(&mut self) {
        while !self.server.clients.is_full()
            && let Some(newcomer) = self.admission.lobby.leave()
        {
            self.take_in(newcomer);
        }
    }

    /// A direct descriptor is closed.
    pub(super) fn entry_is_free(&mut self) {
        self.admission.taken -= 1;
    }
}
