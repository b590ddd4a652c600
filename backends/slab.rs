//! A slab of fixed capacity with generations: it allocates only at startup, and a [`ConnectionId`]
//! is invalid as soon as its slot is freed, even if the slot is used again.

/// Identifies one connection during its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Index in the slab; below 2^24, since the token of an operation has 24 bits for it.
    pub slot: u32,
    /// Earlier uses of the slot; wraps after 2^32.
    pub generation: u32,
}

impl ConnectionId {
    /// The id in the token of an operation that belongs to no connection. It is never looked up.
    pub const NONE: Self = Self { slot: 0, generation: 0 };
}

/// The largest capacity: a token has 24 bits for a slot.
pub(crate) const MAX_SLOTS: usize = 1 << 24;

const NO_SLOT: u32 = u32::MAX;

struct Slot<T> {
    generation: u32,
    value: Option<T>,
    /// If it is free, the next free slot or [`NO_SLOT`].
    next_free: u32,
}

/// The slab. It reuses the slot that was freed last, whose memory is still cached.
pub(crate) struct Slab<T> {
    slots: Box<[Slot<T>]>,
    first_free: u32,
    used: usize,
}

impl<T> Slab<T> {
    /// Allocates `capacity` slots.
    ///
    /// # Panics
    /// If `capacity` is 0 or above [`MAX_SLOTS`].
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        assert!((1..=MAX_SLOTS).contains(&capacity), "capacity {capacity}");
        let free = |index: usize| Slot {
            generation: 0,
            value: None,
            next_free: if index + 1 < capacity { index as u32 + 1 } else { NO_SLOT },
        };
        Self { slots: (0..capacity).map(free).collect(), first_free: 0, used: 0 }
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Returns true if there is no entry.
    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Returns true if every slot is used.
    pub(crate) fn is_full(&self) -> bool {
        self.first_free == NO_SLOT
    }

    /// Inserts an entry.
    ///
    /// # Errors
    /// Returns `value` if every slot is used.
    pub(crate) fn insert(&mut self, value: T) -> Result<ConnectionId, T> {
        let index = self.first_free;
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return Err(value);
        };
        assert!(slot.value.is_none(), "a used slot on the free list");
        self.first_free = slot.next_free;
        self.used += 1;
        slot.value = Some(value);
        Ok(ConnectionId { slot: index, generation: slot.generation })
    }

    /// Returns the entry, unless it was removed.
    pub(crate) fn get(&self, id: ConnectionId) -> Option<&T> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.value.as_ref().filter(|_| slot.generation == id.generation)
    }

    /// Returns the entry for a change, unless it was removed.
    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        slot.value.as_mut().filter(|_| slot.generation == id.generation)
    }

    /// Removes an entry. Its id is invalid from now on.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<T> {
        self.get(id)?;
        let slot = &mut self.slots[id.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = self.first_free;
        self.first_free = id.slot;
        self.used -= 1;
        slot.value.take()
    }

    /// Returns the id of the entry in a slot, unless the slot is free.
    pub(crate) fn id_at(&self, slot: u32) -> Option<ConnectionId> {
        let Slot { generation, value, .. } = self.slots.get(slot as usize)?;
        value.as_ref().map(|_| ConnectionId { slot, generation: *generation })
    }

    /// Iterates over the ids of all entries, in the order of slots.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        (0..self.slots.len() as u32).filter_map(|slot| self.id_at(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_invalid_when_the_entry_is_removed() {
        let mut slab = Slab::with_capacity(2);
        let first = slab.insert('a').unwrap();
        let second = slab.insert('b').unwrap();
        assert!(slab.is_full());
        assert_eq!(slab.insert('c'), Err('c'));
        assert_eq!(slab.remove(first), Some('a'));
        assert_eq!(slab.remove(first), None);
        let third = slab.insert('d').unwrap();
        assert_eq!(third.slot, first.slot, "the slot freed last is reused first");
        assert_eq!(slab.get(first), None, "the old id does not reach the new entry");
        assert_eq!(slab.get(third), Some(&'d'));
        assert_eq!(slab.get(second), Some(&'b'));
        assert_eq!(slab.ids().collect::<Vec<_>>(), [third, second]);
        assert_eq!(slab.len(), 2);
    }

    #[test]
    fn generations_wrap() {
        let mut slab = Slab::with_capacity(1);
        slab.slots[0].generation = u32::MAX;
        let last = slab.insert(()).unwrap();
        slab.remove(last).unwrap();
        assert_eq!(slab.insert(()).unwrap().generation, 0);
        assert!(slab.get(last).is_none());
    }

    #[test]
    #[should_panic(expected = "capacity 0")]
    fn capacity_zero_panics() {
        Slab::<()>::with_capacity(0);
    }
}
