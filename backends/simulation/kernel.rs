//! The simulated kernel: an accept queue, connections and their descriptors, and a clock. Both
//! interfaces, [`super::calls`] and [`super::ring`], use the few functions here, which check that
//! the server uses them correctly.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Arguments;
use std::os::fd::RawFd;

use super::choices::Choices;
use super::epoll::Epoll;
use super::model::response_bytes;
use super::peer::Peer;
use super::ring::Operations;
use super::setup::Setup;
use crate::stop::Stop;
use crate::worker::Closing;

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

/// Counts of what histories covered, so that a test can check that they covered enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coverage {
    /// Histories.
    pub histories: u64,
    /// Waits of the server for events or completions.
    pub waits: u64,
    /// Actions of peers, and advances of the clock.
    pub actions: u64,
    /// Connections that the server accepted.
    pub accepted: u64,
    /// Peers that have read their whole response.
    pub responses: u64,
    /// Injected failures of calls and operations.
    pub faults: u64,
    /// Connections that a deadline or the drain timeout closed.
    pub expired: u64,
    /// epoll events for closed connections.
    pub stale_events: u64,
    /// Stops that were requested at random.
    pub stops: u64,
}

impl Coverage {
    pub(super) fn fields(&mut self) -> [&mut u64; 9] {
        let Self {
            histories,
            waits,
            actions,
            accepted,
            responses,
            faults,
            expired,
            stale_events,
            stops,
        } = self;
        [histories, waits, actions, accepted, responses, faults, expired, stale_events, stops]
    }
}

impl std::ops::AddAssign for Coverage {
    fn add_assign(&mut self, mut other: Self) {
        for (sum, more) in self.fields().into_iter().zip(other.fields()) {
            *sum += *more;
        }
    }
}

pub(super) struct Kernel {
    pub(super) choices: Choices,
    pub(super) setup: Setup,
    pub(super) now_ms: u64,
    /// Time of the server's loop iteration.
    pub(super) iteration_ms: u64,
    pub(super) peers: Vec<Peer>,
    pub(super) accept_queue: VecDeque<usize>,
    pub(super) descriptors: BTreeMap<RawFd, usize>,
    /// Accepted by the kernel, and not reported by the server yet.
    pub(super) unreported: VecDeque<usize>,
    pub(super) listener: RawFd,
    pub(super) stop: Stop,
    /// Time at which the server learned of the stop.
    pub(super) stop_seen_ms: Option<u64>,
    pub(super) epoll: Epoll,
    pub(super) operations: Operations,
    /// Increases with every change.
    pub(super) progress: u64,
    pub(super) progress_at_wait: u64,
    idle_waits: u32,
    /// Number of calls, by name.
    pub(super) calls: BTreeMap<&'static str, u64>,
    /// Number of epoll events returned to the server.
    pub(super) events: u64,
    progress_at_call: u64,
    idle_calls: u32,
    /// Ticks since the last action, after the random part of the history.
    pub(super) idle_ticks: u32,
    /// Ticks without connections after the stop was seen.
    pub(super) empty_ticks: u32,
    pub(super) coverage: Coverage,
}

thread_local! {
    static KERNEL: RefCell<Option<Kernel>> = const { RefCell::new(None) };
    static IS_TRACED: Cell<bool> = const { Cell::new(false) };
}

/// Prints this thread's histories to stderr from now on.
pub fn trace_histories() {
    IS_TRACED.set(true);
}

impl Kernel {
    pub(super) fn new(choices: Choices, setup: Setup, listener: RawFd, stop: Stop) -> Self {
        Self {
            choices,
            now_ms: START_MS,
            iteration_ms: START_MS,
            peers: Vec::with_capacity(setup.peers),
            accept_queue: VecDeque::new(),
            descriptors: BTreeMap::new(),
            unreported: VecDeque::new(),
            listener,
            stop,
            stop_seen_ms: None,
            epoll: Epoll::default(),
            operations: Operations::new(&setup.options),
            progress: 0,
            progress_at_wait: u64::MAX,
            idle_waits: 0,
            calls: BTreeMap::new(),
            events: 0,
            progress_at_call: 0,
            idle_calls: 0,
            idle_ticks: 0,
            empty_ticks: 0,
            coverage: Coverage { histories: 1, ..Coverage::default() },
            setup,
        }
    }

    /// Redirects this thread's calls to this kernel.
    pub(super) fn install(self) {
        KERNEL.set(Some(self));
    }

    /// Redirects this thread's calls to the real kernel again.
    pub(super) fn uninstall() -> Self {
        KERNEL.take().expect("a simulated kernel was installed")
    }

    /// As [`Kernel::uninstall`], if one is installed.
    pub(super) fn remove() {
        KERNEL.take();
    }

    /// Calls this thread's simulated kernel, if it has one.
    pub(super) fn with<T>(call: impl FnOnce(&mut Self) -> T) -> Option<T> {
        KERNEL.with_borrow_mut(|kernel| kernel.as_mut().map(call))
    }

    /// Prints one line of the history if histories are traced.
    pub(super) fn trace(&self, what: Arguments<'_>) {
        if IS_TRACED.get() {
            eprintln!("{:>8} {what}", self.now_ms - START_MS);
        }
    }

    pub(super) fn coarse_ms(&self) -> u64 {
        self.now_ms - self.now_ms % COARSE_CLOCK_MS
    }

    pub(super) fn advance_clock(&mut self, ms: u64) {
        self.now_ms += ms;
        self.progress += 1;
    }

    /// Checks, when the server waits, that it has made progress and that no connection is past its
    /// deadline.
    pub(super) fn end_iteration(&mut self) {
        self.coverage.waits += 1;
        if std::mem::replace(&mut self.progress_at_wait, self.progress) == self.progress {
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

    pub(super) fn count_call(&mut self, name: &'static str) {
        *self.calls.entry(name).or_default() += 1;
        if std::mem::replace(&mut self.progress_at_call, self.progress) != self.progress {
            self.idle_calls = 0;
        }
        self.idle_calls += 1;
        assert!(self.idle_calls <= MAX_IDLE_CALLS, "the server spins: calls without progress");
    }

    /// Returns an errno if this call is to fail.
    pub(super) fn inject_fault(&mut self, errors: &[i32]) -> Option<i32> {
        if !self.choices.once_in(self.setup.fails_once_in) {
            return None;
        }
        self.coverage.faults += 1;
        self.progress += 1;
        Some(self.choices.pick(errors))
    }

    /// Returns the peer that a descriptor of the server is connected to.
    pub(super) fn peer_at(&self, fd: RawFd) -> usize {
        let peer = self.descriptors.get(&fd);
        *peer.expect("uses a closed descriptor")
    }

    pub(super) fn accept(&mut self, listener: RawFd) -> Result<RawFd, i32> {
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
        let index = self.accept_queue.pop_front().expect("the queue is not empty");
        // A real descriptor, since its owner may check that it is open.
        // SAFETY: dup takes no pointers.
        let fd = unsafe { libc::dup(listener) };
        assert!(fd >= 0, "no descriptors are left");
        self.descriptors.insert(fd, index);
        self.peers[index].fd = Some(fd);
        self.peers[index].was_accepted = true;
        self.unreported.push_back(index);
        self.progress += 1;
        self.coverage.accepted += 1;
        Ok(fd)
    }

    pub(super) fn receive(&mut self, fd: RawFd, buffer: &mut [u8]) -> Result<usize, i32> {
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

    pub(super) fn send(&mut self, fd: RawFd, bytes: &[u8]) -> Result<usize, i32> {
        let index = self.peer_at(fd);
        let fault = self.inject_fault(SEND_ERRORS);
        let peer = &mut self.peers[index];
        assert!(!peer.shut_write, "sends after it shut down");
        if let Some(script) = &peer.script {
            let all = [&peer.sent_stream[..], bytes].concat();
            let max = script.responses_due(peer.delivered);
            assert!(
                script.response_progress(&all).complete <= max,
                "responds to an incomplete request"
            );
        } else {
            let expected = peer.model.expected_response.expect("sends without a request");
            let response = response_bytes(&self.setup, expected);
            assert_eq!(
                bytes,
                &response[peer.sent..],
                "sends other bytes than the rest of the response"
            );
        }
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

    pub(super) fn shutdown(&mut self, fd: RawFd, how: i32) -> Result<(), i32> {
        let index = self.peer_at(fd);
        if how == libc::SHUT_RD {
            self.close_receive_side(index);
            return Ok(());
        }
        let peer = &mut self.peers[index];
        if let Some(progress) = peer.response_progress(peer.sent) {
            assert!(progress.complete > 0, "shuts down before the response");
            assert!(!progress.has_partial, "shuts down within a response");
        } else {
            let response_length = peer.model.response_length(&self.setup);
            assert!(response_length > 0, "shuts down before the response");
            assert_eq!(peer.sent, response_length, "shuts down within the response");
        }
        assert_eq!(how == libc::SHUT_RDWR, self.setup.closing == Closing::AtOnce);
        if peer.is_broken {
            return Err(libc::ENOTCONN);
        }
        peer.shut_write = true;
        peer.shut_read |= how == libc::SHUT_RDWR;
        self.progress += 1;
        Ok(())
    }

    /// Half-closes the receive side (SHUT_RD). At the stop the server does so for connections that
    /// have been idle for a tick. Data that has arrived before stays readable.
    fn close_receive_side(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        assert!(self.stop_seen_ms.is_some(), "peer {index}: SHUT_RD before the stop");
        let is_idle = match &peer.script {
            None => peer.model.is_idle_since(self.iteration_ms - 1000),
            Some(script) => script.is_between_requests(peer.model.received),
        };
        assert!(is_idle, "peer {index}: SHUT_RD within a request");
        assert!(!peer.shut_read, "peer {index}: SHUT_RD twice");
        peer.shut_read = true;
        peer.receive_closed = true;
        self.progress += 1;
    }

    /// Closes. The descriptor is released even if the call fails (close(2)).
    pub(super) fn close(&mut self, fd: RawFd) -> Result<(), i32> {
        let index = self.peer_at(fd);
        self.descriptors.remove(&fd);
        // SAFETY: `accept` opened it, and its owner has released it.
        unsafe { libc::close(fd) };
        self.progress += 1;
        let peer = &mut self.peers[index];
        peer.fd = None;
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
