//! A table of fixed capacity with generations: no allocation after startup, and a name
//! ([`ConnectionId`]) that stops fitting as soon as its slot is given to somebody else.

/// Names one connection for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// The index in the table; below 2^24, since a [`crate::token::Token`] gives it 24 bits.
    pub slot: u32,
    /// How often the slot had been used before; wraps after 2^32 uses.
    pub generation: u32,
}

impl ConnectionId {
    /// What stands in a token that belongs to no connection. It is never looked up.
    pub const NONE: Self = Self { slot: 0, generation: 0 };
}

/// The largest capacity that a token's 24 bits can name.
pub const MOST_SLOTS: usize = 1 << 24;

const NO_SLOT: u32 = u32::MAX;

enum Content<T> {
    /// The next free slot, or [`NO_SLOT`].
    Free(u32),
    Used(T),
}

struct Slot<T> {
    generation: u32,
    content: Content<T>,
}

/// The table. The slot freed last is given out first: its memory is still in the cache.
pub struct Slots<T> {
    slots: Box<[Slot<T>]>,
    first_free: u32,
    used: usize,
}

impl<T> Slots<T> {
    /// Makes room for `capacity` entries.
    ///
    /// # Panics
    /// If `capacity` is 0 or above [`MOST_SLOTS`].
    pub fn with_capacity(capacity: usize) -> Self {
        assert!((1..=MOST_SLOTS).contains(&capacity), "capacity {capacity}");
        let free = |index: usize| Slot {
            generation: 0,
            content: Content::Free(if index + 1 < capacity { index as u32 + 1 } else { NO_SLOT }),
        };
        Self { slots: (0..capacity).map(free).collect(), first_free: 0, used: 0 }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Whether [`Slots::insert`] would refuse.
    pub fn is_full(&self) -> bool {
        self.first_free == NO_SLOT
    }

    /// Takes `value` in, or gives it back when the table is full.
    pub fn insert(&mut self, value: T) -> Result<ConnectionId, T> {
        let index = self.first_free;
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return Err(value);
        };
        let Content::Free(next) = slot.content else {
            unreachable!("a used slot on the free list");
        };
        self.first_free = next;
        self.used += 1;
        slot.content = Content::Used(value);
        Ok(ConnectionId { slot: index, generation: slot.generation })
    }

    /// The entry of that name, unless it is gone.
    pub fn get(&self, id: ConnectionId) -> Option<&T> {
        match self.slots.get(id.slot as usize) {
            Some(Slot { generation, content: Content::Used(value) })
                if *generation == id.generation =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut T> {
        match self.slots.get_mut(id.slot as usize) {
            Some(Slot { generation, content: Content::Used(value) })
                if *generation == id.generation =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// Takes the entry out. Its name never fits again.
    pub fn remove(&mut self, id: ConnectionId) -> Option<T> {
        self.get(id)?;
        let slot = &mut self.slots[id.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let content = std::mem::replace(&mut slot.content, Content::Free(self.first_free));
        self.first_free = id.slot;
        self.used -= 1;
        match content {
            Content::Used(value) => Some(value),
            Content::Free(_) => unreachable!("get found it used"),
        }
    }

    /// The name in force for that slot, unless it is free.
    pub fn id_at(&self, slot: u32) -> Option<ConnectionId> {
        match self.slots.get(slot as usize) {
            Some(Slot { generation, content: Content::Used(_) }) => {
                Some(ConnectionId { slot, generation: *generation })
            }
            _ => None,
        }
    }

    /// All names in force, in the order of the slots.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        (0..self.slots.len() as u32).filter_map(|slot| self.id_at(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_dies_with_its_entry() {
        let mut slots = Slots::with_capacity(2);
        let first = slots.insert('a').unwrap();
        let second = slots.insert('b').unwrap();
        assert!(slots.is_full());
        assert_eq!(slots.insert('c'), Err('c'));
        assert_eq!(slots.remove(first), Some('a'));
        assert_eq!(slots.remove(first), None);
        let third = slots.insert('d').unwrap();
        assert_eq!(third.slot, first.slot, "the slot freed last is given out first");
        assert_eq!(slots.get(first), None, "the old name does not fit the new entry");
        assert_eq!(slots.get(third), Some(&'d'));
        assert_eq!(slots.get(second), Some(&'b'));
        assert_eq!(slots.ids().collect::<Vec<_>>(), [third, second]);
        assert_eq!(slots.len(), 2);
    }

    #[test]
    fn a_generation_wraps() {
        let mut slots = Slots::with_capacity(1);
        slots.slots[0].generation = u32::MAX;
        let last = slots.insert(()).unwrap();
        slots.remove(last).unwrap();
        assert_eq!(slots.insert(()).unwrap().generation, 0);
        assert!(slots.get(last).is_none());
    }

    #[test]
    #[should_panic(expected = "capacity 0")]
    fn no_capacity_is_refused() {
        Slots::<()>::with_capacity(0);
    }
}
