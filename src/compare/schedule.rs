//! In which order things run.
//!
//! A block holds each arm at each working point, the second copy of the first arm included. What
//! is compared with each other, the entrants of one point, is a *heat*: all of their servers are
//! there at once, and each in turn has the load for a slice of time, again and again. What slowly
//! changes on the machine falls on all of a heat alike, since slices are short; what goes by order,
//! such as a cache that the one before left warm, falls on each as often, since the order is drawn
//! anew for each round of slices.

use super::statistics::random::Random;
use crate::report::result::Point;

/// One server of a heat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entrant {
    /// Which arm.
    pub arm: usize,
    /// Whether it is the second copy of the first arm.
    pub control: bool,
}

/// What runs together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heat {
    /// At which working point.
    pub point: Point,
    /// Who takes part.
    pub entrants: Vec<Entrant>,
    /// Each holds the place of every entrant once: who has the next slice.
    pub orders: Vec<Vec<usize>>,
}

impl Heat {
    /// One arm alone.
    pub fn alone(arm: usize, point: Point, slices: usize) -> Self {
        Self {
            point,
            entrants: vec![Entrant { arm, control: false }],
            orders: vec![vec![0]; slices],
        }
    }
}

/// The order of an experiment, block by block.
#[derive(Clone, Debug)]
pub struct Schedule {
    entrants: Vec<Entrant>,
    /// Each with the number of slices that an entrant has there.
    points: Vec<(Point, usize)>,
    random: Random,
}

impl Schedule {
    /// For so many arms at these working points, with so many slices for each entrant.
    pub fn new(arms: usize, points: &[(Point, usize)], seed: u64) -> Self {
        let copies = (0..arms).map(|arm| Entrant { arm, control: false });
        let entrants = copies.chain([Entrant { arm: 0, control: true }]).collect();
        Self { entrants, points: points.to_vec(), random: Random::new(seed) }
    }

    /// How many rounds a block has: one for each server.
    pub fn rounds_in_a_block(&self) -> usize {
        self.entrants.len() * self.points.len()
    }

    /// The next block.
    pub fn next_block(&mut self) -> Vec<Heat> {
        let mut points = self.points.clone();
        self.random.shuffle(&mut points);
        points.into_iter().map(|(point, slices)| self.heat(point, slices)).collect()
    }

    fn heat(&mut self, point: Point, slices: usize) -> Heat {
        let mut entrants = self.entrants.clone();
        // The order in which servers are started is left to chance too.
        self.random.shuffle(&mut entrants);
        let orders = (0..slices).map(|_| {
            let mut order: Vec<usize> = (0..entrants.len()).collect();
            self.random.shuffle(&mut order);
            order
        });
        let orders = orders.collect();
        Heat { point, entrants, orders }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    const POINTS: [(Point, usize); 2] = [(Point::FixedRate, 8), (Point::Saturated, 4)];

    #[test]
    fn each_block_has_each_arm_once_at_each_point_and_the_first_twice() {
        let mut schedule = Schedule::new(3, &POINTS, 1);
        assert_eq!(schedule.rounds_in_a_block(), 8);
        for _ in 0..50 {
            let block = schedule.next_block();
            let points: BTreeSet<_> = block.iter().map(|heat| heat.point).collect();
            assert_eq!((block.len(), points.len()), (2, 2));
            for heat in block {
                let different: BTreeSet<_> = heat.entrants.iter().copied().collect();
                assert_eq!((heat.entrants.len(), different.len()), (4, 4));
                assert_eq!(heat.entrants.iter().filter(|entrant| entrant.control).count(), 1);
                assert_eq!(heat.orders.len(), if heat.point == Point::FixedRate { 8 } else { 4 });
                for mut order in heat.orders {
                    order.sort_unstable();
                    assert_eq!(order, [0, 1, 2, 3]);
                }
            }
        }
    }

    #[test]
    fn each_arm_has_each_place_as_often() {
        let mut schedule = Schedule::new(2, &POINTS, 2);
        let mut seen: BTreeMap<(usize, Entrant), u32> = BTreeMap::new();
        for _ in 0..500 {
            for heat in schedule.next_block() {
                for order in &heat.orders {
                    for (place, &index) in order.iter().enumerate() {
                        *seen.entry((place, heat.entrants[index])).or_default() += 1;
                    }
                }
            }
        }
        // Three places, three entrants, 6000 orders: 2000 each, and 37 is the standard deviation.
        assert_eq!(seen.len(), 9);
        assert!(seen.values().all(|count| (1800..2200).contains(count)), "{seen:?}");
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
