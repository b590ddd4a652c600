//! Wakes the loop at a moment, to the microsecond; the waits of epoll count in milliseconds.

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
    /// A timer whose events bear `data`.
    pub(super) fn new(epoll: &OwnedFd, data: u64) -> Result<Self, Errno> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // An edge for each time that it goes off: it need not be read.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(epoll, &timer, epoll::EventData::new_u64(data), flags)?;
        Ok(Self { timer, armed_for_ns: None })
    }

    /// Goes off then, once. What it was armed for before is forgotten.
    pub(super) fn arm(&mut self, clock: Clock, at_ns: u64) -> Result<(), Errno> {
        if self.armed_for_ns == Some(at_ns) {
            return Ok(());
        }
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec { it_interval, it_value: clock.as_monotonic(at_ns) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        self.armed_for_ns = Some(at_ns);
        Ok(())
    }

    /// The clock has been started again: what was armed meant another time.
    pub(super) fn forget(&mut self) {
        self.armed_for_ns = None;
    }
}
