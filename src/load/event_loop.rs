//! The event loop of a load thread: one epoll instance. Between the first request and the last it
//! neither allocates nor formats, except at the end of each interval of `--hdr-log`.

mod one_request;
mod persistent;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::client_cpu::ClientCpu;
use super::clock::Clock;
use super::control::Control;
use super::failures::RequestFailure;
use super::idle::IdleConnections;
use super::message::WINDOW_BYTES;
use super::outcome::{IdleCount, Tally};
use super::pacing::{Action, Bounds, Burst, Pace, Schedule, Share};
use super::payload::{Payload, Payloads};
use super::persistent::PersistentConnections;
use super::plan::{CONTINUE_TIMEOUT, Plan};
use super::pool::ConnectionPool;
use super::request::Request;
use super::slots::{Awaits, Slots};
use super::sockets::{self, SourceAddresses};
use super::timer::Timer;

/// Maximum number of events per wait. They all get the time at which the wait returned.
const MAX_EVENTS: usize = 256;

/// If the server closes: the longest response for which the end of the stream (EPOLLRDHUP) is
/// waited for without reading before. It fits in any receive window, so the FIN can arrive.
const MAX_UNREAD_BYTES: usize = 16 * 1024;

/// The longest wait: a stop request is noticed after it.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// Closed loop: pause of a slot after a failure, so that a server that refuses every connection is
/// not flooded with attempts.
const BACKOFF_NS: u64 = 10_000_000;

/// Idle connections being opened at the same time; the listen backlog must hold them.
const MAX_CONCURRENT_IDLE_CONNECTS: usize = 128;

/// Set in `epoll_data` of idle connections, with their number. Others have their slot index only.
const IDLE_TAG: u64 = 1 << 32;
/// The `epoll_data` of the timer.
const TIMER_TAG: u64 = 1 << 33;

/// The number of bytes received on one event after which the timeout and a stop are checked: a
/// server that sends without an end would keep the loop otherwise.
const RECEIVE_CHECK_BYTES: usize = 1024 * 1024;

/// The time after which a body is sent without 100 Continue.
const CONTINUE_TIMEOUT_NS: u64 = CONTINUE_TIMEOUT.as_nanos() as u64;

/// Properties that any of the payloads has.
#[derive(Clone, Copy, Debug)]
struct PayloadProperties {
    /// Set if small parts follow each other, which Nagle's algorithm would delay.
    is_sent_in_parts: bool,
    /// Set if bodies wait for 100 Continue.
    expects_continue: bool,
    /// Set if bytes can arrive before all have been sent: an echo, or a response to a long request.
    receives_while_sending: bool,
    /// Set if the response is received before the end of the stream.
    reads_early: bool,
    /// Set if requests on persistent connections differ from each other, or have a body, of which
    /// no copies are made.
    sends_pieces: bool,
}

impl PayloadProperties {
    fn of(payloads: Payloads<'_>) -> Self {
        let any_request =
            |has: fn(&Request) -> bool| payloads.any(|payload| payload.request().is_some_and(has));
        let has_body = any_request(|request| request.body_bytes() > 0);
        Self {
            is_sent_in_parts: payloads.first.is_messages()
                || any_request(Request::is_sent_in_parts),
            expects_continue: any_request(Request::expects_continue),
            receives_while_sending: payloads.first.is_messages() || has_body,
            reads_early: has_body
                || payloads.any(|it| it.client_closes() || it.may_exceed(MAX_UNREAD_BYTES)),
            sends_pieces: payloads.list.is_some() || has_body,
        }
    }
}

/// A continuation at a later time. It is skipped if the slot has another generation by then.
#[derive(Clone, Copy, Debug)]
struct Deferred {
    at_ns: u64,
    index: u32,
    generation: u32,
}

/// Results of one thread's measured phase.
#[derive(Debug)]
pub(super) struct ThreadMeasurement {
    pub(super) began: Instant,
    pub(super) tally: Tally,
    pub(super) warm_up: Tally,
    pub(super) client_cpu: ClientCpu,
    /// The scheduled end of the phase; `None` if the number of requests ended it.
    pub(super) planned_end_ns: Option<u64>,
    pub(super) ended_ns: u64,
    pub(super) idle: IdleCount,
    pub(super) source_addresses: usize,
}

/// The event loop of one thread, which runs its share of a plan.
pub(super) struct EventLoop<'run> {
    plan: &'run Plan,
    /// The payload, or that of the first request of the list.
    payload: Payload<'run>,
    payloads: Payloads<'run>,
    /// State of the random sequence of a list.
    random: u64,
    properties: PayloadProperties,
    control: &'run Control,
    share: Share,
    /// Connections opened by all phases of this thread, which determine the bytes of messages.
    connection_number: u64,
    /// Set for local targets: see `sockets` for the reuse of sockets.
    reuses_sockets: bool,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    timer: Timer,
    clock: Clock,
    slots: Slots,
    /// Set for a plan with persistent connections, which uses no slots.
    persistent: Option<PersistentConnections>,
    /// `depth` requests in sequence, so that one send can carry them all. Not used for pieces.
    pipelined_requests: Vec<u8>,
    pool: &'run ConnectionPool,
    sources: SourceAddresses,
    idle: IdleConnections,
    /// Both are in order of time: all pauses have one length, and so have all back-offs.
    pauses: VecDeque<Deferred>,
    backing_off: VecDeque<Deferred>,
    tally: Tally,
    /// The time at which the last wait returned.
    woken_ns: u64,
    next_sweep_ns: u64,
    /// The number of the last snapshot to which this thread has added.
    snapshot: u64,
}

impl<'run> EventLoop<'run> {
    pub(super) fn new(
        plan: &'run Plan,
        payloads: Payloads<'run>,
        control: &'run Control,
        pool: &'run ConnectionPool,
        share: Share,
    ) -> Result<Self, Errno> {
        let connections = share.split(plan.connections as u64) as usize;
        let is_persistent = plan.lifetime.is_persistent();
        let stream = pool.runs() * share.count + share.index;
        let persistent =
            is_persistent.then(|| PersistentConnections::new(connections, plan.lifetime, stream));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let properties = PayloadProperties::of(payloads);
        Ok(Self {
            plan,
            payload: payloads.first,
            payloads,
            random: plan.list.as_ref().map_or(0, |list| list.start(stream)),
            control,
            share,
            connection_number: share.index,
            reuses_sockets: sockets::is_local(plan.target),
            timer: Timer::new(&epoll, TIMER_TAG)?,
            epoll,
            events: Vec::with_capacity(MAX_EVENTS),
            buffer: vec![0; WINDOW_BYTES],
            clock: Clock::start(),
            slots: Slots::new(if is_persistent { 0 } else { connections }),
            persistent,
            pipelined_requests: match properties.sends_pieces {
                true => Vec::new(),
                false => plan.request.bytes().repeat(plan.lifetime.depth()),
            },
            properties,
            pool,
            sources: SourceAddresses::new(plan.target),
            idle: IdleConnections::new(share.split(plan.idle as u64) as usize),
            pauses: VecDeque::with_capacity(connections),
            backing_off: VecDeque::with_capacity(connections),
            tally: Tally::new(false, None),
            woken_ns: 0,
            next_sweep_ns: 0,
            snapshot: 0,
        })
    }

    /// Opens the idle connections and runs the warm-up. Returns what was counted in it.
    pub(super) fn warm_up(&mut self) -> Result<Tally, Errno> {
        self.start_phase();
        self.open_idle_connections()?;
        if self.plan.warm_up.is_zero() {
            return Ok(self.start_phase());
        }
        self.run_phase(None, self.plan.warm_up)?;
        Ok(self.start_phase())
    }

    /// Runs the measured phase.
    pub(super) fn measure(mut self, warm_up: Tally) -> Result<ThreadMeasurement, Errno> {
        self.start_phase();
        let began = Instant::now();
        let before = ClientCpu::of_current_thread()?;
        let planned_end_ns = self.run_phase(self.plan.requests, self.plan.max_duration())?;
        let ended_ns = self.clock.now_ns();
        let client_cpu =
            ClientCpu::of_current_thread()?.since(before, Duration::from_nanos(ended_ns));
        if self.persistent.is_some() {
            self.release_persistent();
        } else {
            self.abort_in_flight();
        }
        Ok(ThreadMeasurement {
            began,
            tally: self.tally,
            warm_up,
            client_cpu,
            planned_end_ns,
            ended_ns,
            idle: self.idle.count(),
            source_addresses: self.sources.used(),
        })
    }

    /// Starts a phase: restarts the clock and resets the counts. Returns the previous counts.
    fn start_phase(&mut self) -> Tally {
        self.clock = Clock::start();
        self.timer.on_clock_restart();
        (self.woken_ns, self.next_sweep_ns) = (0, 0);
        if let Some(persistent) = &mut self.persistent {
            persistent.on_clock_restart();
        }
        let is_open_loop = matches!(self.plan.pace, Pace::OpenLoop(_));
        std::mem::replace(&mut self.tally, Tally::new(is_open_loop, self.plan.interval))
    }

    fn open_idle_connections(&mut self) -> Result<(), Errno> {
        let deadline_ns = self.plan.timeout.as_nanos() as u64;
        while !self.idle.all_started() || self.idle.connecting() > 0 {
            while !self.idle.all_started() && self.idle.connecting() < MAX_CONCURRENT_IDLE_CONNECTS
            {
                let Self { idle, epoll, sources, .. } = self;
                if let Err(failure) = idle.start_connect(epoll, IDLE_TAG, self.plan.target, sources)
                {
                    self.tally.failures.count(failure, None);
                }
            }
            self.wait_for_events(MAX_WAIT)?;
            let events = std::mem::take(&mut self.events);
            for event in &events {
                self.idle.on_event(event.data.u64() & !IDLE_TAG, event.flags);
            }
            self.events = events;
            if self.control.is_stopped() || self.clock.now_ns() > deadline_ns {
                break;
            }
        }
        Ok(())
    }

    /// Starts requests when they are due, until the schedule has finished and no request is in
    /// flight, or until a stop. Returns the scheduled end.
    fn run_phase(
        &mut self,
        requests: Option<u64>,
        duration: Duration,
    ) -> Result<Option<u64>, Errno> {
        let bounds = Bounds {
            requests,
            duration_ns: Some(duration.as_nanos() as u64),
            max_delay_ns: self.plan.timeout.as_nanos() as u64,
        };
        let burst = self.plan.burst.or(self.pipeline_as_burst());
        let mut schedule = Schedule::new(self.plan.pace, burst, bounds, self.share);
        while !self.control.is_stopped() {
            let action = self.start_due_requests(&mut schedule);
            if action == Action::Finished && self.in_flight() == 0 {
                break;
            }
            let reported = (self.tally.completed, self.tally.failures.total());
            self.wait(action)?;
            self.handle_events(&mut schedule);
            self.resume_deferred();
            self.sweep();
            self.report_progress(reported);
        }
        Ok(schedule.planned_end_ns())
    }

    /// Open loop: requests pipelined on one connection are due at the same time.
    fn pipeline_as_burst(&self) -> Option<Burst> {
        let connections = self.plan.lifetime.depth();
        let is_open_loop = matches!(self.plan.pace, Pace::OpenLoop(_));
        (is_open_loop && connections > 1).then_some(Burst { connections, pause: Duration::ZERO })
    }

    /// Returns the number of a new connection: unique among the threads.
    fn next_connection_number(&mut self) -> u64 {
        self.connection_number += self.share.count;
        self.connection_number
    }

    /// Draws a request of the list.
    fn draw(&mut self) -> u32 {
        self.plan.list.as_ref().map_or(0, |list| list.draw(&mut self.random))
    }

    fn in_flight(&self) -> usize {
        self.persistent.as_ref().map_or(self.slots.in_flight(), PersistentConnections::in_flight)
    }

    fn available_count(&self) -> usize {
        self.persistent
            .as_ref()
            .map_or(self.slots.free_count(), PersistentConnections::available_count)
    }

    /// Starts all requests that are due. Returns the next action of the schedule.
    fn start_due_requests(&mut self, schedule: &mut Schedule) -> Action {
        let action = loop {
            let now_ns = self.clock.now_ns();
            match schedule.next_action(now_ns, self.in_flight(), self.available_count()) {
                Action::Start { due_ns } if self.persistent.is_some() => {
                    self.start_persistent_request(due_ns, now_ns);
                }
                Action::Start { due_ns } => self.start_request(due_ns, now_ns),
                Action::DropLate => {
                    self.tally.failures.count(RequestFailure::NotSent, None);
                }
                action => break action,
            }
        };
        let completed = self.tally.completed;
        self.flush_started();
        if action == Action::WaitForConnection && self.tally.completed > completed {
            // Messages of a stream have ended already: the next ones start after
            // events have been handled.
            return Action::WaitUntil(self.woken_ns);
        }
        action
    }

    fn handle_events(&mut self, schedule: &mut Schedule) {
        let events = std::mem::take(&mut self.events);
        for event in &events {
            // A socket has at most one event per wait. A persistent connection that ended earlier
            // in this batch may still have one: see `on_persistent_event`.
            match event.data.u64() {
                TIMER_TAG => {}
                data if data & IDLE_TAG != 0 => self.idle.on_event(data & !IDLE_TAG, event.flags),
                index if self.persistent.is_some() => {
                    self.on_persistent_event(index as u32, event.flags);
                }
                index => self.on_event(index as u32, event.flags),
            }
            // Not after the batch: the server can work on new requests meanwhile.
            if self.available_count() > 0 {
                let _ = self.start_due_requests(schedule);
            }
        }
        self.events = events;
    }

    /// Waits for events, or until the next request or deferred continuation is due.
    fn wait(&mut self, action: Action) -> Result<(), Errno> {
        let due_ns = if let Action::WaitUntil(at_ns) = action { Some(at_ns) } else { None };
        let queues = [self.pauses.front(), self.backing_off.front()];
        let deferred = queues.into_iter().flatten().map(|deferred| deferred.at_ns);
        let first_ns = due_ns.into_iter().chain(deferred).min();
        let mut timeout = MAX_WAIT;
        if let Some(first_ns) = first_ns {
            let now_ns = self.clock.now_ns();
            let left = Duration::from_nanos(first_ns.saturating_sub(now_ns));
            timeout = timeout.min(left);
            if !left.is_zero() && left < MAX_WAIT {
                self.timer.arm(self.clock, first_ns)?;
                timeout = MAX_WAIT;
            }
        }
        self.wait_for_events(timeout.min(self.sweep_interval()))
    }

    fn wait_for_events(&mut self, timeout: Duration) -> Result<(), Errno> {
        // Whole milliseconds: epoll_pwait2, for shorter timeouts, needs Linux 5.11.
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

    fn resume_deferred(&mut self) {
        while let Some(deferred) = pop_due(&mut self.pauses, self.woken_ns) {
            let slot = &self.slots[deferred.index];
            if slot.generation == deferred.generation && slot.awaits == Awaits::Pause {
                self.send_next(deferred.index);
            }
        }
        while let Some(deferred) = pop_due(&mut self.backing_off, self.woken_ns) {
            if self.persistent.is_some() {
                self.end_backoff(deferred.index);
            } else {
                self.slots.release(deferred.index);
            }
        }
    }

    /// Returns true if a request that started at this time has taken longer than the timeout.
    fn is_overdue(&self, started_ns: u64) -> bool {
        let since_ns = self.clock.now_ns().saturating_sub(started_ns);
        since_ns > self.plan.timeout.as_nanos() as u64
    }

    fn sweep_interval(&self) -> Duration {
        (self.plan.timeout / 10).clamp(Duration::from_millis(1), MAX_WAIT)
    }

    fn sweep(&mut self) {
        if self.woken_ns < self.next_sweep_ns {
            return;
        }
        self.next_sweep_ns = self.woken_ns + self.sweep_interval().as_nanos() as u64;
        let timeout_ns = self.plan.timeout.as_nanos() as u64;
        if self.persistent.is_some() {
            self.sweep_persistent(timeout_ns);
        }
        for index in 0..self.slots.count() {
            let slot = &self.slots[index];
            let since_ns = self.woken_ns.saturating_sub(slot.started_ns);
            if slot.is_in_flight() && since_ns > timeout_ns {
                self.on_timeout(index);
            } else if slot.awaits == Awaits::Continue && since_ns > CONTINUE_TIMEOUT_NS {
                self.slots[index].exchange.on_continue_timeout();
                self.send_next(index);
            }
        }
    }

    fn report_progress(&mut self, (completed, failed): (u64, u64)) {
        if self.control.is_measuring() {
            let failures = self.tally.failures.total();
            self.control.add_progress(self.tally.completed - completed, failures - failed);
            let in_flight = self.in_flight();
            self.control.add_to_snapshot(&mut self.snapshot, &self.tally, in_flight);
        }
    }
}

fn pop_due(queue: &mut VecDeque<Deferred>, now_ns: u64) -> Option<Deferred> {
    let is_due = queue.front().is_some_and(|deferred| deferred.at_ns <= now_ns);
    if is_due { queue.pop_front() } else { None }
}
