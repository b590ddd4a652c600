//! Slots for connections that carry one request each. All are allocated once and reused.

use std::os::fd::OwnedFd;

use super::exchange::Exchange;

/// The event that a slot is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaits {
    /// None: no request is in flight.
    Nothing,
    /// Writability: the connection is not established, or the send buffer is full.
    Writable,
    /// The end of the pause between two fragments of the request.
    Pause,
    /// 100 Continue or a final response.
    Continue,
    /// Response bytes or the end of the stream.
    Response,
}

/// State of one request at a time.
#[derive(Debug)]
pub(super) struct Slot {
    /// The connected socket; between requests, a disconnected socket for reuse.
    pub(super) socket: Option<OwnedFd>,
    /// `Some` if the socket is in the epoll instance; true if registered for EPOLLOUT as well.
    pub(super) registered: Option<bool>,
    pub(super) awaits: Awaits,
    pub(super) exchange: Exchange,
    /// Index of the request in the list.
    pub(super) entry: u32,
    pub(super) due_ns: u64,
    pub(super) started_ns: u64,
    /// Number of requests started here. It tells a deferred entry of an earlier request apart.
    pub(super) generation: u32,
}

impl Slot {
    fn new() -> Self {
        Self {
            socket: None,
            registered: None,
            awaits: Awaits::Nothing,
            exchange: Exchange::default(),
            entry: 0,
            due_ns: 0,
            started_ns: 0,
            generation: 0,
        }
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.awaits != Awaits::Nothing
    }
}

/// All slots of one thread.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Free slots, used last in, first out: that memory is more likely to be in the CPU cache.
    free: Vec<u32>,
    in_flight: usize,
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        let slots = (0..count).map(|_| Slot::new()).collect();
        let free = (0..count as u32).rev().collect();
        Self { slots, free, in_flight: 0 }
    }

    /// Starts a request in a free slot, which the caller gives a new exchange.
    pub(super) fn start(&mut self, due_ns: u64, started_ns: u64) -> Option<u32> {
        let index = self.free.pop()?;
        let slot = &mut self[index];
        slot.awaits = Awaits::Writable;
        (slot.due_ns, slot.started_ns) = (due_ns, started_ns);
        slot.generation = slot.generation.wrapping_add(1);
        self.in_flight += 1;
        Some(index)
    }

    /// Ends the request in the slot. The slot is not free until [`Self::release`].
    pub(super) fn finish(&mut self, index: u32) {
        debug_assert!(self[index].is_in_flight(), "a request ends once");
        self[index].awaits = Awaits::Nothing;
        self.in_flight -= 1;
    }

    /// Makes the slot available for another request.
    pub(super) fn release(&mut self, index: u32) {
        debug_assert!(!self[index].is_in_flight(), "its request is over");
        self.free.push(index);
    }

    pub(super) fn free_count(&self) -> usize {
        self.free.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
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
    fn slot_has_one_request_at_a_time() {
        let mut slots = Slots::new(2);
        let first = slots.start(1, 2).unwrap();
        let second = slots.start(3, 4).unwrap();
        assert_ne!(first, second);
        assert_eq!((slots.start(5, 6), slots.in_flight()), (None, 2));
        slots.finish(first);
        assert_eq!((slots.start(5, 6), slots.in_flight()), (None, 1));
        slots.release(first);
        let generation = slots[first].generation;
        assert_eq!(slots.start(7, 8), Some(first));
        let slot = &slots[first];
        assert_eq!((slot.due_ns, slot.started_ns, slot.generation), (7, 8, generation + 1));
    }
}
