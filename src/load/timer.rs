//! A timerfd that ends an epoll wait at a given time. Before Linux 5.11 epoll timeouts are in
//! milliseconds, too coarse for pacing.

use std::os::fd::OwnedFd;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::clock::Clock;

#[derive(Debug)]
pub(super) struct Timer {
    timer: OwnedFd,
    armed_for_ns: Option<u64>,
}

impl Timer {
    /// Creates a timer whose events have this `epoll_data`.
    pub(super) fn new(epoll: &OwnedFd, data: u64) -> Result<Self, Errno> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // Edge-triggered: each expiration is an event, and the timer need not be read.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(epoll, &timer, epoll::EventData::new_u64(data), flags)?;
        Ok(Self { timer, armed_for_ns: None })
    }

    /// Arms the timer for one expiration, replacing any earlier one.
    pub(super) fn arm(&mut self, clock: Clock, at_ns: u64) -> Result<(), Errno> {
        if self.armed_for_ns == Some(at_ns) {
            return Ok(());
        }
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec { it_interval, it_value: clock.to_monotonic(at_ns) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        self.armed_for_ns = Some(at_ns);
        Ok(())
    }

    /// Forgets the time of the last [`Self::arm`], which the restarted clock does not know.
    pub(super) fn on_clock_restart(&mut self) {
        self.armed_for_ns = None;
    }
}
