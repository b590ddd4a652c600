//! The random order of a randomised complete block design.
//!
//! A block contains one round of each arm at each load level, and of the control: a second instance
//! of the first arm. The instances of one load level form a *batch*: all of their servers run, and
//! one at a time has the load for a slice. Slices are short, so drift of the machine affects all
//! instances alike. The order is drawn again for each round of slices, so carry-over effects, such
//! as caches left warm by the previous instance, affect all instances equally often.

use super::statistics::random::Random;
use crate::result::LoadLevel;

/// A server instance of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    /// The index of the arm.
    pub arm: usize,
    /// True for the control: the second instance of the first arm.
    pub control: bool,
}

/// The instances that run at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The load level.
    pub load_level: LoadLevel,
    /// The instances, in the order in which they start.
    pub instances: Vec<Instance>,
    /// For each round of slices, a permutation of the indices of `instances`.
    pub slice_orders: Vec<Vec<usize>>,
}

impl Batch {
    /// Returns a batch of one arm.
    pub fn alone(arm: usize, load_level: LoadLevel, slices: usize) -> Self {
        Self {
            load_level,
            instances: vec![Instance { arm, control: false }],
            slice_orders: vec![vec![0]; slices],
        }
    }
}

/// Draws the blocks of an experiment.
#[derive(Clone, Debug)]
pub struct Schedule {
    instances: Vec<Instance>,
    /// Each load level with its number of slices in a round.
    load_levels: Vec<(LoadLevel, usize)>,
    random: Random,
}

impl Schedule {
    /// Creates a schedule for this number of arms, and load levels with their slices in a round.
    pub fn new(arms: usize, load_levels: &[(LoadLevel, usize)], seed: u64) -> Self {
        let copies = (0..arms).map(|arm| Instance { arm, control: false });
        let instances = copies.chain([Instance { arm: 0, control: true }]).collect();
        Self { instances, load_levels: load_levels.to_vec(), random: Random::new(seed) }
    }

    /// Returns the number of rounds in a block: one for each instance and load level.
    pub fn rounds_per_block(&self) -> usize {
        self.instances.len() * self.load_levels.len()
    }

    /// Draws the next block.
    pub fn next_block(&mut self) -> Vec<Batch> {
        let mut load_levels = self.load_levels.clone();
        self.random.shuffle(&mut load_levels);
        load_levels.into_iter().map(|(load_level, slices)| self.batch(load_level, slices)).collect()
    }

    fn batch(&mut self, load_level: LoadLevel, slices: usize) -> Batch {
        let mut instances = self.instances.clone();
        // The servers start in random order too.
        self.random.shuffle(&mut instances);
        let slice_orders = (0..slices).map(|_| {
            let mut order: Vec<usize> = (0..instances.len()).collect();
            self.random.shuffle(&mut order);
            order
        });
        let slice_orders = slice_orders.collect();
        Batch { load_level, instances, slice_orders }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    const LOAD_LEVELS: [(LoadLevel, usize); 2] =
        [(LoadLevel::FixedRate, 8), (LoadLevel::Saturation, 4)];

    #[test]
    fn block_has_each_arm_once_per_load_level_and_the_control() {
        let mut schedule = Schedule::new(3, &LOAD_LEVELS, 1);
        assert_eq!(schedule.rounds_per_block(), 8);
        for _ in 0..50 {
            let block = schedule.next_block();
            assert_eq!(block.len(), 2);
            assert_ne!(block[0].load_level, block[1].load_level);
            for batch in block {
                let different: BTreeSet<_> = batch.instances.iter().copied().collect();
                assert_eq!((batch.instances.len(), different.len()), (4, 4));
                assert_eq!(batch.instances.iter().filter(|instance| instance.control).count(), 1);
                let slices = if batch.load_level == LoadLevel::FixedRate { 8 } else { 4 };
                assert_eq!(batch.slice_orders.len(), slices);
                for mut order in batch.slice_orders {
                    order.sort_unstable();
                    assert_eq!(order, [0, 1, 2, 3]);
                }
            }
        }
    }

    #[test]
    fn instances_are_equally_often_in_each_position() {
        let mut schedule = Schedule::new(2, &LOAD_LEVELS, 2);
        let mut counts: BTreeMap<(usize, Instance), u32> = BTreeMap::new();
        for _ in 0..500 {
            for batch in schedule.next_block() {
                for order in &batch.slice_orders {
                    for (position, &index) in order.iter().enumerate() {
                        *counts.entry((position, batch.instances[index])).or_default() += 1;
                    }
                }
            }
        }
        // 6000 orders of three instances: 2000 each, with a standard deviation of 37.
        assert_eq!(counts.len(), 9);
        assert!(counts.values().all(|count| (1800..2200).contains(count)), "{counts:?}");
    }

    #[test]
    fn same_seed_draws_the_same_order() {
        let order = |seed| {
            let mut schedule = Schedule::new(2, &LOAD_LEVELS, seed);
            (0..10).flat_map(|_| schedule.next_block()).collect::<Vec<_>>()
        };
        assert_eq!(order(5), order(5));
        assert_ne!(order(5), order(6));
    }
}
