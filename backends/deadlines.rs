//! Deadlines, coarse and cheap. A timeout has the same length for every connection, so a queue in
//! the order of starts is also in the order of ends: start and stop are O(1), and a sweep visits
//! only the connections that have expired.

use std::time::Duration;

/// A limited wait. One at a time holds for a connection, and the lifetime in addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// For the first byte of a request.
    Idle,
    /// From the first byte of a request to the end of its head.
    RequestHead,
    /// For the peer to read some of the response.
    Send,
    /// For the peer to close, after the send side was shut down.
    Linger,
    /// For the first byte of a further request, on a keep-alive connection.
    KeepAlive,
    /// From the end of a request's head to the end of its body.
    RequestBody,
    /// For the connection as a whole.
    Lifetime,
}

/// Timeouts of a connection; zero disables one. They are checked on the worker's tick of one
/// second, so each may be up to two seconds longer.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLengths {
    /// For the first byte of a message, from the accept; of a stream without messages
    /// ([`crate::Awaits::Bytes`]), for the next byte. 15 s by default.
    pub idle: Duration,
    /// For the end of a message's head, from its first byte; further bytes do not restart it
    /// ([`crate::Awaits::Head`]). 10 s by default.
    pub request_head: Duration,
    /// For the peer to read some of the output; progress restarts it. 30 s by default.
    pub send: Duration,
    /// For the peer to close, after the send side was shut down. Further bytes do not restart it.
    /// Used only with [`crate::Closing::Lingering`]. 2 s by default.
    pub linger: Duration,
    /// For the first byte of a further message ([`crate::Awaits::NextMessage`]). 15 s by default.
    pub keep_alive: Duration,
    /// For the end of a message, from the end of its head ([`crate::Awaits::Body`]). 30 s by
    /// default.
    pub request_body: Duration,
    /// For the connection as a whole, from the accept. A connection that awaits a further message
    /// or a byte of a stream, or is one exchange, is then closed. Otherwise the protocol is asked
    /// to end soon ([`crate::Protocol::on_stop`]; HTTP/1.1 sends `Connection: close`), and has the
    /// same time once more. 300 s by default.
    pub lifetime: Duration,
}

impl DeadlineLengths {
    /// No timeouts, as in the reference programs.
    pub const NONE: Self = Self {
        idle: Duration::ZERO,
        request_head: Duration::ZERO,
        send: Duration::ZERO,
        linger: Duration::ZERO,
        keep_alive: Duration::ZERO,
        request_body: Duration::ZERO,
        lifetime: Duration::ZERO,
    };
}

impl Default for DeadlineLengths {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(15),
            request_head: Duration::from_secs(10),
            send: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            keep_alive: Duration::from_secs(15),
            request_body: Duration::from_secs(30),
            lifetime: Duration::from_secs(300),
        }
    }
}

const NONE: u32 = u32::MAX;

/// A slot's link in one queue.
#[derive(Clone, Copy)]
struct QueueLink {
    previous: u32,
    next: u32,
    ends_ms: u64,
    queue: Option<Deadline>,
}

const UNLINKED: QueueLink = QueueLink { previous: NONE, next: NONE, ends_ms: 0, queue: None };

#[derive(Clone, Copy)]
struct Queue {
    first: u32,
    last: u32,
    length_ms: u64,
}

/// The queues of all slots of one worker.
pub(crate) struct Deadlines {
    queues: [Queue; 7],
    /// Links of all deadlines but the lifetime; at most one of them holds for a slot.
    phases: Box<[QueueLink]>,
    lifetimes: Box<[QueueLink]>,
}

impl Deadlines {
    /// Allocates the links of `slots` connections.
    pub(crate) fn new(slots: usize, lengths: &DeadlineLengths) -> Self {
        let queue = |length: Duration| Queue {
            first: NONE,
            last: NONE,
            // Rounded up: less than a millisecond is not zero, which disables the timeout.
            length_ms: u64::try_from(length.as_micros().div_ceil(1000)).unwrap_or(u64::MAX),
        };
        Self {
            // In the order of [`Deadline`].
            queues: [
                lengths.idle,
                lengths.request_head,
                lengths.send,
                lengths.linger,
                lengths.keep_alive,
                lengths.request_body,
                lengths.lifetime,
            ]
            .map(queue),
            phases: vec![UNLINKED; slots].into_boxed_slice(),
            lifetimes: vec![UNLINKED; slots].into_boxed_slice(),
        }
    }

    /// Starts a deadline now. Any other than the lifetime replaces the one that holds.
    pub(crate) fn start(&mut self, deadline: Deadline, slot: u32, now_ms: u64) {
        self.unlink(slot, deadline == Deadline::Lifetime);
        let queue = &mut self.queues[deadline as usize];
        if queue.length_ms == 0 {
            return;
        }
        let links =
            if deadline == Deadline::Lifetime { &mut self.lifetimes } else { &mut self.phases };
        let last = std::mem::replace(&mut queue.last, slot);
        match links.get_mut(last as usize) {
            Some(link) => link.next = slot,
            None => queue.first = slot,
        }
        links[slot as usize] = QueueLink {
            previous: last,
            next: NONE,
            ends_ms: now_ms.saturating_add(queue.length_ms),
            queue: Some(deadline),
        };
    }

    /// Stops all deadlines of a slot.
    pub(crate) fn stop(&mut self, slot: u32) {
        self.unlink(slot, false);
        self.unlink(slot, true);
    }

    fn unlink(&mut self, slot: u32, is_lifetime: bool) {
        let links = if is_lifetime { &mut self.lifetimes } else { &mut self.phases };
        let link = std::mem::replace(&mut links[slot as usize], UNLINKED);
        let Some(deadline) = link.queue else { return };
        let queue = &mut self.queues[deadline as usize];
        match links.get_mut(link.previous as usize) {
            Some(previous) => previous.next = link.next,
            None => queue.first = link.next,
        }
        match links.get_mut(link.next as usize) {
            Some(next) => next.previous = link.previous,
            None => queue.last = link.previous,
        }
    }

    /// Removes one slot whose deadline has passed, and returns it with that deadline. All
    /// deadlines of the slot stop.
    pub(crate) fn pop_expired(&mut self, now_ms: u64) -> Option<(u32, Deadline)> {
        for index in 0..self.queues.len() {
            let slot = self.queues[index].first;
            let is_lifetime = index == Deadline::Lifetime as usize;
            let links = if is_lifetime { &self.lifetimes } else { &self.phases };
            let Some(&QueueLink { ends_ms, queue: Some(deadline), .. }) = links.get(slot as usize)
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
        lifetime: Duration::from_secs(100),
    };

    #[test]
    fn expired_slots_are_returned_in_order() {
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
    fn lifetime_is_independent_of_other_deadlines_and_ends_them() {
        let mut deadlines = Deadlines::new(1, &LENGTHS);
        deadlines.start(Deadline::Lifetime, 0, 0);
        for second in 0..99 {
            deadlines.start(Deadline::Send, 0, second * 1000);
            assert_eq!(deadlines.pop_expired(second * 1000), None);
        }
        assert_eq!(deadlines.pop_expired(100_000), Some((0, Deadline::Lifetime)));
        assert_eq!(
            deadlines.pop_expired(u64::MAX),
            None,
            "the other deadline stopped with the lifetime"
        );
    }

    #[test]
    fn zero_disables_a_timeout() {
        let mut deadlines = Deadlines::new(1, &DeadlineLengths::NONE);
        deadlines.start(Deadline::Idle, 0, 0);
        deadlines.start(Deadline::Lifetime, 0, 0);
        assert_eq!(deadlines.pop_expired(u64::MAX), None);
    }

    /// Compares with a list of (slot, deadline, end) over seeded random sequences.
    #[test]
    fn queues_agree_with_a_list() {
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
                    deadlines.start(Deadline::Lifetime, slot, now_ms);
                    list.retain(|entry| (entry.0, entry.1) != (slot, Deadline::Lifetime));
                    list.push((slot, Deadline::Lifetime, now_ms + 100_000));
                }
                _ => {
                    let phase = PHASES[random(6) as usize];
                    let length = deadlines.queues[phase as usize].length_ms;
                    deadlines.start(phase, slot, now_ms);
                    list.retain(|entry| entry.0 != slot || entry.1 == Deadline::Lifetime);
                    list.push((slot, phase, now_ms + length));
                }
            }
            while let Some((slot, deadline)) = deadlines.pop_expired(now_ms) {
                expired += 1;
                let held = list.iter().find(|entry| (entry.0, entry.1) == (slot, deadline));
                assert!(held.is_some_and(|entry| entry.2 <= now_ms));
                list.retain(|entry| entry.0 != slot);
            }
            assert!(
                list.iter().all(|entry| entry.2 > now_ms),
                "an expired deadline was not returned"
            );
        }
        assert!(expired > 1_000, "too few deadlines expired: {expired}");
    }
}
