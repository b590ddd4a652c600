//! When each request is due: the closed loop, the open loop, and bursts in either. It does no
//! I/O and reads no clock: times are nanoseconds since the phase began.

use std::fmt;
use std::time::Duration;

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The closed loop: each connection asks again as soon as it is answered.
    AsFastAsAnswered,
    /// The open loop: requests are due at fixed times, answered or not.
    Rate(Rate),
}

/// So many requests a second, to a thousandth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    millihertz: u64,
}

impl Rate {
    /// # Errors
    /// When it is not from 0.001 to 10 million requests a second.
    pub fn per_second(requests: f64) -> Result<Self, String> {
        if !(0.001..=1e7).contains(&requests) {
            return Err(format!("a rate of {requests} is not from 0.001 to 10,000,000 a second"));
        }
        Ok(Self { millihertz: (requests * 1e3).round() as u64 })
    }

    /// The rate as a number.
    pub fn as_per_second(self) -> f64 {
        self.millihertz as f64 / 1e3
    }

    /// When that request is due, the first being 0. Nothing adds up: the millionth is as exact as
    /// the second.
    fn due_ns(self, index: u64) -> u64 {
        let due = u128::from(index) * 1_000_000_000_000 / u128::from(self.millihertz);
        u64::try_from(due).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_per_second().fmt(formatter)
    }
}

/// Requests that come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// How many connections are begun at once.
    pub connections: usize,
    /// In the closed loop: how long after the last answer the next burst comes. In the open loop
    /// the rate says it.
    pub pause: Duration,
}

/// Which part of the requests is whose, where several threads share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) nth: u64,
    pub(super) of: u64,
}

impl Share {
    /// This part of that many.
    pub(super) fn split(self, whole: u64) -> u64 {
        whole / self.of + u64::from(self.nth < whole % self.of)
    }
}

/// What bounds a schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Of all threads together.
    pub(super) requests: Option<u64>,
    pub(super) length_ns: Option<u64>,
    /// How long after it was due a request is still begun.
    pub(super) patience_ns: u64,
}

/// What the schedule wants now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Turn {
    /// Begin a request, which was due then.
    Begin { due_ns: u64 },
    /// A request was due so long ago that nobody waits for it any more: count it.
    Missed,
    /// Nothing before this time.
    At(u64),
    /// Nothing before a connection is free.
    WhenFree,
    /// Nothing any more.
    Over,
}

/// When the requests of one thread are due.
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    burst: Option<Burst>,
    bounds: Bounds,
    share: Share,
    /// How many requests were begun or missed.
    gone: u64,
    /// Closed loop: how many of the burst at hand are yet to be begun, and when it may begin.
    of_burst: usize,
    burst_at_ns: Option<u64>,
}

impl Schedule {
    pub(super) fn new(pace: Pace, burst: Option<Burst>, bounds: Bounds, share: Share) -> Self {
        let of_burst = burst.map_or(0, |burst| burst.connections);
        Self { pace, burst, bounds, share, gone: 0, of_burst, burst_at_ns: None }
    }

    /// What to do now, where so many requests are under way and so many connections are free.
    pub(super) fn turn(&mut self, now_ns: u64, under_way: usize, free: usize) -> Turn {
        match (self.pace, self.burst) {
            (Pace::Rate(rate), burst) => self.open_turn(rate, burst, now_ns, free),
            (Pace::AsFastAsAnswered, _) if self.is_over(now_ns) => Turn::Over,
            (Pace::AsFastAsAnswered, Some(burst)) if self.of_burst == 0 => {
                self.between_bursts(burst, now_ns, under_way)
            }
            (Pace::AsFastAsAnswered, _) if free == 0 => Turn::WhenFree,
            (Pace::AsFastAsAnswered, _) => {
                self.of_burst = self.of_burst.saturating_sub(1);
                self.begin(now_ns)
            }
        }
    }

    /// When the schedule ends, or ended, by the time; `None` if only the answers say it.
    pub(super) fn planned_end_ns(&self) -> Option<u64> {
        let by_requests = match (self.pace, self.bounds.requests) {
            (Pace::Rate(rate), Some(requests)) => Some(rate.due_ns(requests)),
            (Pace::AsFastAsAnswered, _) if self.has_no_requests_left() => return None,
            _ => None,
        };
        by_requests.into_iter().chain(self.bounds.length_ns).min()
    }

    fn is_over(&self, now_ns: u64) -> bool {
        self.has_no_requests_left() || self.bounds.length_ns.is_some_and(|length| now_ns >= length)
    }

    fn has_no_requests_left(&self) -> bool {
        self.bounds.requests.is_some_and(|requests| self.gone >= self.share.split(requests))
    }

    fn open_turn(&mut self, rate: Rate, burst: Option<Burst>, now_ns: u64, free: usize) -> Turn {
        let index = self.share.nth + self.gone * self.share.of;
        let together = burst.map_or(1, |burst| burst.connections as u64);
        let due_ns = rate.due_ns(index - index % together);
        // By when it was due, not by what time it is: what is late is still owed at the end.
        if self.bounds.requests.is_some_and(|requests| index >= requests)
            || self.bounds.length_ns.is_some_and(|length| due_ns >= length)
        {
            Turn::Over
        } else if now_ns < due_ns {
            Turn::At(due_ns)
        } else if now_ns - due_ns > self.bounds.patience_ns {
            self.gone += 1;
            Turn::Missed
        } else if free == 0 {
            Turn::WhenFree
        } else {
            self.begin(due_ns)
        }
    }

    fn begin(&mut self, due_ns: u64) -> Turn {
        self.gone += 1;
        Turn::Begin { due_ns }
    }

    fn between_bursts(&mut self, burst: Burst, now_ns: u64, under_way: usize) -> Turn {
        if under_way > 0 {
            return Turn::WhenFree;
        }
        let pause_ns = burst.pause.as_nanos() as u64;
        let at_ns = *self.burst_at_ns.get_or_insert(now_ns + pause_ns);
        if now_ns < at_ns {
            return Turn::At(at_ns);
        }
        self.burst_at_ns = None;
        self.of_burst = burst.connections - 1;
        self.begin(now_ns)
    }
}

#[cfg(test)]
mod tests;
