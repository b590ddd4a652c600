//! Edge-triggered epoll: a port of the second reference program. With `--preset reference` it makes
//! the same system calls.
//!
//! epoll reports a descriptor only when it becomes ready (epoll(7)), so each handler repeats its
//! system call until EAGAIN. A handler that stops before must rearm: EPOLL_CTL_MOD makes the kernel
//! check readiness again and report what is left.

use std::io;
use std::os::fd::AsRawFd;

use crate::engine_options::EngineOptions;
use crate::epoll::syscalls::Syscalls;
use crate::error::BackendError;
use crate::kernel::Kernel;
use crate::lifecycle::Lifecycle;
use crate::protocol::{Next, Protocol};
use crate::slab::ConnectionId;
use crate::token::{Operation, Token};
use crate::worker::{Report, Worker};

const IN: u32 = (libc::EPOLLIN | libc::EPOLLET) as u32;
const OUT: u32 = (libc::EPOLLOUT | libc::EPOLLET) as u32;
/// Neither: EPOLLHUP and EPOLLERR are always reported (epoll_ctl(2)).
const NO_INTEREST: u32 = libc::EPOLLET as u32;

/// The listener's registration with epoll.
#[derive(Clone, Copy)]
enum ListenerInterest {
    Unregistered,
    Enabled,
    /// `on_accept` stopped before EAGAIN: the queue may hold connections that no edge will report.
    NeedsRearm,
}

pub(crate) struct Edge<K: Kernel, P: Protocol> {
    syscalls: Syscalls<K>,
    worker: Worker<P>,
    listener_interest: ListenerInterest,
    /// Shared by all connections: a handler consumes what it receives before it returns.
    receive_buffer: Box<[u8]>,
}

impl<K: Kernel, P: Protocol> Edge<K, P> {
    pub(crate) fn new(worker: Worker<P>, options: &EngineOptions) -> Result<Self, BackendError> {
        let receive_buffer = vec![0; worker.limits().receive_bytes()].into_boxed_slice();
        worker.make_listener_nonblocking(true)?;
        let syscalls = Syscalls::new(options.events_per_wait)?;
        let listener_interest = ListenerInterest::Unregistered;
        Ok(Self { syscalls, worker, listener_interest, receive_buffer })
    }

    pub(crate) fn run(mut self) -> Result<Report, BackendError> {
        let failed = |error| BackendError::unexpected("epoll_ctl", error);
        self.start_accept().map_err(failed)?;
        let stop = Token::of_worker(Operation::Stop);
        self.syscalls.add(self.worker.stop_fd(), IN, stop).map_err(failed)?;
        while self.worker.is_open() {
            let events = self.syscalls.wait()?;
            self.worker.begin_iteration(events, self.syscalls.now_ms());
            for index in 0..events {
                let token = self.syscalls.event(index).0;
                if !self.worker.is_stale(token) {
                    self.dispatch(token);
                }
            }
            self.end_iteration();
        }
        Ok(self.worker.take_report(self.syscalls.counts()))
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

    /// Registers interest for the connection's next step: the first call adds the descriptor, later
    /// calls modify it. Returns false if that failed; the connection is then closing.
    fn register_interest(&mut self, id: ConnectionId, step: Operation, events: u32) -> bool {
        let token = Token::new(step, id);
        let client = self.worker.connection(id);
        let registered = match client.pending.replace(step) {
            None => self.syscalls.add(client.fd(), events, token),
            Some(previous) if previous == step => Ok(()),
            Some(_) => self.syscalls.modify(client.fd(), events, token),
        };
        if let Err(error) = &registered {
            let next = self.worker.abort(id, error);
            self.start_next(id, next);
        }
        registered.is_ok()
    }

    /// Rearms the connection if its step stopped before EAGAIN, since no edge would report what is
    /// left. The new event is queued after those of other connections.
    fn rearm(&mut self, id: ConnectionId, next: Next) -> Next {
        let client = self.worker.connection(id);
        let (step, events) = match (client.pending, next) {
            (Some(Operation::Recv), Next::Recv) => (Operation::Recv, IN),
            (Some(Operation::Send), Next::Send) => (Operation::Send, OUT),
            _ => return next,
        };
        match self.syscalls.modify(client.fd(), events, Token::new(step, id)) {
            Ok(()) => next,
            Err(error) => self.worker.abort(id, &error),
        }
    }

    // ── The ten functions ────────────────────────────────────────────────────────────────────

    fn start_accept(&mut self) -> io::Result<()> {
        let (listener, token) = (self.worker.listener_fd(), Token::of_worker(Operation::Accept));
        self.listener_interest = match (self.listener_interest, self.worker.can_accept()) {
            (ListenerInterest::Unregistered, _) => {
                self.syscalls.add(listener, IN, token)?;
                ListenerInterest::Enabled
            }
            (ListenerInterest::NeedsRearm, true) => {
                self.syscalls.modify(listener, IN, token)?;
                ListenerInterest::Enabled
            }
            (unchanged, _) => unchanged,
        };
        Ok(())
    }

    fn on_accept(&mut self) {
        while self.worker.can_accept() {
            match self.syscalls.accept4(self.worker.listener_fd()) {
                Ok(fd) => {
                    let (id, next) = self.worker.on_accepted(fd);
                    self.start_next(id, next);
                }
                Err(error) => {
                    self.worker.on_accept_error(&error);
                    if error.kind() == io::ErrorKind::WouldBlock {
                        return;
                    }
                }
            }
        }
        self.listener_interest = ListenerInterest::NeedsRearm;
    }

    fn start_recv(&mut self, id: ConnectionId) {
        self.register_interest(id, Operation::Recv, IN);
    }

    fn on_recv(&mut self, id: ConnectionId) -> Next {
        let (mut next, mut budget) = (Next::Recv, self.worker.read_budget_bytes());
        while next != Next::Close && budget > 0 {
            match self.syscalls.recv(self.worker.fd(id), &mut self.receive_buffer) {
                Ok(0) => return self.worker.on_received(id, &[]),
                Ok(count) => {
                    next = self.worker.on_received(id, &self.receive_buffer[..count]);
                    budget = budget.saturating_sub(count);
                }
                Err(error) => return self.worker.on_error(id, &error),
            }
        }
        self.rearm(id, next)
    }

    fn start_send(&mut self, id: ConnectionId) {
        self.register_interest(id, Operation::Send, OUT);
    }

    fn on_send(&mut self, id: ConnectionId) -> Next {
        let (mut next, mut budget) = (Next::Send, self.worker.read_budget_bytes());
        while next == Next::Send && budget > 0 {
            match self.syscalls.send(self.worker.fd(id), self.worker.pending_output(id)) {
                Ok(count) => {
                    next = self.worker.on_sent(id, count);
                    budget = budget.saturating_sub(count);
                }
                Err(error) => return self.worker.on_error(id, &error),
            }
        }
        self.rearm(id, next)
    }

    fn start_shutdown(&mut self, id: ConnectionId) {
        if !self.register_interest(id, Operation::Shutdown, NO_INTEREST) {
            return;
        }
        let how = self.worker.shutdown_how();
        let result = self.syscalls.shutdown(self.worker.fd(id), how);
        // SHUT_WR raises no EPOLLHUP, which needs both directions closed. After an error, such as
        // ENOTCONN after a reset, there is nothing to wait for.
        if how != libc::SHUT_RDWR || result.is_err() {
            let next = self.on_shutdown(id);
            self.start_next(id, next);
        }
    }

    fn on_shutdown(&mut self, id: ConnectionId) -> Next {
        self.worker.on_shutdown(id)
    }

    fn start_close(&mut self, id: ConnectionId) {
        let fd = self.worker.take_fd(id);
        // A failure changes nothing: close(2) removes the registration as well (epoll(7), Q6).
        let _ = self.syscalls.delete(fd.as_raw_fd());
        self.syscalls.close(fd);
        self.on_close(id);
    }

    fn on_close(&mut self, id: ConnectionId) {
        self.worker.on_closed(id);
    }
}

impl<K: Kernel, P: Protocol> Lifecycle<P> for Edge<K, P> {
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
            self.on_accept();
        }
    }
    fn half_close_receive(&mut self, id: ConnectionId) {
        // An error means that the connection has ended already.
        let _ = self.syscalls.shutdown(self.worker.fd(id), libc::SHUT_RD);
    }
}
