//! Pacing: the times at which requests are due in a closed loop, in an open loop, and in bursts.
//! No I/O and no clock: times are nanoseconds since the phase started.

use std::fmt;
use std::time::Duration;

/// The load model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Closed loop: each connection starts its next request when the response is complete.
    ClosedLoop,
    /// Open loop: requests are due at a fixed offered rate, independent of responses.
    OpenLoop(Rate),
}

/// A rate in requests per second, to a thousandth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    millihertz: u64,
}

impl Rate {
    /// # Errors
    /// Fails if the rate is not between 0.001 and 10 million requests per second.
    pub fn per_second(requests: f64) -> Result<Self, String> {
        if !(0.001..=1e7).contains(&requests) {
            return Err(format!(
                "invalid rate {requests}: it must be between 0.001 and 10,000,000 requests/s"
            ));
        }
        Ok(Self { millihertz: (requests * 1e3).round() as u64 })
    }

    /// Returns the rate in requests per second.
    pub fn as_per_second(self) -> f64 {
        self.millihertz as f64 / 1e3
    }

    /// Returns the time at which request `index` is due, the first being 0. It is computed from the
    /// index, so that rounding errors do not accumulate.
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

/// Requests that start at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Number of connections opened at once.
    pub connections: usize,
    /// Closed loop: pause between the last response and the next burst. In an open loop the rate
    /// determines it.
    pub pause: Duration,
}

/// The share of one thread: every `count`-th request, starting with `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) index: u64,
    pub(super) count: u64,
}

impl Share {
    /// Returns this thread's part of `whole`.
    pub(super) fn split(self, whole: u64) -> u64 {
        whole / self.count + u64::from(self.index < whole % self.count)
    }
}

/// Limits of a schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Maximum number of requests of all threads together.
    pub(super) requests: Option<u64>,
    pub(super) duration_ns: Option<u64>,
    /// Maximum time from when a request is due until it is started.
    pub(super) max_delay_ns: u64,
}

/// The next action of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Action {
    /// Start a request that was due at this time.
    Start { due_ns: u64 },
    /// Count a request as not sent: its delay is over the maximum.
    DropLate,
    /// Wait until this time.
    WaitUntil(u64),
    /// Wait until a connection is free.
    WaitForConnection,
    /// No request is left.
    Finished,
}

/// The schedule of one thread's requests.
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    burst: Option<Burst>,
    bounds: Bounds,
    share: Share,
    /// Requests started or counted as not sent.
    issued: u64,
    /// Closed loop: requests left in the current burst, and the time at which the next may start.
    burst_left: usize,
    burst_at_ns: Option<u64>,
}

impl Schedule {
    pub(super) fn new(pace: Pace, burst: Option<Burst>, bounds: Bounds, share: Share) -> Self {
        let burst_left = burst.map_or(0, |burst| burst.connections);
        Self { pace, burst, bounds, share, issued: 0, burst_left, burst_at_ns: None }
    }

    /// Returns the next action, given the requests in flight and the free connections.
    pub(super) fn next_action(&mut self, now_ns: u64, in_flight: usize, free: usize) -> Action {
        match (self.pace, self.burst) {
            (Pace::OpenLoop(rate), burst) => self.open_loop_action(rate, burst, now_ns, free),
            (Pace::ClosedLoop, _) if self.is_finished(now_ns) => Action::Finished,
            (Pace::ClosedLoop, Some(burst)) if self.burst_left == 0 => {
                self.between_bursts(burst, now_ns, in_flight)
            }
            (Pace::ClosedLoop, _) if free == 0 => Action::WaitForConnection,
            (Pace::ClosedLoop, _) => {
                self.burst_left = self.burst_left.saturating_sub(1);
                self.start(now_ns)
            }
        }
    }

    /// Returns the scheduled end; `None` if the last response determines it.
    pub(super) fn planned_end_ns(&self) -> Option<u64> {
        let by_requests = match (self.pace, self.bounds.requests) {
            (Pace::OpenLoop(rate), Some(requests)) => Some(rate.due_ns(requests)),
            (Pace::ClosedLoop, _) if self.has_no_requests_left() => return None,
            _ => None,
        };
        by_requests.into_iter().chain(self.bounds.duration_ns).min()
    }

    fn is_finished(&self, now_ns: u64) -> bool {
        self.has_no_requests_left() || self.bounds.duration_ns.is_some_and(|end| now_ns >= end)
    }

    fn has_no_requests_left(&self) -> bool {
        self.bounds.requests.is_some_and(|requests| self.issued >= self.share.split(requests))
    }

    fn open_loop_action(
        &mut self,
        rate: Rate,
        burst: Option<Burst>,
        now_ns: u64,
        free: usize,
    ) -> Action {
        let index = self.share.index + self.issued * self.share.count;
        let burst_size = burst.map_or(1, |burst| burst.connections as u64);
        let due_ns = rate.due_ns(index - index % burst_size);
        // The due time counts, not the current time: a delayed request still starts after the end.
        if self.bounds.requests.is_some_and(|requests| index >= requests)
            || self.bounds.duration_ns.is_some_and(|end| due_ns >= end)
        {
            Action::Finished
        } else if now_ns < due_ns {
            Action::WaitUntil(due_ns)
        } else if now_ns - due_ns > self.bounds.max_delay_ns {
            self.issued += 1;
            Action::DropLate
        } else if free == 0 {
            Action::WaitForConnection
        } else {
            self.start(due_ns)
        }
    }

    fn start(&mut self, due_ns: u64) -> Action {
        self.issued += 1;
        Action::Start { due_ns }
    }

    fn between_bursts(&mut self, burst: Burst, now_ns: u64, in_flight: usize) -> Action {
        if in_flight > 0 {
            return Action::WaitForConnection;
        }
        let pause_ns = burst.pause.as_nanos() as u64;
        let at_ns = *self.burst_at_ns.get_or_insert(now_ns + pause_ns);
        if now_ns < at_ns {
            return Action::WaitUntil(at_ns);
        }
        self.burst_at_ns = None;
        self.burst_left = burst.connections - 1;
        self.start(now_ns)
    }
}

#[cfg(test)]
mod tests;
