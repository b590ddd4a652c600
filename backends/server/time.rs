//! The clock of an iteration, expired deadlines, and the stop with its drain.

use std::time::Duration;

use super::Server;
use crate::backend::LifecycleEvent;
use crate::connection::Next;
use crate::counters::SystemCall;
use crate::deadlines::Deadline;
// Tests replace the kernel by a simulated one.
#[cfg(any(test, feature = "simulation"))]
use crate::simulation::calls as libc;
use crate::slab::ConnectionId;
use crate::socket::half_close_receive;

/// The longest wait, as in the reference programs, and the resolution of every deadline.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// Ticks that the kernel has, after every connection was closed, to complete what is in flight.
const FORCE_CLOSE_TICKS: u64 = 5;

/// The state of the stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    No,
    /// Waits for open connections, since this time in milliseconds of the iteration's clock.
    Draining(u64),
    /// Closes every connection, since this time.
    ForceClosing(u64),
}

impl Server {
    /// Begins an iteration of the event loop after a wait that returned `events`. The clock is read
    /// once for all of them.
    pub(crate) fn begin_iteration(&mut self, events: usize) {
        self.now_ms = coarse_clock_ms();
        self.counters.waits += 1;
        self.counters.events += events as u64;
        self.counters.batch_sizes.count(events);
    }

    /// Returns true once a tick.
    pub(crate) fn take_tick(&mut self) -> bool {
        if self.now_ms < self.next_tick_ms {
            return false;
        }
        self.next_tick_ms = self.now_ms + TICK.as_millis() as u64;
        self.select_connections_to_end();
        true
    }

    /// Returns a connection that has expired, in a state that only a close can follow.
    pub(crate) fn next_expired(&mut self) -> Option<ConnectionId> {
        let id = match self.to_force_close.pop() {
            Some(id) => {
                self.counters.force_closed += 1;
                id
            }
            None => self.next_past_deadline()?,
        };
        self.end(id);
        self.record(id, LifecycleEvent::Expired, Some(Next::Close));
        Some(id)
    }

    fn next_past_deadline(&mut self) -> Option<ConnectionId> {
        let (slot, deadline) = loop {
            let (slot, deadline) = self.deadlines.pop_expired(self.now_ms)?;
            if deadline != Deadline::Lifetime || !self.extends_lifetime(slot) {
                break (slot, deadline);
            }
        };
        *match deadline {
            Deadline::KeepAlive => &mut self.counters.expired_idle,
            Deadline::Idle | Deadline::RequestHead | Deadline::RequestBody => {
                &mut self.counters.expired_receiving
            }
            Deadline::Send => &mut self.counters.expired_sending,
            Deadline::Linger => &mut self.counters.expired_lingering,
            Deadline::Lifetime => &mut self.counters.expired_lifetime,
        } += 1;
        Some(self.connections.id_at(slot).expect("only open connections have deadlines"))
    }

    pub(crate) fn stop_requested(&self) -> bool {
        self.stop.is_requested()
    }

    /// Begins the stop: refuses new connections and drains those that are open.
    pub(crate) fn begin_stop(&mut self) {
        self.stopping = Stopping::Draining(self.now_ms);
        self.accept_paused = false;
        if let Some(listener) = &self.listener {
            // If the kernel refuses the filter, a connection that is established just before the
            // listener is closed is reset by that.
            let _ = listener.refuse_new_connections();
            let _ = listener.set_nonblocking(true);
        }
        for id in self.connections.ids().collect::<Vec<_>>() {
            let entry = self.connection(id);
            entry.is_draining = !entry.connection.is_closing();
            if self.keep_alive.is_some() {
                self.end_keep_alive_soon(id);
            }
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }

    /// Returns true until everything is served and closed.
    pub(crate) fn is_open(&self) -> bool {
        match self.stopping {
            Stopping::No => true,
            Stopping::Draining(_) => self.listener.is_some() || !self.connections.is_empty(),
            Stopping::ForceClosing(since) => {
                let timeout_ms = FORCE_CLOSE_TICKS * TICK.as_millis() as u64;
                !self.connections.is_empty() && self.now_ms < since + timeout_ms
            }
        }
    }

    /// While draining, ends connections that were idle for a tick; at the drain deadline, all.
    fn select_connections_to_end(&mut self) {
        let tick_ms = TICK.as_millis() as u64;
        let all = match self.stopping {
            Stopping::No => return,
            Stopping::Draining(since) => {
                u128::from(self.now_ms - since) >= self.drain_timeout.as_millis()
            }
            Stopping::ForceClosing(_) => true,
        };
        if let (Stopping::Draining(_), true) = (self.stopping, all) {
            self.stopping = Stopping::ForceClosing(self.now_ms);
        }
        for id in self.connections.ids().collect::<Vec<_>>() {
            let now_ms = self.now_ms;
            let entry = self.connection(id);
            let connection = &entry.connection;
            let is_idle = connection.is_receiving()
                && connection.request_bytes() == 0
                && now_ms >= entry.accepted_ms + tick_ms;
            let (is_closing, receive_closed) = (connection.is_closing(), entry.receive_closed);
            let is_idle = is_idle && self.is_idle(id);
            if all && !is_closing {
                self.to_force_close.push(id);
            } else if is_idle && !receive_closed {
                self.half_close_receive(id);
            }
        }
    }

    /// Closes the receive side of an idle connection. The socket or a completion may hold a request
    /// that is not handled yet: it still gets its response, and then the stream ends.
    pub(super) fn half_close_receive(&mut self, id: ConnectionId) {
        self.connection(id).receive_closed = true;
        if self.connection(id).fd.is_none() {
            return self.to_half_close.push(id);
        }
        self.system_calls.count(SystemCall::Shutdown);
        half_close_receive(self.fd(id));
    }

    /// Returns a connection whose receive side the engine must close.
    pub(crate) fn next_to_half_close(&mut self) -> Option<ConnectionId> {
        self.to_half_close.pop()
    }
}

/// Returns the milliseconds since boot, with the resolution of the kernel's timer tick.
///
/// CLOCK_MONOTONIC_COARSE is read from the vDSO with every clock source, so this is never a system
/// call (clock_gettime(2), vdso(7)).
pub(super) fn coarse_clock_ms() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the timespec lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}
