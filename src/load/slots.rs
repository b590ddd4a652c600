//! The places for connections under way: allocated once, used again and again.

use std::os::fd::OwnedFd;

use super::exchange::Exchange;

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaits {
    /// Nothing: no request is under way in this place.
    Nothing,
    /// That it can send: it is not connected yet, or its peer's window is full.
    Writable,
    /// The end of a pause between two pieces of the request.
    Pause,
    /// The answer.
    Answer,
}

/// A place for one request at a time.
#[derive(Debug)]
pub(super) struct Slot {
    /// The connection; of one that has ended well, its socket, to be used again.
    pub(super) socket: Option<OwnedFd>,
    /// Whether the socket stands in the epoll instance, and if so, whether an event comes when it
    /// can send.
    pub(super) registered: Option<bool>,
    pub(super) awaits: Awaits,
    pub(super) exchange: Exchange,
    pub(super) due_ns: u64,
    pub(super) begun_ns: u64,
    /// How many requests have begun here: what is remembered of one is not taken for another's.
    pub(super) life: u32,
}

impl Slot {
    fn new() -> Self {
        Self {
            socket: None,
            registered: None,
            awaits: Awaits::Nothing,
            exchange: Exchange::new(),
            due_ns: 0,
            begun_ns: 0,
            life: 0,
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.awaits != Awaits::Nothing
    }
}

/// All places of one thread.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Those where a request can begin; the last one first, whose memory is still warm.
    free: Vec<u32>,
    under_way: usize,
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        let slots = (0..count).map(|_| Slot::new()).collect();
        let free = (0..count as u32).rev().collect();
        Self { slots, free, under_way: 0 }
    }

    /// A free place for a request that begins now.
    pub(super) fn take(&mut self, due_ns: u64, begun_ns: u64) -> Option<u32> {
        let index = self.free.pop()?;
        let slot = &mut self[index];
        slot.awaits = Awaits::Writable;
        slot.exchange = Exchange::new();
        (slot.due_ns, slot.begun_ns) = (due_ns, begun_ns);
        slot.life = slot.life.wrapping_add(1);
        self.under_way += 1;
        Some(index)
    }

    /// The request in that place is over. The place is not free yet.
    pub(super) fn end(&mut self, index: u32) {
        debug_assert!(self[index].is_under_way(), "a request ends once");
        self[index].awaits = Awaits::Nothing;
        self.under_way -= 1;
    }

    /// Another request can begin in that place.
    pub(super) fn free(&mut self, index: u32) {
        debug_assert!(!self[index].is_under_way(), "its request is over");
        self.free.push(index);
    }

    pub(super) fn free_count(&self) -> usize {
        self.free.len()
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    pub(super) fn count(&self) -> u32 {
        self.slots.len() as u32
    }
}

impl std::ops::Index<u32> for Slots {
    type Output = Slot;

    fn index(&self, index: u32) -> &Slot {
        &self.slots[index as usize]
    }
}

impl std::ops::IndexMut<u32> for Slots {
    fn index_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_request_at_a_time() {
        let mut slots = Slots::new(2);
        let first = slots.take(1, 2).unwrap();
        let second = slots.take(3, 4).unwrap();
        assert_ne!(first, second);
        assert_eq!((slots.take(5, 6), slots.under_way()), (None, 2));
        slots.end(first);
        assert_eq!((slots.take(5, 6), slots.under_way()), (None, 1));
        slots.free(first);
        let life = slots[first].life;
        assert_eq!(slots.take(7, 8), Some(first));
        let slot = &slots[first];
        assert_eq!((slot.due_ns, slot.begun_ns, slot.life), (7, 8, life + 1));
    }
}
