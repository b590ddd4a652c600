//! The stop and its drain: which connections are still waited for.

use std::os::fd::RawFd;
use std::time::Duration;

use crate::slab::ConnectionId;
use crate::stop::Stop;

/// The longest wait, as in the reference programs, and the resolution of every deadline.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// [`TICK`] in milliseconds.
pub(super) const TICK_MS: u64 = TICK.as_millis() as u64;

/// Ticks that the kernel has, after every connection was closed, to complete what is in flight.
const FORCE_CLOSE_TICKS: u64 = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Serving,
    /// Waits for open connections, since this time in milliseconds of the iteration's clock.
    Draining(u64),
    /// Closes every connection, since this time.
    ForceClosing(u64),
}

pub(super) struct Drain {
    stop: Stop,
    timeout: Duration,
    state: State,
    /// Connections to close at this tick.
    pub(super) to_force_close: Vec<ConnectionId>,
    /// Idle connections whose receive side the engine must close.
    pub(super) to_half_close: Vec<ConnectionId>,
}

impl Drain {
    pub(super) fn new(stop: Stop, timeout: Duration, max_connections: usize) -> Self {
        Self {
            stop,
            timeout,
            state: State::Serving,
            to_force_close: Vec::with_capacity(max_connections),
            to_half_close: Vec::new(),
        }
    }

    pub(super) fn stop_fd(&self) -> RawFd {
        self.stop.fd()
    }

    pub(super) fn is_requested(&self) -> bool {
        self.stop.is_requested()
    }

    pub(super) fn begin(&mut self, now_ms: u64) {
        self.state = State::Draining(now_ms);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.state != State::Serving
    }

    pub(super) fn is_force_closing(&self) -> bool {
        matches!(self.state, State::ForceClosing(_))
    }

    /// Returns true until everything is served and closed.
    pub(super) fn is_open(&self, is_listening: bool, has_connections: bool, now_ms: u64) -> bool {
        match self.state {
            State::Serving => true,
            State::Draining(_) => is_listening || has_connections,
            State::ForceClosing(since) => {
                has_connections && now_ms < since + FORCE_CLOSE_TICKS * TICK_MS
            }
        }
    }

    /// Begins to force-close if the drain timeout has passed.
    pub(super) fn on_tick(&mut self, now_ms: u64) {
        if let State::Draining(since) = self.state {
            if u128::from(now_ms - since) >= self.timeout.as_millis() {
                self.state = State::ForceClosing(now_ms);
            }
        }
    }
}
