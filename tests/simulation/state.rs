//! The simulated kernel: an accept queue, connections and their descriptors, and a clock. Both
//! interfaces, [`crate::simulated_kernel`] and [`crate::ring`], use the few functions here, which
//! check that the server uses them correctly.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Arguments;
use std::os::fd::RawFd;
use std::time::Duration;

use ringpoll_backends::{Closing, Stop};

use crate::choices::Choices;
use crate::coverage::Coverage;
use crate::epoll::Epoll;
use crate::peer::Peer;
use crate::ring::{Ring, SQ_THREAD_IDLE_MS};
use crate::setup::{Service, Setup};

/// Time at which the server starts.
const START_MS: u64 = 1_000_000;

/// Resolution of CLOCK_MONOTONIC_COARSE.
const COARSE_CLOCK_MS: u64 = 4;

/// Consecutive waits without progress before the server counts as spinning.
const MAX_IDLE_WAITS: u32 = 4;

/// Consecutive calls without progress before the server counts as spinning.
const MAX_IDLE_CALLS: u32 = 1000;

const ACCEPT_ERRORS: &[i32] = &[
    libc::ECONNABORTED,
    libc::EMFILE,
    libc::ENFILE,
    libc::ENOBUFS,
    libc::ENOMEM,
    libc::EPERM,
    libc::EPROTO,
    libc::EINTR,
    libc::ENETDOWN,
];
const RECV_ERRORS: &[i32] =
    &[libc::EINTR, libc::ECONNRESET, libc::ETIMEDOUT, libc::ENOMEM, libc::EHOSTUNREACH];
const SEND_ERRORS: &[i32] =
    &[libc::EINTR, libc::EPIPE, libc::ECONNRESET, libc::ENOBUFS, libc::ENOMEM, libc::ETIMEDOUT];

pub(crate) struct State {
    pub(crate) choices: Choices,
    pub(crate) setup: Setup,
    pub(crate) now_ms: u64,
    /// Microseconds after `now_ms`.
    now_us: u64,
    /// Time of the server's loop iteration.
    pub(crate) iteration_ms: u64,
    pub(crate) peers: Vec<Peer>,
    pub(crate) accept_queue: VecDeque<usize>,
    pub(crate) descriptors: BTreeMap<RawFd, usize>,
    /// Accepted by the kernel, and not reported by the server yet.
    pub(crate) unreported: VecDeque<usize>,
    pub(crate) listener: RawFd,
    pub(crate) listener_inode: u64,
    pub(crate) stop: Stop,
    /// Time at which the server learned of the stop.
    pub(crate) stop_seen_ms: Option<u64>,
    pub(crate) epoll: Epoll,
    pub(crate) ring: Ring,
    /// Increases with every change.
    pub(crate) progress: u64,
    pub(crate) progress_at_wait: u64,
    /// The server has read the clock since the last wait.
    is_busy_polling: bool,
    idle_waits: u32,
    /// Number of calls, by name.
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// Number of epoll events returned to the server.
    pub(crate) events: u64,
    progress_at_call: u64,
    idle_calls: u32,
    /// Ticks since the last action, after the random part of the history.
    pub(crate) idle_ticks: u32,
    /// Ticks since the random part of a history that stops early.
    pub(crate) early_ticks: u32,
    /// Ticks without connections after the stop was seen.
    pub(crate) empty_ticks: u32,
    pub(crate) coverage: Coverage,
}

thread_local! {
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
    static IS_TRACED: Cell<bool> = const { Cell::new(false) };
}

/// Prints this thread's histories to stderr from now on.
pub fn trace_histories() {
    IS_TRACED.set(true);
}

impl State {
    pub(crate) fn new(choices: Choices, setup: Setup, listener: RawFd, stop: Stop) -> Self {
        Self {
            choices,
            now_ms: START_MS,
            now_us: 0,
            iteration_ms: START_MS,
            peers: Vec::with_capacity(setup.peers),
            accept_queue: VecDeque::new(),
            descriptors: BTreeMap::new(),
            unreported: VecDeque::new(),
            listener,
            listener_inode: inode(listener).expect("it is open"),
            stop,
            stop_seen_ms: None,
            epoll: Epoll::default(),
            ring: Ring::new(&setup.options),
            progress: 0,
            progress_at_wait: u64::MAX,
            is_busy_polling: false,
            idle_waits: 0,
            calls: BTreeMap::new(),
            events: 0,
            progress_at_call: 0,
            idle_calls: 0,
            idle_ticks: 0,
            early_ticks: 0,
            empty_ticks: 0,
            coverage: Coverage { histories: 1, ..Coverage::default() },
            setup,
        }
    }

    /// Makes this the kernel of the thread.
    pub(crate) fn install(self) {
        STATE.set(Some(self));
    }

    /// Takes the kernel from the thread.
    pub(crate) fn uninstall() -> Self {
        STATE.take().expect("a simulated kernel was installed")
    }

    /// As [`State::uninstall`], if one is installed.
    pub(crate) fn remove() {
        STATE.take();
    }

    /// Calls this thread's simulated kernel.
    pub(crate) fn with<T>(call: impl FnOnce(&mut Self) -> T) -> T {
        STATE.with_borrow_mut(|state| call(state.as_mut().expect("the thread has a kernel")))
    }

    /// Prints one line of the history if histories are traced.
    pub(crate) fn trace(&self, what: Arguments<'_>) {
        if IS_TRACED.get() {
            eprintln!("{:>8} {what}", self.now_ms - START_MS);
        }
    }

    pub(crate) fn coarse_ms(&self) -> u64 {
        self.now_ms - self.now_ms % COARSE_CLOCK_MS
    }

    pub(crate) fn advance_clock(&mut self, ms: u64) {
        self.now_ms += ms;
        self.progress += 1;
        if ms >= SQ_THREAD_IDLE_MS {
            self.idle_sq_thread();
        }
    }

    /// Checks, when the server waits, that it has made progress and that no connection is past its
    /// deadline.
    pub(crate) fn end_iteration(&mut self) {
        self.coverage.waits += 1;
        if std::mem::take(&mut self.is_busy_polling) {
            // Several waits without progress are normal.
            self.idle_waits = 0;
        } else if std::mem::replace(&mut self.progress_at_wait, self.progress) == self.progress {
            self.idle_waits += 1;
        } else {
            self.idle_waits = 0;
        }
        assert!(self.idle_waits <= MAX_IDLE_WAITS, "the server spins: waits without progress");
        let last_tick_ms = self.iteration_ms.saturating_sub(1000);
        for (index, peer) in self.peers.iter().enumerate() {
            let model = &peer.model;
            let is_overdue =
                model.is_open() && !model.is_closing() && model.is_overdue(last_tick_ms);
            assert!(!is_overdue, "peer {index} is past its deadline");
        }
    }

    /// Counts a system call.
    pub(crate) fn count_call(&mut self, name: &'static str) {
        *self.calls.entry(name).or_default() += 1;
        self.check_progress();
    }

    /// Notes the time of a loop iteration: the server reads its clock after each wait.
    pub(crate) fn begin_iteration(&mut self) -> u64 {
        self.check_progress();
        self.iteration_ms = self.coarse_ms();
        self.iteration_ms
    }

    /// Lets some microseconds pass while the server busy-polls, in which anything may happen.
    pub(crate) fn busy_poll_clock(&mut self) -> Duration {
        self.coverage.busy_polls += 1;
        self.is_busy_polling = true;
        self.check_progress();
        self.now_us += 10;
        if self.now_us >= 1000 {
            self.now_us = 0;
            self.now_ms += 1;
        }
        if self.choices.once_in(4) {
            self.act_at_random();
        }
        Duration::from_micros(self.now_ms * 1000 + self.now_us)
    }

    /// Sleeps for a time that is too short for the clock.
    pub(crate) fn sleep(&mut self, _time: Duration) {
        self.check_progress();
        self.act_at_random();
        self.run_sq_thread(true);
    }

    fn check_progress(&mut self) {
        if std::mem::replace(&mut self.progress_at_call, self.progress) != self.progress {
            self.idle_calls = 0;
        }
        self.idle_calls += 1;
        assert!(self.idle_calls <= MAX_IDLE_CALLS, "the server spins: calls without progress");
    }

    /// Returns an errno if this call is to fail.
    pub(crate) fn inject_fault(&mut self, errors: &[i32]) -> Option<i32> {
        if !self.choices.once_in(self.setup.fails_once_in) {
            return None;
        }
        self.coverage.faults += 1;
        self.progress += 1;
        Some(self.choices.pick(errors))
    }

    /// Returns the peer that a descriptor of the server is connected to.
    pub(crate) fn peer_at(&self, fd: RawFd) -> usize {
        *self.descriptors.get(&fd).expect("uses a closed descriptor")
    }

    /// Accepts, and returns a descriptor.
    pub(crate) fn accept(&mut self, listener: RawFd) -> Result<RawFd, i32> {
        assert_eq!(listener, self.listener, "accepts from another descriptor than the listener");
        if let Some(errno) = self.inject_fault(ACCEPT_ERRORS) {
            if matches!(errno, libc::ECONNABORTED | libc::EPROTO)
                && let Some(peer) = self.accept_queue.pop_front()
            {
                self.peers[peer].break_connection(errno);
                self.peers[peer].exempt("it was reset before the accept");
            }
            return Err(errno);
        }
        if self.accept_queue.is_empty() {
            return Err(libc::EAGAIN);
        }
        if self.descriptors.len() >= self.setup.descriptors {
            return Err(libc::EMFILE);
        }
        // A real descriptor, since its owner may check that it is open.
        // SAFETY: dup takes no pointers.
        let fd = unsafe { libc::dup(listener) };
        assert!(fd >= 0, "no descriptors are left");
        let index = self.accept_queue.pop_front().expect("the queue is not empty");
        self.descriptors.insert(fd, index);
        self.peers[index].descriptor = Some(fd);
        self.peers[index].was_accepted = true;
        self.unreported.push_back(index);
        self.progress += 1;
        self.coverage.accepted += 1;
        Ok(fd)
    }

    pub(crate) fn receive(&mut self, fd: RawFd, buffer: &mut [u8]) -> Result<usize, i32> {
        let index = self.peer_at(fd);
        let fault = self.inject_fault(RECV_ERRORS);
        let peer = &mut self.peers[index];
        if let Some(errno) = fault {
            if errno != libc::EINTR {
                peer.exempt("a receive failed");
            }
            return Err(errno);
        }
        let max = peer.unread().min(buffer.len());
        if max == 0 {
            return match peer.error.take() {
                Some(errno) => Err(errno),
                None if peer.is_broken || peer.half_closed || peer.shut_read => Ok(0),
                None => Err(libc::EAGAIN),
            };
        }
        let count = max - self.choices.below(4).saturating_sub(1).min(max - 1);
        buffer[..count].copy_from_slice(&peer.stream[peer.delivered..][..count]);
        peer.delivered += count;
        if count < max {
            // A receive that does not fill the buffer has taken all data, so the rest is new data.
            self.epoll.mark_changed(fd);
        }
        self.progress += 1;
        Ok(count)
    }

    pub(crate) fn send(&mut self, fd: RawFd, bytes: &[u8]) -> Result<usize, i32> {
        let index = self.peer_at(fd);
        let fault = self.inject_fault(SEND_ERRORS);
        let peer = &mut self.peers[index];
        assert!(!peer.shut_write, "sends after it shut down");
        peer.check_output(bytes, &self.setup);
        if let Some(errno) = fault {
            if errno != libc::EINTR {
                peer.exempt("a send failed");
            }
            return Err(errno);
        }
        if peer.is_broken {
            return Err(peer.error.take().unwrap_or(libc::EPIPE));
        }
        let max = peer.send_room(self.setup.send_buffer_bytes).min(bytes.len());
        if max == 0 {
            return Err(libc::EAGAIN);
        }
        let count = max - self.choices.below(4).saturating_sub(1).min(max - 1);
        peer.sent += count;
        if peer.script.is_some() {
            peer.sent_stream.extend_from_slice(&bytes[..count]);
        }
        if peer.has_left {
            peer.break_connection(libc::ECONNRESET);
        }
        self.progress += 1;
        Ok(count)
    }

    pub(crate) fn shutdown(&mut self, fd: RawFd, how: i32) -> Result<(), i32> {
        let index = self.peer_at(fd);
        if how == libc::SHUT_RD {
            self.check_half_close(index);
            let peer = &mut self.peers[index];
            peer.shut_read = true;
            peer.receive_closed = true;
            self.progress += 1;
            self.coverage.half_closes += 1;
            return Ok(());
        }
        let peer = &mut self.peers[index];
        peer.check_end_of_output(&self.setup);
        assert_eq!(how == libc::SHUT_RDWR, self.setup.closing == Closing::AtOnce);
        if peer.is_broken {
            return Err(libc::ENOTCONN);
        }
        peer.shut_write = true;
        peer.shut_read |= how == libc::SHUT_RDWR;
        self.progress += 1;
        Ok(())
    }

    /// Checks that the receive side may be half-closed (SHUT_RD): at the stop the server does so
    /// for connections that are idle. Data that has arrived before stays readable.
    fn check_half_close(&self, index: usize) {
        let peer = &self.peers[index];
        assert!(self.stop_seen_ms.is_some(), "peer {index}: SHUT_RD before the stop");
        let is_idle = match &peer.script {
            None if self.setup.service.is_stream() => {
                peer.model.is_inactive_since(self.iteration_ms - 1000)
                    && self.setup.service != Service::Chargen
            }
            None => peer.model.is_idle_since(self.iteration_ms - 1000),
            Some(script) => script.is_between_requests(peer.model.received),
        };
        assert!(is_idle, "peer {index}: SHUT_RD within a request");
        assert!(!peer.shut_read, "peer {index}: SHUT_RD twice");
    }

    /// Closes. The descriptor is released even if the call fails (close(2)).
    pub(crate) fn close(&mut self, fd: RawFd) -> Result<(), i32> {
        let index = self.peer_at(fd);
        self.descriptors.remove(&fd);
        // SAFETY: `accept` opened it, and its owner has released it.
        unsafe { libc::close(fd) };
        self.progress += 1;
        let peer = &mut self.peers[index];
        peer.descriptor = None;
        if peer.unread() > 0 && !peer.is_broken {
            // Closing with unread data resets the connection, and the peer loses what it has not
            // read.
            let model = &peer.model;
            let allowed = self.setup.closing == Closing::AtOnce
                || model.has_lingered_enough(&self.setup)
                || model.has_expired
                || model.has_failed
                || peer.receive_closed;
            assert!(allowed, "peer {index}: closes with unread bytes, which resets the connection");
            peer.was_reset_by_server = true;
            peer.exempt("the server closed with unread bytes");
        }
        self.inject_fault(&[libc::EINTR, libc::EIO]).map_or(Ok(()), Err)
    }
}

/// Returns the inode of what the descriptor refers to; `None` if it is closed. Descriptors of
/// connections refer to the same socket as the listener.
pub(crate) fn inode(fd: RawFd) -> Option<u64> {
    // SAFETY: all-zero bytes are a valid stat.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a struct that lives through the call.
    let result = unsafe { libc::fstat(fd, &raw mut stat) };
    (result == 0).then_some(stat.st_ino)
}
