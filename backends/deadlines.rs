//! Deadlines, coarse and cheap. Everybody has the same length of time for the same thing, so a
//! queue in the order of the starts is a queue in the order of the ends: starting and stopping
//! are O(1), and a sweep looks at nobody whose time has not come.

use std::time::Duration;

/// What a connection is given time for. One at a time, beside the whole of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// For the first byte of a request.
    Idle,
    /// From the first byte of a request to the end of its head.
    RequestHead,
    /// For the peer to take some of the answer.
    Send,
    /// For the peer to close, once it has been told that nothing follows.
    Linger,
    /// For the first byte of another request, on a connection that persists.
    KeepAlive,
    /// From the end of a request's head to that of its body.
    RequestBody,
    /// For all of it together.
    Life,
}

/// How long a connection may take for each part of its life; zero is for ever. Looked at on the
/// worker's tick, so each may take up to two seconds longer.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLengths {
    /// For the first byte of a request, from the accept.
    pub idle: Duration,
    /// For the end of a request's head, from its first byte. More bytes do not restart it.
    pub request_head: Duration,
    /// For the peer to take some of the answer; whatever it takes restarts it.
    pub send: Duration,
    /// For the peer to close, once it has been told that nothing follows. What it still sends
    /// does not restart it. It counts only where closing is [`crate::Closing::Lingering`].
    pub linger: Duration,
    /// For the first byte of another request, on a connection that persists.
    pub keep_alive: Duration,
    /// For the end of a request's body, from that of its head; on a connection that persists.
    pub request_body: Duration,
    /// For all of it together, from the accept. A connection that persists is told with its next
    /// answer that nothing follows, and has the same time once more.
    pub life: Duration,
}

impl DeadlineLengths {
    /// No deadlines at all, as in the documents.
    pub const NONE: Self = Self {
        idle: Duration::ZERO,
        request_head: Duration::ZERO,
        send: Duration::ZERO,
        linger: Duration::ZERO,
        keep_alive: Duration::ZERO,
        request_body: Duration::ZERO,
        life: Duration::ZERO,
    };
}

impl Default for DeadlineLengths {
    /// 15 seconds to begin, 10 for the head, 30 to take some of the answer, 2 to close, 15 to begin
    /// again, 30 for a body, and five minutes for everything.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(15),
            request_head: Duration::from_secs(10),
            send: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            keep_alive: Duration::from_secs(15),
            request_body: Duration::from_secs(30),
            life: Duration::from_secs(300),
        }
    }
}

const NOBODY: u32 = u32::MAX;

/// A slot's place in one queue.
#[derive(Clone, Copy)]
struct Place {
    previous: u32,
    next: u32,
    ends_ms: u64,
    queue: Option<Deadline>,
}

const NO_PLACE: Place = Place { previous: NOBODY, next: NOBODY, ends_ms: 0, queue: None };

#[derive(Clone, Copy)]
struct Queue {
    first: u32,
    last: u32,
    length_ms: u64,
}

/// The queues of all slots of one worker.
pub(crate) struct Deadlines {
    queues: [Queue; 7],
    /// Where a slot stands among the phases, which exclude each other.
    phases: Box<[Place]>,
    /// Where a slot stands in the queue of lives.
    lives: Box<[Place]>,
}

impl Deadlines {
    /// Room for so many slots, allocated here and never again.
    pub(crate) fn new(slots: usize, lengths: &DeadlineLengths) -> Self {
        let queue = |length: Duration| Queue {
            first: NOBODY,
            last: NOBODY,
            // Zero is for ever, and less than a millisecond is not zero.
            length_ms: u64::try_from(length.as_micros().div_ceil(1000)).unwrap_or(u64::MAX),
        };
        let DeadlineLengths { idle, request_head, send, linger, keep_alive, request_body, life } =
            *lengths;
        Self {
            queues: [idle, request_head, send, linger, keep_alive, request_body, life].map(queue),
            phases: vec![NO_PLACE; slots].into_boxed_slice(),
            lives: vec![NO_PLACE; slots].into_boxed_slice(),
        }
    }

    /// The time for `deadline` starts now; that for another phase stops.
    pub(crate) fn start(&mut self, deadline: Deadline, slot: u32, now_ms: u64) {
        self.leave(slot, deadline == Deadline::Life);
        let queue = &mut self.queues[deadline as usize];
        if queue.length_ms == 0 {
            return;
        }
        let places = if deadline == Deadline::Life { &mut self.lives } else { &mut self.phases };
        let last = std::mem::replace(&mut queue.last, slot);
        match places.get_mut(last as usize) {
            Some(place) => place.next = slot,
            None => queue.first = slot,
        }
        places[slot as usize] = Place {
            previous: last,
            next: NOBODY,
            ends_ms: now_ms.saturating_add(queue.length_ms),
            queue: Some(deadline),
        };
    }

    /// No deadline holds for that slot any more.
    pub(crate) fn stop(&mut self, slot: u32) {
        self.leave(slot, false);
        self.leave(slot, true);
    }

    fn leave(&mut self, slot: u32, life: bool) {
        let places = if life { &mut self.lives } else { &mut self.phases };
        let place = std::mem::replace(&mut places[slot as usize], NO_PLACE);
        let Some(deadline) = place.queue else { return };
        let queue = &mut self.queues[deadline as usize];
        match places.get_mut(place.previous as usize) {
            Some(previous) => previous.next = place.next,
            None => queue.first = place.next,
        }
        match places.get_mut(place.next as usize) {
            Some(next) => next.previous = place.previous,
            None => queue.last = place.previous,
        }
    }

    /// A slot whose time is over, and what it was for. All of the slot's deadlines stop.
    pub(crate) fn pop_expired(&mut self, now_ms: u64) -> Option<(u32, Deadline)> {
        for index in 0..self.queues.len() {
            let slot = self.queues[index].first;
            let life = index == Deadline::Life as usize;
            let places = if life { &self.lives } else { &self.phases };
            let Some(&Place { ends_ms, queue: Some(deadline), .. }) = places.get(slot as usize)
            else {
                continue;
            };
            if ends_ms <= now_ms {
                self.stop(slot);
                return Some((slot, deadline));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: DeadlineLengths = DeadlineLengths {
        idle: Duration::from_secs(15),
        request_head: Duration::from_secs(10),
        send: Duration::from_secs(30),
        linger: Duration::from_secs(2),
        keep_alive: Duration::from_secs(7),
        request_body: Duration::from_secs(20),
        life: Duration::from_secs(100),
    };

    #[test]
    fn those_whose_time_has_come_come_out_in_order() {
        let mut deadlines = Deadlines::new(4, &LENGTHS);
        deadlines.start(Deadline::Idle, 0, 0);
        deadlines.start(Deadline::Idle, 1, 1);
        deadlines.start(Deadline::Idle, 2, 2);
        deadlines.start(Deadline::Send, 1, 3);
        assert_eq!(deadlines.pop_expired(14_999), None);
        assert_eq!(deadlines.pop_expired(15_002), Some((0, Deadline::Idle)));
        assert_eq!(deadlines.pop_expired(15_002), Some((2, Deadline::Idle)));
        assert_eq!(deadlines.pop_expired(15_002), None);
        assert_eq!(deadlines.pop_expired(30_003), Some((1, Deadline::Send)));
    }

    #[test]
    fn a_life_runs_beside_the_phases_and_ends_them() {
        let mut deadlines = Deadlines::new(1, &LENGTHS);
        deadlines.start(Deadline::Life, 0, 0);
        for second in 0..99 {
            deadlines.start(Deadline::Send, 0, second * 1000);
            assert_eq!(deadlines.pop_expired(second * 1000), None);
        }
        assert_eq!(deadlines.pop_expired(100_000), Some((0, Deadline::Life)));
        assert_eq!(deadlines.pop_expired(u64::MAX), None, "the phase stopped with the life");
    }

    #[test]
    fn zero_is_for_ever() {
        let mut deadlines = Deadlines::new(1, &DeadlineLengths::NONE);
        deadlines.start(Deadline::Idle, 0, 0);
        deadlines.start(Deadline::Life, 0, 0);
        assert_eq!(deadlines.pop_expired(u64::MAX), None);
    }

    /// Against a plain list of (slot, deadline, end), over seeded random histories.
    #[test]
    fn the_queues_agree_with_a_plain_list() {
        const PHASES: [Deadline; 6] = [
            Deadline::Idle,
            Deadline::RequestHead,
            Deadline::Send,
            Deadline::Linger,
            Deadline::KeepAlive,
            Deadline::RequestBody,
        ];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut deadlines = Deadlines::new(8, &LENGTHS);
        let mut list: Vec<(u32, Deadline, u64)> = Vec::new();
        let mut now_ms = 0;
        let mut expired = 0;
        for _ in 0..50_000 {
            now_ms += random(400);
            let slot = random(8) as u32;
            match random(8) {
                0 => {
                    deadlines.stop(slot);
                    list.retain(|entry| entry.0 != slot);
                }
                1 => {
                    deadlines.start(Deadline::Life, slot, now_ms);
                    list.retain(|entry| (entry.0, entry.1) != (slot, Deadline::Life));
                    list.push((slot, Deadline::Life, now_ms + 100_000));
                }
                _ => {
                    let phase = PHASES[random(6) as usize];
                    let length = deadlines.queues[phase as usize].length_ms;
                    deadlines.start(phase, slot, now_ms);
                    list.retain(|entry| entry.0 != slot || entry.1 == Deadline::Life);
                    list.push((slot, phase, now_ms + length));
                }
            }
            while let Some((slot, deadline)) = deadlines.pop_expired(now_ms) {
                expired += 1;
                let held = list.iter().find(|entry| (entry.0, entry.1) == (slot, deadline));
                assert!(held.is_some_and(|entry| entry.2 <= now_ms));
                list.retain(|entry| entry.0 != slot);
            }
            assert!(list.iter().all(|entry| entry.2 > now_ms), "one was forgotten");
        }
        assert!(expired > 1_000, "the check must meet ends: {expired}");
    }
}
