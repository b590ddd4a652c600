//! In which order rounds run.
//!
//! A block holds one round of each arm at each working point, the second copy of the first arm
//! included. What slowly changes on the machine falls on all of a block alike; what goes by order,
//! such as a cache that the one before left warm, falls on each arm as often, since the order is
//! drawn anew for each block.

use super::statistics::random::Random;
use crate::report::result::Point;

/// One round to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn {
    /// At which working point.
    pub point: Point,
    /// Which arm.
    pub arm: usize,
    /// Whether it is the second copy of the first arm.
    pub control: bool,
}

/// The order of an experiment, block by block.
#[derive(Clone, Debug)]
pub struct Schedule {
    arms: usize,
    points: Vec<Point>,
    random: Random,
}

impl Schedule {
    /// For so many arms at these working points.
    pub fn new(arms: usize, points: &[Point], seed: u64) -> Self {
        Self { arms, points: points.to_vec(), random: Random::new(seed) }
    }

    /// How many rounds a block has.
    pub fn rounds_in_a_block(&self) -> usize {
        (self.arms + 1) * self.points.len()
    }

    /// The next block. Rounds of the same point stay together: those are compared with each
    /// other, so they should be neighbours in time.
    pub fn next_block(&mut self) -> Vec<Turn> {
        let mut points = self.points.clone();
        self.random.shuffle(&mut points);
        let mut block = Vec::with_capacity(self.rounds_in_a_block());
        for point in points {
            let arms = (0..self.arms).map(|arm| Turn { point, arm, control: false });
            let control = Turn { point, arm: 0, control: true };
            let mut turns: Vec<Turn> = arms.chain([control]).collect();
            self.random.shuffle(&mut turns);
            block.extend(turns);
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    const POINTS: [Point; 2] = [Point::FixedRate, Point::Saturated];

    #[test]
    fn each_block_has_each_arm_once_at_each_point_and_the_first_twice() {
        let mut schedule = Schedule::new(3, &POINTS, 1);
        for _ in 0..50 {
            let block = schedule.next_block();
            assert_eq!(block.len(), schedule.rounds_in_a_block());
            let different: BTreeSet<_> = block.iter().copied().collect();
            assert_eq!(different.len(), 8);
            for point in POINTS {
                let places: Vec<_> =
                    (0..block.len()).filter(|&place| block[place].point == point).collect();
                assert_eq!(places.last().unwrap() - places[0], 3, "neighbours in time");
                let controls = block.iter().filter(|turn| turn.point == point && turn.control);
                assert_eq!(controls.count(), 1);
            }
        }
    }

    #[test]
    fn each_arm_stands_in_each_place_as_often() {
        let mut schedule = Schedule::new(2, &POINTS, 2);
        let mut seen: BTreeMap<(usize, Turn), u32> = BTreeMap::new();
        for _ in 0..6000 {
            for (place, turn) in schedule.next_block().into_iter().enumerate() {
                *seen.entry((place, turn)).or_default() += 1;
            }
        }
        // Six places, six turns: 1000 each, and 29 is the standard deviation.
        assert_eq!(seen.len(), 36);
        assert!(seen.values().all(|count| (830..1170).contains(count)), "{seen:?}");
    }

    #[test]
    fn a_seed_lays_out_the_same_order_again() {
        let order = |seed| {
            let mut schedule = Schedule::new(2, &POINTS, seed);
            (0..10).flat_map(|_| schedule.next_block()).collect::<Vec<_>>()
        };
        assert_eq!(order(5), order(5));
        assert_ne!(order(5), order(6));
    }
}
