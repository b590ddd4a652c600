//! The loop: one thread, one epoll instance, nothing allocated and nothing formatted between the
//! first request and the last.

mod conversation;
mod persistent;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::answer::Reference;
use super::clock::Clock;
use super::control::Control;
use super::failures::Failure;
use super::idle::IdleCrowd;
use super::kept::KeptConnections;
use super::lanes::Lanes;
use super::outcome::{IdleCount, Tally};
use super::own_cost::OwnCost;
use super::pacing::{Bounds, Burst, Pace, Schedule, Share, Turn};
use super::plan::Plan;
use super::slots::{Awaits, Slots};
use super::sockets::{self, SourceAddresses};
use super::timer::Timer;

/// How many events one wait can bring. They share one time, so not too many.
const EVENTS: usize = 256;

/// An answer up to this length fits into any receive window, so its end can come without anything
/// being read before.
const FITS_INTO_WINDOW_BYTES: usize = 16 * 1024;

/// How much one receive can bring.
const BUFFER_BYTES: usize = 64 * 1024;

/// The longest wait: after it a stop is looked for.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Closed loop: how long a place rests after a failure, so that a server that refuses everything
/// is not asked without a pause.
const REST_NS: u64 = 10_000_000;

/// How many idle connections may be on their way at once, so that the listener's queue holds them.
const IDLE_AT_ONCE: usize = 128;

/// Events of idle connections bear this, and their number; the others their place.
const IDLE: u64 = 1 << 32;
/// The timer's events bear this.
const TIMER: u64 = 1 << 33;

/// Something to come back to in a place, if the same request is still there.
#[derive(Clone, Copy, Debug)]
struct Later {
    at_ns: u64,
    index: u32,
    life: u32,
}

/// What a thread did in the measured part.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) tally: Tally,
    pub(super) warm_up: Tally,
    pub(super) own_cost: OwnCost,
    /// When the plan ended it; `None` if the answers did.
    pub(super) planned_end_ns: Option<u64>,
    pub(super) ended_ns: u64,
    pub(super) idle: IdleCount,
    pub(super) source_addresses: usize,
}

/// One thread's part of a plan.
pub(super) struct Engine<'run> {
    plan: &'run Plan,
    reference: &'run Reference,
    control: &'run Control,
    share: Share,
    /// Whether the target is on this machine, and sockets can be used again.
    keeps_sockets: bool,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    timer: Timer,
    clock: Clock,
    slots: Slots,
    /// Where connections persist: these, and no slots.
    lanes: Option<Lanes>,
    /// As many requests as can be under way on one of them.
    batch: Vec<u8>,
    kept: &'run KeptConnections,
    sources: SourceAddresses,
    idle: IdleCrowd,
    /// Both in the order of their times, since all pauses are of one length, and all rests.
    pauses: VecDeque<Later>,
    resting: VecDeque<Later>,
    tally: Tally,
    /// When the wait that brought the events at hand was over.
    woken_ns: u64,
    next_sweep_ns: u64,
}

impl<'run> Engine<'run> {
    pub(super) fn new(
        plan: &'run Plan,
        reference: &'run Reference,
        control: &'run Control,
        kept: &'run KeptConnections,
        share: Share,
    ) -> Result<Self, Errno> {
        let connections = share.split(plan.connections as u64) as usize;
        let is_persistent = plan.life.is_persistent();
        let stream = kept.runs() * share.of + share.nth;
        let lanes = is_persistent.then(|| Lanes::new(connections, plan.life, stream));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self {
            plan,
            reference,
            control,
            share,
            keeps_sockets: sockets::is_this_machine(plan.target),
            timer: Timer::new(&epoll, TIMER)?,
            epoll,
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; BUFFER_BYTES],
            clock: Clock::start(),
            slots: Slots::new(if is_persistent { 0 } else { connections }),
            lanes,
            batch: plan.request.bytes().repeat(plan.life.depth()),
            kept,
            sources: SourceAddresses::new(plan.target),
            idle: IdleCrowd::new(share.split(plan.idle as u64) as usize),
            pauses: VecDeque::with_capacity(connections),
            resting: VecDeque::with_capacity(connections),
            tally: Tally::new(false),
            woken_ns: 0,
            next_sweep_ns: 0,
        })
    }

    /// Opens the idle connections and does the warm-up. Returns what went wrong in it.
    pub(super) fn prepare(&mut self) -> Result<Tally, Errno> {
        self.start_phase();
        self.open_idle_connections()?;
        if self.plan.warm_up.is_zero() {
            return Ok(self.start_phase());
        }
        self.run_phase(None, self.plan.warm_up)?;
        Ok(self.start_phase())
    }

    /// Does what the plan says, and tells what came of it.
    pub(super) fn measure(mut self, warm_up: Tally) -> Result<Measured, Errno> {
        self.start_phase();
        let before = OwnCost::of_this_thread()?;
        let planned_end_ns = self.run_phase(self.plan.requests, self.plan.longest())?;
        let ended_ns = self.clock.now_ns();
        let own_cost = OwnCost::of_this_thread()?.since(before, Duration::from_nanos(ended_ns));
        if self.lanes.is_some() {
            self.give_lanes_up();
        } else {
            self.abandon_all();
        }
        Ok(Measured {
            tally: self.tally,
            warm_up,
            own_cost,
            planned_end_ns,
            ended_ns,
            idle: self.idle.count(),
            source_addresses: self.sources.used(),
        })
    }

    /// Begins to count anew, from 0 and from now. Returns what was counted before.
    fn start_phase(&mut self) -> Tally {
        self.clock = Clock::start();
        self.timer.forget();
        (self.woken_ns, self.next_sweep_ns) = (0, 0);
        if let Some(lanes) = &mut self.lanes {
            lanes.start_anew();
        }
        let is_open_loop = matches!(self.plan.pace, Pace::Rate(_));
        std::mem::replace(&mut self.tally, Tally::new(is_open_loop))
    }

    fn open_idle_connections(&mut self) -> Result<(), Errno> {
        let deadline_ns = self.plan.timeout.as_nanos() as u64;
        while !self.idle.is_complete() || self.idle.connecting() > 0 {
            while !self.idle.is_complete() && self.idle.connecting() < IDLE_AT_ONCE {
                let Self { idle, epoll, sources, .. } = self;
                if let Err(failure) = idle.begin(epoll, IDLE, self.plan.target, sources) {
                    self.tally.failures.count(failure);
                }
            }
            self.wait_for_events(LONGEST_WAIT)?;
            let events = std::mem::take(&mut self.events);
            for event in &events {
                self.idle.on_event(event.data.u64() & !IDLE, event.flags);
            }
            self.events = events;
            if self.control.is_stopped() || self.clock.now_ns() > deadline_ns {
                break;
            }
        }
        Ok(())
    }

    /// Begins requests as they are due until the schedule is over and all have ended, or until it
    /// is stopped. Returns when the schedule was to end by itself.
    fn run_phase(&mut self, requests: Option<u64>, length: Duration) -> Result<Option<u64>, Errno> {
        let bounds = Bounds {
            requests,
            length_ns: Some(length.as_nanos() as u64),
            patience_ns: self.plan.timeout.as_nanos() as u64,
        };
        let burst = self.plan.burst.or(self.batch_as_burst());
        let mut schedule = Schedule::new(self.plan.pace, burst, bounds, self.share);
        while !self.control.is_stopped() {
            let turn = self.begin_what_is_due(&mut schedule);
            if turn == Turn::Over && self.under_way() == 0 {
                break;
            }
            let reported = (self.tally.completed, self.tally.failures.total());
            self.wait(turn)?;
            self.take_events(&mut schedule);
            self.go_on_after_pauses();
            self.sweep();
            self.report_progress(reported);
        }
        Ok(schedule.planned_end_ns())
    }

    /// Open loop: requests that share a connection at the same time are due at the same time.
    fn batch_as_burst(&self) -> Option<Burst> {
        let connections = self.plan.life.depth();
        let is_open_loop = matches!(self.plan.pace, Pace::Rate(_));
        (is_open_loop && connections > 1).then_some(Burst { connections, pause: Duration::ZERO })
    }

    fn under_way(&self) -> usize {
        self.lanes.as_ref().map_or(self.slots.under_way(), Lanes::under_way)
    }

    fn free_count(&self) -> usize {
        self.lanes.as_ref().map_or(self.slots.free_count(), Lanes::free_count)
    }

    /// Returns what the schedule wants beyond what could be begun now.
    fn begin_what_is_due(&mut self, schedule: &mut Schedule) -> Turn {
        let turn = loop {
            let now_ns = self.clock.now_ns();
            match schedule.turn(now_ns, self.under_way(), self.free_count()) {
                Turn::Begin { due_ns } if self.lanes.is_some() => {
                    self.begin_on_lane(due_ns, now_ns);
                }
                Turn::Begin { due_ns } => self.begin(due_ns, now_ns),
                Turn::Missed => self.tally.failures.count(Failure::NeverBegun),
                turn => break turn,
            }
        };
        self.send_begun();
        turn
    }

    fn take_events(&mut self, schedule: &mut Schedule) {
        let events = std::mem::take(&mut self.events);
        for event in &events {
            // Each socket has one event at the most in a batch. One of a connection that has ended
            // in this very batch may be in it where connections persist; see `on_lane_event`.
            match event.data.u64() {
                TIMER => {}
                data if data & IDLE != 0 => self.idle.on_event(data & !IDLE, event.flags),
                index if self.lanes.is_some() => self.on_lane_event(index as u32, event.flags),
                index => self.on_event(index as u32, event.flags),
            }
            // Not behind the batch: the server has work again while we see to the others.
            if self.free_count() > 0 {
                let _ = self.begin_what_is_due(schedule);
            }
        }
        self.events = events;
    }

    /// Waits for events, or for the first of the times at which something is to be done.
    fn wait(&mut self, turn: Turn) -> Result<(), Errno> {
        let due_ns = if let Turn::At(at_ns) = turn { Some(at_ns) } else { None };
        let queues = [self.pauses.front(), self.resting.front()];
        let later = queues.into_iter().flatten().map(|later| later.at_ns);
        let first_ns = due_ns.into_iter().chain(later).min();
        let mut timeout = LONGEST_WAIT;
        if let Some(first_ns) = first_ns {
            let now_ns = self.clock.now_ns();
            let left = Duration::from_nanos(first_ns.saturating_sub(now_ns));
            timeout = timeout.min(left);
            if !left.is_zero() && left < LONGEST_WAIT {
                self.timer.arm(self.clock, first_ns)?;
                timeout = LONGEST_WAIT;
            }
        }
        self.wait_for_events(timeout.min(self.tick()))
    }

    fn wait_for_events(&mut self, timeout: Duration) -> Result<(), Errno> {
        // In whole milliseconds, so that kernels before 5.11 can do it.
        let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.as_millis() as i64 * 1_000_000 };
        self.events.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, room, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        self.woken_ns = self.clock.now_ns();
        Ok(())
    }

    fn go_on_after_pauses(&mut self) {
        while let Some(later) = take_due(&mut self.pauses, self.woken_ns) {
            let slot = &self.slots[later.index];
            if slot.life == later.life && slot.awaits == Awaits::Pause {
                self.go_on(later.index);
            }
        }
        while let Some(later) = take_due(&mut self.resting, self.woken_ns) {
            if self.lanes.is_some() {
                self.end_rest_of_lane(later.index);
            } else {
                self.slots.free(later.index);
            }
        }
    }

    /// How often requests that take too long are looked for.
    fn tick(&self) -> Duration {
        (self.plan.timeout / 10).clamp(Duration::from_millis(1), LONGEST_WAIT)
    }

    fn sweep(&mut self) {
        if self.woken_ns < self.next_sweep_ns {
            return;
        }
        self.next_sweep_ns = self.woken_ns + self.tick().as_nanos() as u64;
        let timeout_ns = self.plan.timeout.as_nanos() as u64;
        if self.lanes.is_some() {
            self.sweep_lanes(timeout_ns);
        }
        for index in 0..self.slots.count() {
            let slot = &self.slots[index];
            if slot.is_under_way() && self.woken_ns.saturating_sub(slot.begun_ns) > timeout_ns {
                self.expire(index);
            }
        }
    }

    fn report_progress(&self, (completed, failed): (u64, u64)) {
        if self.control.is_measuring() {
            let failures = self.tally.failures.total();
            self.control.add_progress(self.tally.completed - completed, failures - failed);
        }
    }
}

fn take_due(queue: &mut VecDeque<Later>, now_ns: u64) -> Option<Later> {
    queue.pop_front_if(|later| later.at_ns <= now_ns)
}
