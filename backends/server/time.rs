//! The clock of a turn, the deadlines that pass, and the stop: who is waited for, and who is not.

use std::time::Duration;

use super::Server;
use crate::backend::Step;
use crate::connection::Next;
use crate::counters::SystemCall;
use crate::deadlines::Deadline;
// Tests put a simulated kernel in the place of the real one.
#[cfg(any(test, feature = "simulation"))]
use crate::simulation::calls as libc;
use crate::slots::ConnectionId;
use crate::socket::hear_no_more;

/// The documents' tick: the longest wait, and the grain of every deadline.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// How many ticks the kernel has, after everything was cut off, to give the last operation back.
const TICKS_TO_GIVE_UP: u64 = 5;

/// How far the stop has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    No,
    /// Since this time, in milliseconds of the turn's clock.
    Draining(u64),
    /// Everybody is closed as soon as the kernel lets go of them; since when.
    CutOff(u64),
}

impl Server {
    /// A wait is over and brought so many events: the clock of the turn is read, once for all.
    pub(crate) fn turn(&mut self, events: usize) {
        self.now_ms = coarse_clock_ms();
        self.counters.waits += 1;
        self.counters.events += events as u64;
        self.counters.batch_sizes.count(events);
    }

    /// Whether a second has passed since it last said so.
    pub(crate) fn ticked(&mut self) -> bool {
        if self.now_ms < self.next_tick_ms {
            return false;
        }
        self.next_tick_ms = self.now_ms + TICK.as_millis() as u64;
        self.choose_whom_to_cut_off();
        true
    }

    /// Somebody whose time is over, marked so that only a close can follow.
    pub(crate) fn next_expired(&mut self) -> Option<ConnectionId> {
        let id = match self.to_cut_off.pop() {
            Some(id) => {
                self.counters.cut_off += 1;
                id
            }
            None => self.next_past_deadline()?,
        };
        self.end(id);
        self.record(id, Step::Expired, Some(Next::Close));
        Some(id)
    }

    fn next_past_deadline(&mut self) -> Option<ConnectionId> {
        let (slot, deadline) = loop {
            let (slot, deadline) = self.deadlines.pop_expired(self.now_ms)?;
            if deadline != Deadline::Life || !self.goes_on_after_its_life(slot) {
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
            Deadline::Life => &mut self.counters.expired_life,
        } += 1;
        Some(self.clients.id_at(slot).expect("deadlines hold only for clients that are there"))
    }

    /// Whether the stop has been requested.
    pub(crate) fn stop_requested(&self) -> bool {
        self.stop.is_requested()
    }

    /// The stop was requested: nobody new gets in, those who are in are drained.
    pub(crate) fn stop(&mut self) {
        self.stopping = Stopping::Draining(self.now_ms);
        self.accept_paused = false;
        if let Some(listener) = &self.listener {
            // Where the kernel refuses the filter, a newcomer in the last microsecond may be
            // reset by the close of the listener; the stop is otherwise the same.
            let _ = listener.refuse_newcomers();
            let _ = listener.set_nonblocking(true);
        }
        for id in self.clients.ids().collect::<Vec<_>>() {
            let client = self.client(id);
            client.is_draining = !client.connection.is_closing();
            if self.persistent.is_some() {
                self.end_conversation_soon(id);
            }
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }

    /// Whether there is anything left to serve.
    pub(crate) fn is_open(&self) -> bool {
        match self.stopping {
            Stopping::No => true,
            Stopping::Draining(_) => self.listener.is_some() || !self.clients.is_empty(),
            Stopping::CutOff(since) => {
                let patience_ms = TICKS_TO_GIVE_UP * TICK.as_millis() as u64;
                !self.clients.is_empty() && self.now_ms < since + patience_ms
            }
        }
    }

    /// While draining: whoever has said nothing for a tick; at the deadline everybody.
    fn choose_whom_to_cut_off(&mut self) {
        let tick_ms = TICK.as_millis() as u64;
        if let Stopping::Draining(since) = self.stopping
            && u128::from(self.now_ms - since) >= self.drain_timeout.as_millis()
        {
            self.stopping = Stopping::CutOff(self.now_ms);
        }
        let all = match self.stopping {
            Stopping::No => return,
            Stopping::Draining(_) => false,
            Stopping::CutOff(_) => true,
        };
        for id in self.clients.ids().collect::<Vec<_>>() {
            let now_ms = self.now_ms;
            let client = self.client(id);
            let connection = &client.connection;
            let is_silent = connection.is_receiving()
                && connection.request_bytes() == 0
                && now_ms >= client.accepted_ms + tick_ms;
            let (is_over, is_heard_out) = (connection.is_closing(), client.is_heard_out);
            let is_silent = is_silent && self.is_silent(id);
            if all && !is_over {
                self.to_cut_off.push(id);
            } else if is_silent && !is_heard_out {
                self.hear_no_more(id);
            }
        }
    }

    /// Nobody has looked yet at what may have come of somebody who seems silent: the kernel may
    /// hold it, or a completion that has not been taken. It is still heard, and answered if it is
    /// a request; behind it stands the end of the stream.
    pub(super) fn hear_no_more(&mut self, id: ConnectionId) {
        self.client(id).is_heard_out = true;
        if self.client(id).fd.is_none() {
            return self.to_hear_out.push(id);
        }
        self.system_calls.count(SystemCall::Shutdown);
        hear_no_more(self.fd(id));
    }

    /// Somebody behind whose silence the engine has to put the end.
    pub(crate) fn next_to_hear_out(&mut self) -> Option<ConnectionId> {
        self.to_hear_out.pop()
    }
}

/// Milliseconds since the machine started, as coarse as the kernel's tick (1 to 10 ms).
///
/// CLOCK_MONOTONIC_COARSE is answered from the vDSO whatever the clock source is, so reading it
/// is never a system call (clock_gettime(2), vdso(7)).
pub(super) fn coarse_clock_ms() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the timespec lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}
