//! Connections that persist, as one thread sees them: what is under way on each, and where another
//! request can begin. It does no I/O. Everything is allocated once.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use super::answers::Answers;
use super::life::{Life, Lives};

/// When a request was due and when it was begun, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) due_ns: u64,
    pub(super) begun_ns: u64,
}

/// The place of one connection, which may be opened again and again.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) socket: Option<OwnedFd>,
    pub(super) answers: Answers,
    /// Where in its part of the times its first request under way stands.
    head: usize,
    /// Requests begun and not answered.
    under_way: usize,
    /// The last so many of them have not been sent, or not wholly.
    unsent: usize,
    /// How much of the first of these has been sent.
    pub(super) sent_bytes: usize,
    /// Answers that have come on this connection.
    pub(super) answered: u64,
    /// How many requests it can still carry; `None` is no limit.
    left: Option<u32>,
    /// Since when nothing more can be asked on it, because it has said that it ends.
    pub(super) ending_since_ns: Option<u64>,
    /// Whether it rests after a failure.
    is_resting: bool,
    is_free: bool,
    is_touched: bool,
}

impl Lane {
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    pub(super) fn unsent(&self) -> usize {
        self.unsent
    }

    /// How many requests have been sent wholly and are not answered.
    pub(super) fn is_asked(&self) -> bool {
        self.under_way > self.unsent
    }

    /// Whether the request at hand is the last one that this connection carries by itself.
    pub(super) fn is_last_request(&self) -> bool {
        self.left == Some(0)
    }

    /// How many more requests its connection can carry; `None` is no limit.
    pub(super) fn left(&self) -> Option<u32> {
        self.left
    }

    /// So many requests have been sent, and of the next one so many bytes.
    pub(super) fn sent(&mut self, requests: usize, bytes: usize) {
        self.unsent -= requests;
        self.sent_bytes = bytes;
    }

    /// Its connection has ended: what is under way must be asked again, on another one.
    pub(super) fn ended(&mut self) -> Option<OwnedFd> {
        self.unsent = self.under_way;
        (self.sent_bytes, self.answered) = (0, 0);
        self.answers = Answers::default();
        self.ending_since_ns = None;
        self.socket.take()
    }
}

/// All of one thread.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    depth: usize,
    lives: Lives,
    /// A ring of `depth` for each lane.
    times: Vec<Begun>,
    /// Where a request can begin, the one that has waited longest first.
    free: VecDeque<u32>,
    /// Where something has been begun that is not sent.
    touched: Vec<u32>,
    under_way: usize,
}

impl Lanes {
    /// `stream` tells the draws of one thread and run from those of others.
    pub(super) fn new(count: usize, life: Life, stream: u64) -> Self {
        let depth = life.depth();
        let lane = || Lane { is_free: true, ..Lane::default() };
        Self {
            lanes: (0..count).map(|_| lane()).collect(),
            depth,
            lives: Lives::new(life, stream),
            times: vec![Begun::default(); count * depth],
            free: (0..count as u32).collect(),
            touched: Vec::with_capacity(count),
            under_way: 0,
        }
    }

    /// The clock begins again.
    pub(super) fn start_anew(&mut self) {
        for since_ns in self.lanes.iter_mut().filter_map(|lane| lane.ending_since_ns.as_mut()) {
            *since_ns = 0;
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.lanes.len() as u32
    }

    /// In how many of them a request can begin.
    pub(super) fn free_count(&self) -> usize {
        self.free.len()
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Begins a request in the first free one. Requests that begin together stay together, as far
    /// as the depth goes.
    pub(super) fn begin(&mut self, begun: Begun) {
        let index = *self.free.front().expect("the schedule knows what is free");
        let lane = &mut self.lanes[index as usize];
        if lane.socket.is_none() && lane.under_way == 0 {
            lane.left = self.lives.next();
        }
        let place = (lane.head + lane.under_way) % self.depth;
        self.times[index as usize * self.depth + place] = begun;
        lane.under_way += 1;
        lane.unsent += 1;
        lane.left = lane.left.map(|left| left - 1);
        if !lane.is_touched {
            lane.is_touched = true;
            self.touched.push(index);
        }
        self.under_way += 1;
        if !self.has_room(index) {
            self.free.pop_front();
            self[index].is_free = false;
        }
    }

    /// One where something has been begun since this was asked the last time.
    pub(super) fn next_touched(&mut self) -> Option<u32> {
        let index = self.touched.pop()?;
        self[index].is_touched = false;
        // The next requests are somebody else's, even if there is room here.
        if self.free.len() > 1 && self.free.front() == Some(&index) {
            self.free.rotate_left(1);
        }
        Some(index)
    }

    /// What begins there goes on a connection that can carry `left` requests, and not on one of its
    /// own.
    pub(super) fn goes_on(&mut self, index: u32, left: Option<u32>) {
        let lane = &mut self[index];
        lane.left = left.map(|left| left.saturating_sub(lane.under_way as u32));
    }

    fn has_room(&self, index: u32) -> bool {
        let lane = &self[index];
        !lane.is_resting
            && lane.ending_since_ns.is_none()
            && lane.under_way < self.depth
            // One that was opened for so many carries no more; the next connection does.
            && (lane.left != Some(0) || (lane.under_way == 0 && lane.socket.is_none()))
    }

    /// Lets requests begin there again, if they can.
    pub(super) fn free(&mut self, index: u32) {
        if !self[index].is_free && self.has_room(index) {
            self[index].is_free = true;
            self.free.push_back(index);
        }
    }

    /// Lets none begin there for now.
    pub(super) fn rest(&mut self, index: u32, rest: bool) {
        self[index].is_resting = rest;
        self.look_again(index);
    }

    /// Takes it from the free ones if nothing can begin there any more. Seldom: where connections
    /// end.
    pub(super) fn look_again(&mut self, index: u32) {
        if self[index].is_free && !self.has_room(index) {
            self.free.retain(|&it| it != index);
            self[index].is_free = false;
        } else {
            self.free(index);
        }
    }

    /// When the first request under way there was begun.
    pub(super) fn oldest(&self, index: u32) -> Option<Begun> {
        let lane = &self[index];
        (lane.under_way > 0).then(|| self.times[index as usize * self.depth + lane.head])
    }

    /// The first request under way there is over.
    pub(super) fn end(&mut self, index: u32) -> Begun {
        let begun = self.oldest(index).expect("a request that ends is under way");
        let depth = self.depth;
        let lane = &mut self[index];
        lane.head = (lane.head + 1) % depth;
        lane.under_way -= 1;
        lane.unsent = lane.unsent.min(lane.under_way);
        self.under_way -= 1;
        begun
    }
}

impl std::ops::Index<u32> for Lanes {
    type Output = Lane;

    fn index(&self, index: u32) -> &Lane {
        &self.lanes[index as usize]
    }
}

impl std::ops::IndexMut<u32> for Lanes {
    fn index_mut(&mut self, index: u32) -> &mut Lane {
        &mut self.lanes[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(due_ns: u64) -> Begun {
        Begun { due_ns, begun_ns: due_ns + 1 }
    }

    /// Those that were touched, once each.
    fn touched(lanes: &mut Lanes) -> Vec<u32> {
        let mut touched: Vec<u32> = std::iter::from_fn(|| lanes.next_touched()).collect();
        touched.sort_unstable();
        touched
    }

    #[test]
    fn requests_that_begin_together_stay_together_and_end_in_their_order() {
        let mut lanes = Lanes::new(2, Life::Persistent { depth: 3 }, 0);
        (0..5).for_each(|due_ns| lanes.begin(begun(due_ns)));
        assert_eq!((lanes.under_way(), lanes.free_count()), (5, 1));
        assert_eq!(touched(&mut lanes), [0, 1]);
        assert_eq!((lanes[0].unsent(), lanes[1].unsent()), (3, 2));
        assert!((0..3).all(|due_ns| lanes.end(0) == begun(due_ns)));
        assert_eq!((lanes.end(1), lanes.oldest(1)), (begun(3), Some(begun(4))));
        assert_eq!((lanes.oldest(0), lanes.under_way()), (None, 1));
    }

    #[test]
    fn at_a_rate_all_have_their_turn() {
        let mut lanes = Lanes::new(3, Life::Persistent { depth: 2 }, 0);
        let mut turns = Vec::new();
        for due_ns in 0..6 {
            lanes.begin(begun(due_ns));
            turns.extend(touched(&mut lanes));
        }
        assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
        assert_eq!(lanes.free_count(), 0);
    }

    #[test]
    fn one_that_rests_or_ends_begins_nothing() {
        let mut lanes = Lanes::new(2, Life::Persistent { depth: 1 }, 0);
        lanes.rest(0, true);
        lanes[1].ending_since_ns = Some(1);
        lanes.look_again(1);
        assert_eq!(lanes.free_count(), 0);
        lanes.rest(0, false);
        assert!(lanes[1].ended().is_none());
        lanes.look_again(1);
        assert_eq!(lanes.free_count(), 2);
    }

    #[test]
    fn a_connection_that_is_drawn_for_some_requests_carries_no_more() {
        let mut lanes = Lanes::new(1, Life::Mixed { seed: 3 }, 0);
        let file = || std::fs::File::open("/dev/null").unwrap().into();
        for _ in 0..20 {
            let mut carried = 0;
            while lanes.free_count() > 0 {
                lanes.begin(begun(0));
                lanes[0].socket.get_or_insert_with(file);
                lanes.end(0);
                carried += 1;
                lanes.free(0);
            }
            assert!(carried == 1 || carried == 16, "{carried}");
            assert!(lanes[0].is_last_request());
            drop(lanes[0].ended());
            lanes.look_again(0);
        }
    }
}
