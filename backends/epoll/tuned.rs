//! Tuned epoll: system calls are tried first, and epoll_wait(2) only follows EAGAIN.
//!
//! A step is tried as soon as it is wanted, since the kernel is mostly ready. After EAGAIN the
//! connection is registered, once and edge-triggered, and its readiness is remembered. Nothing is
//! deregistered before a close, which does that itself (epoll(7), Q6).
//!
//! The steps of one connection run in a row, while its memory is cached. A connection that is over
//! its read budget is deferred to the next iteration, so that others are not starved.

use std::io;
use std::time::Duration;

use crate::engine_options::{EngineOptions, ShutdownBy};
use crate::epoll::syscalls::Syscalls;
use crate::error::BackendError;
use crate::kernel::Kernel;
use crate::lifecycle::Lifecycle;
use crate::protocol::{Next, Protocol};
use crate::slab::ConnectionId;
use crate::token::{Operation, Token};
use crate::worker::{Report, TICK, Worker};

/// Only the listener is level-triggered: what one iteration does not accept is reported again.
const LISTENER: u32 = libc::EPOLLIN as u32;
const NO_INTEREST: u32 = 0;
/// Without EPOLLOUT: a socket is mostly writable, and each edge would be an event.
const IN: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
const IN_OUT: u32 = IN | libc::EPOLLOUT as u32;
/// The peer closed its send side, or the connection ended.
const HANGUP: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;

/// Most connections accepted in one iteration, so that open ones are not starved.
const MAX_ACCEPTS_PER_ITERATION: usize = 64;

/// The known readiness of a connection.
#[derive(Clone, Copy)]
struct Readiness {
    /// The registered events; [`NO_INTEREST`] before the registration.
    interest: u32,
    readable: bool,
    writable: bool,
    /// The peer closed its send side: a short receive is followed by an end of stream.
    has_hung_up: bool,
    /// Bytes that it may still receive or send in this iteration.
    read_budget_bytes: usize,
}

/// The listener's registration with epoll.
#[derive(Clone, Copy)]
enum ListenerInterest {
    Unregistered,
    Enabled,
    /// Backpressure: no connection can be admitted, so new ones stay in the accept queue. Their
    /// event would repeat on every wait.
    Disabled,
}

pub(crate) struct Tuned<K: Kernel, P: Protocol> {
    syscalls: Syscalls<K>,
    worker: Worker<P>,
    listener_interest: ListenerInterest,
    accepted: usize,
    readiness: Box<[Readiness]>,
    /// Steps to run in this iteration, the last one first.
    runnable: Vec<Token>,
    /// Steps of connections over their read budget, for the next iteration.
    deferred: Vec<Token>,
    /// Shared by all connections: a handler consumes what it receives before it returns.
    receive_buffer: Box<[u8]>,
    shutdown_by: ShutdownBy,
    busy_poll: Duration,
}

impl<K: Kernel, P: Protocol> Tuned<K, P> {
    pub(crate) fn new(worker: Worker<P>, options: &EngineOptions) -> Result<Self, BackendError> {
        let receive_buffer = vec![0; worker.limits().receive_bytes()].into_boxed_slice();
        let slots = worker.limits().connections;
        worker.make_listener_nonblocking(true)?;
        let readiness = Readiness {
            interest: NO_INTEREST,
            readable: true,
            writable: true,
            has_hung_up: false,
            read_budget_bytes: worker.read_budget_bytes(),
        };
        Ok(Self {
            syscalls: Syscalls::new(options.events_per_wait)?,
            worker,
            listener_interest: ListenerInterest::Unregistered,
            accepted: 0,
            readiness: vec![readiness; slots].into_boxed_slice(),
            runnable: Vec::with_capacity(slots + 1),
            deferred: Vec::with_capacity(slots),
            receive_buffer,
            shutdown_by: options.shutdown,
            busy_poll: Duration::from_micros(options.busy_poll_us.into()),
        })
    }

    pub(crate) fn run(mut self) -> Result<Report, BackendError> {
        let failed = |error| BackendError::unexpected("epoll_ctl", error);
        self.start_accept().map_err(failed)?;
        let stop = Token::of_worker(Operation::Stop);
        self.syscalls.add(self.worker.stop_fd(), LISTENER, stop).map_err(failed)?;
        while self.worker.is_open() {
            let events = self.wait()?;
            self.worker.begin_iteration(events, self.syscalls.now_ms());
            self.accepted = 0;
            self.resume_deferred();
            // Pushed in reverse, so that the first event runs first.
            for index in (0..events).rev() {
                let (token, event) = self.syscalls.event(index);
                if !self.worker.is_stale(token) {
                    self.on_event(token, event);
                }
            }
            self.run_steps();
            self.end_iteration();
        }
        Ok(self.worker.take_report(self.syscalls.counts()))
    }

    /// Waits for events; it only polls while steps are deferred, and busy polls before it sleeps.
    fn wait(&mut self) -> Result<usize, BackendError> {
        if !self.runnable.is_empty() || !self.deferred.is_empty() {
            return self.syscalls.wait_for(Duration::ZERO);
        }
        if !self.busy_poll.is_zero() {
            let end = K::clock() + self.busy_poll;
            while K::clock() < end {
                let events = self.syscalls.wait_for(Duration::ZERO)?;
                if events > 0 {
                    return Ok(events);
                }
            }
        }
        self.syscalls.wait_for(TICK)
    }

    // ── Scheduling ───────────────────────────────────────────────────────────────────────────

    /// Makes deferred steps runnable, each with a new budget.
    fn resume_deferred(&mut self) {
        let read_budget_bytes = self.worker.read_budget_bytes();
        for token in self.deferred.drain(..) {
            self.readiness[token.id.slot as usize].read_budget_bytes = read_budget_bytes;
            self.runnable.push(token);
        }
    }

    /// Runs all runnable steps, and the steps that follow from them.
    fn run_steps(&mut self) {
        while let Some(token) = self.runnable.pop() {
            // A deadline may have closed it while it was deferred.
            if token.operation.is_of_worker() || self.worker.connections.get(token.id).is_some() {
                self.dispatch(token);
            }
        }
    }

    /// Records the readiness that an event reports, and schedules the step that waited for it.
    fn on_event(&mut self, token: Token, event: u32) {
        if token.operation.is_of_worker() {
            return self.runnable.push(token);
        }
        let read_budget_bytes = self.worker.read_budget_bytes();
        let ready = &mut self.readiness[token.id.slot as usize];
        ready.readable |= event & (libc::EPOLLIN as u32 | HANGUP) != 0;
        ready.writable |= event & (libc::EPOLLOUT as u32 | HANGUP) != 0;
        ready.has_hung_up |= event & HANGUP != 0;
        let (readable, writable) = (ready.readable, ready.writable);
        match self.worker.connection(token.id).pending {
            Some(Operation::Recv) if readable => self.schedule(Operation::Recv, token.id),
            Some(Operation::Send) if writable => self.schedule(Operation::Send, token.id),
            _ => return,
        }
        self.readiness[token.id.slot as usize].read_budget_bytes = read_budget_bytes;
    }

    /// Schedules a step: now, or in the next iteration if the connection is over its read budget.
    fn schedule(&mut self, operation: Operation, id: ConnectionId) {
        self.worker.connection(id).pending = None;
        let has_budget = self.readiness[id.slot as usize].read_budget_bytes > 0;
        let steps = if has_budget { &mut self.runnable } else { &mut self.deferred };
        steps.push(Token::new(operation, id));
    }

    /// Registers interest after EAGAIN.
    fn register_interest(&mut self, id: ConnectionId, operation: Operation, events: u32) {
        let token = Token::new(operation, id);
        let ready = &mut self.readiness[id.slot as usize];
        let entry = self.worker.connection(id);
        entry.pending = Some(operation);
        let registered = match ready.interest {
            NO_INTEREST => self.syscalls.add(entry.fd(), events, token),
            interest if interest & events == events => Ok(()),
            _ => self.syscalls.modify(entry.fd(), events, token),
        };
        match registered {
            Ok(()) => ready.interest |= events,
            Err(error) => {
                let next = self.worker.abort(id, &error);
                self.start_next(id, next);
            }
        }
    }

    /// Accepts one connection; `None` if there was none.
    fn accept_one(&mut self) -> Option<(ConnectionId, Next)> {
        match self.syscalls.accept4(self.worker.listener_fd()) {
            Ok(fd) => {
                let (id, next) = self.worker.on_accepted(fd);
                let read_budget_bytes = self.worker.read_budget_bytes();
                self.readiness[id.slot as usize] = Readiness {
                    interest: NO_INTEREST,
                    readable: true,
                    writable: true,
                    has_hung_up: false,
                    read_budget_bytes,
                };
                Some((id, next))
            }
            Err(error) => {
                self.worker.on_accept_error(&error);
                None
            }
        }
    }

    fn dispatch(&mut self, token: Token) {
        let id = token.id;
        let next = match token.operation {
            Operation::Accept => return self.on_accept(),
            Operation::Recv => self.on_recv(id),
            Operation::Send => self.on_send(id),
            Operation::Shutdown => self.on_shutdown(id),
            Operation::Stop => return self.on_stop(),
            other => unreachable!("{other:?} is never registered with epoll"),
        };
        self.end_step(token, next);
    }

    // ── The ten functions ────────────────────────────────────────────────────────────────────

    fn start_accept(&mut self) -> io::Result<()> {
        let (listener, token) = (self.worker.listener_fd(), Token::of_worker(Operation::Accept));
        self.listener_interest = match (self.listener_interest, self.worker.can_accept()) {
            (ListenerInterest::Unregistered, _) => {
                self.syscalls.add(listener, LISTENER, token)?;
                ListenerInterest::Enabled
            }
            (ListenerInterest::Enabled, false) => {
                self.syscalls.modify(listener, NO_INTEREST, token)?;
                ListenerInterest::Disabled
            }
            (ListenerInterest::Disabled, true) => {
                self.syscalls.modify(listener, LISTENER, token)?;
                ListenerInterest::Enabled
            }
            (unchanged, _) => unchanged,
        };
        Ok(())
    }

    fn on_accept(&mut self) {
        if self.accepted == MAX_ACCEPTS_PER_ITERATION || !self.worker.can_accept() {
            return;
        }
        if let Some((id, next)) = self.accept_one() {
            self.accepted += 1;
            // The next accept runs when this connection has no runnable step left.
            self.runnable.push(Token::of_worker(Operation::Accept));
            self.start_next(id, next);
        }
    }

    fn start_recv(&mut self, id: ConnectionId) {
        if self.readiness[id.slot as usize].readable {
            self.schedule(Operation::Recv, id);
        } else {
            self.register_interest(id, Operation::Recv, IN);
        }
    }

    fn on_recv(&mut self, id: ConnectionId) -> Next {
        let received = self.syscalls.recv(self.worker.fd(id), &mut self.receive_buffer);
        let ready = &mut self.readiness[id.slot as usize];
        match received {
            Ok(count) => {
                ready.read_budget_bytes = ready.read_budget_bytes.saturating_sub(count);
                let next = self.worker.on_received(id, &self.receive_buffer[..count]);
                // A short receive empties the socket (epoll(7), Q9), except before an urgent byte.
                // A registration would report that; a registered connection must try again.
                let is_certain = ready.interest == NO_INTEREST || next != Next::Recv;
                let is_full = count == self.receive_buffer.len();
                ready.readable = is_full || ready.has_hung_up || !is_certain;
                next
            }
            Err(error) => {
                ready.readable = error.kind() != io::ErrorKind::WouldBlock;
                self.worker.on_error(id, &error)
            }
        }
    }

    fn start_send(&mut self, id: ConnectionId) {
        if self.readiness[id.slot as usize].writable {
            self.schedule(Operation::Send, id);
        } else {
            self.register_interest(id, Operation::Send, IN_OUT);
        }
    }

    fn on_send(&mut self, id: ConnectionId) -> Next {
        let fd = self.worker.fd(id);
        let output = self.worker.pending_output(id);
        let length = output.bytes.len();
        let sent = self.syscalls.send(fd, output);
        let ready = &mut self.readiness[id.slot as usize];
        match sent {
            Ok(count) => {
                // A short send fills the socket buffer (epoll(7), Q9).
                ready.writable = count == length || ready.interest == IN_OUT;
                ready.read_budget_bytes = ready.read_budget_bytes.saturating_sub(count);
                self.worker.on_sent(id, count)
            }
            Err(error) => {
                ready.writable = error.kind() != io::ErrorKind::WouldBlock;
                self.worker.on_error(id, &error)
            }
        }
    }

    fn start_shutdown(&mut self, id: ConnectionId) {
        // A close without a shutdown would send a reset if bytes are unread.
        let is_empty = !self.readiness[id.slot as usize].readable;
        if self.worker.lingers() || self.shutdown_by != ShutdownBy::Close || !is_empty {
            let how = self.worker.shutdown_how();
            // An error means that the connection has ended already.
            let _ = self.syscalls.shutdown(self.worker.fd(id), how);
        }
        let ready = &mut self.readiness[id.slot as usize];
        ready.readable |= ready.interest != NO_INTEREST;
        let next = self.on_shutdown(id);
        self.start_next(id, next);
    }

    fn on_shutdown(&mut self, id: ConnectionId) -> Next {
        self.worker.on_shutdown(id)
    }

    fn start_close(&mut self, id: ConnectionId) {
        let fd = self.worker.take_fd(id);
        self.syscalls.close(fd);
        self.on_close(id);
    }

    fn on_close(&mut self, id: ConnectionId) {
        self.worker.on_closed(id);
    }
}

impl<K: Kernel, P: Protocol> Lifecycle<P> for Tuned<K, P> {
    fn worker(&mut self) -> &mut Worker<P> {
        &mut self.worker
    }

    fn start_next(&mut self, id: ConnectionId, next: Next) {
        match next {
            Next::Recv => self.start_recv(id),
            Next::Send => self.start_send(id),
            Next::Shutdown => self.start_shutdown(id),
            Next::Close => self.start_close(id),
        }
    }

    fn resume_accept(&mut self) {
        if self.start_accept().is_err() {
            self.worker.pause_accepting();
        }
    }

    fn stop_accepting(&mut self) {
        // The eventfd stays readable for the other workers. The listener's queue is now emptied by
        // `accept_queued`, since an empty queue raises no event to end with.
        let _ = self.syscalls.delete(self.worker.stop_fd());
        let _ = self.syscalls.delete(self.worker.listener_fd());
    }

    fn accept_queued(&mut self) {
        while self.worker.can_accept() {
            if let Some((id, next)) = self.accept_one() {
                self.start_next(id, next);
            }
        }
    }
    fn half_close_receive(&mut self, id: ConnectionId) {
        // An error means that the connection has ended already.
        let _ = self.syscalls.shutdown(self.worker.fd(id), libc::SHUT_RD);
    }
}
