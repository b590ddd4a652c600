//! epoll, edge triggered: the second of the documents, step by step.
//!
//! The kernel reports only that something has changed, so each answer goes on until EAGAIN says
//! that there is nothing left. Who stops earlier must ask again: EPOLL_CTL_MOD makes the kernel
//! look afresh, and report at once what is still there.

use std::io;
use std::os::fd::AsRawFd;

use crate::backend::{EngineOptions, Report, Worker};
use crate::connection::Next;
use crate::epoll::syscalls::Syscalls;
use crate::error::BackendError;
use crate::lifecycle::Lifecycle;
use crate::server::Server;
use crate::slots::ConnectionId;
use crate::token::{Operation, Token};

const IN: u32 = (libc::EPOLLIN | libc::EPOLLET) as u32;
const OUT: u32 = (libc::EPOLLOUT | libc::EPOLLET) as u32;
/// HUP and ERR are reported whatever is asked for.
const NOTHING: u32 = libc::EPOLLET as u32;

/// How the listener stands with epoll.
#[derive(Clone, Copy)]
enum Listening {
    NotYet,
    Armed,
    /// The queue may hold somebody whom the last edge has announced already.
    LeftEarly,
}

pub(crate) struct Edge {
    syscalls: Syscalls,
    server: Server,
    listening: Listening,
    /// One for all connections: between two answers nothing stands in it.
    receive_buffer: Box<[u8]>,
}

impl Edge {
    pub(crate) fn new(worker: Worker, options: &EngineOptions) -> Result<Self, BackendError> {
        let receive_buffer = vec![0; worker.limits.receive_bytes()].into_boxed_slice();
        let server = Server::new(worker);
        server.make_listener_nonblocking(true)?;
        let syscalls = Syscalls::new(options.events_per_wait)?;
        Ok(Self { syscalls, server, listening: Listening::NotYet, receive_buffer })
    }

    pub(crate) fn run(mut self) -> Result<Report, BackendError> {
        let failed = |error| BackendError::unexpected("epoll_ctl", error);
        self.accept().map_err(failed)?;
        self.watch_stop().map_err(failed)?;
        while self.server.is_open() {
            let events = self.syscalls.wait()?;
            self.server.turn(events);
            for index in 0..events {
                let (token, event) = self.syscalls.event(index);
                if !self.server.is_stale(token) {
                    self.answer(token, event);
                }
            }
            self.end_turn();
        }
        Ok(self.server.take_report(self.syscalls.counts()))
    }

    fn watch_stop(&mut self) -> io::Result<()> {
        let token = Token::of_worker(Operation::Stop);
        self.syscalls.add(self.server.stop_fd(), IN, token)
    }

    /// Says what a connection waits for: its first ask registers it, the later ones change that.
    /// Returns whether it is still there: a failure closes it.
    fn wait_for(&mut self, id: ConnectionId, operation: Operation, events: u32) -> bool {
        let token = Token::new(operation, id);
        let client = self.server.client(id);
        let asked = match client.pending.replace(operation) {
            None => self.syscalls.add(client.fd(), events, token),
            Some(already) if already == operation => Ok(()),
            Some(_) => self.syscalls.modify(client.fd(), events, token),
        };
        if let Err(error) = &asked {
            let next = self.server.given_up(id, error);
            self.advance(id, next);
        }
        asked.is_ok()
    }

    /// Whoever stops before EAGAIN and wants the same again has no edge to wait for: asking anew
    /// makes the kernel report what is left, behind the others who have waited for their turn.
    fn leave_early(&mut self, id: ConnectionId, next: Next) -> Next {
        let client = self.server.client(id);
        let (operation, events) = match (client.pending, next) {
            (Some(Operation::Recv), Next::Recv) => (Operation::Recv, IN),
            (Some(Operation::Send), Next::Send) => (Operation::Send, OUT),
            _ => return next,
        };
        match self.syscalls.modify(client.fd(), events, Token::new(operation, id)) {
            Ok(()) => next,
            Err(error) => self.server.given_up(id, &error),
        }
    }
}

impl Lifecycle for Edge {
    type Event = u32;

    fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    fn accept(&mut self) -> io::Result<()> {
        let (listener, token) = (self.server.listener_fd(), Token::of_worker(Operation::Accept));
        self.listening = match (self.listening, self.server.may_accept()) {
            (Listening::NotYet, _) => {
                self.syscalls.add(listener, IN, token)?;
                Listening::Armed
            }
            (Listening::LeftEarly, true) => {
                self.syscalls.modify(listener, IN, token)?;
                Listening::Armed
            }
            (as_it_is, _) => as_it_is,
        };
        Ok(())
    }

    fn accepted(&mut self, _event: u32) {
        while self.server.may_accept() {
            match self.syscalls.accept4(self.server.listener_fd()) {
                Ok(fd) => {
                    let id = self.server.accepted(fd);
                    self.advance(id, Next::Recv);
                }
                Err(error) => {
                    self.server.accept_failed(&error);
                    if error.kind() == io::ErrorKind::WouldBlock {
                        return;
                    }
                }
            }
        }
        self.listening = Listening::LeftEarly;
    }

    fn recv(&mut self, id: ConnectionId) {
        self.wait_for(id, Operation::Recv, IN);
    }

    fn received(&mut self, id: ConnectionId, _event: u32) -> Next {
        let (mut next, mut turn_bytes) = (Next::Recv, self.server.turn_bytes());
        while next != Next::Close && turn_bytes > 0 {
            match self.syscalls.recv(self.server.fd(id), &mut self.receive_buffer) {
                Ok(0) => return self.server.received(id, &[]),
                Ok(count) => {
                    next = self.server.received(id, &self.receive_buffer[..count]);
                    turn_bytes = turn_bytes.saturating_sub(count);
                }
                Err(error) => return self.server.failed(id, &error),
            }
        }
        self.leave_early(id, next)
    }

    fn send(&mut self, id: ConnectionId) {
        self.wait_for(id, Operation::Send, OUT);
    }

    fn sent(&mut self, id: ConnectionId, _event: u32) -> Next {
        let (mut next, mut turn_bytes) = (Next::Send, self.server.turn_bytes());
        while next == Next::Send && turn_bytes > 0 {
            match self.syscalls.send(self.server.fd(id), self.server.unsent(id)) {
                Ok(count) => {
                    next = self.server.sent(id, count);
                    turn_bytes = turn_bytes.saturating_sub(count);
                }
                Err(error) => return self.server.failed(id, &error),
            }
        }
        self.leave_early(id, next)
    }

    fn shutdown(&mut self, id: ConnectionId) {
        if !self.wait_for(id, Operation::Shutdown, NOTHING) {
            return;
        }
        let how = self.server.shutdown_how();
        let told = self.syscalls.shutdown(self.server.fd(id), how);
        // HUP follows the end of both directions, whatever is asked for. Where only one ends, or
        // none could, the call itself is the answer.
        if how != libc::SHUT_RDWR || told.is_err() {
            self.answer(Token::new(Operation::Shutdown, id), NOTHING);
        }
    }

    fn shut(&mut self, id: ConnectionId, _event: u32) -> Next {
        self.server.shut(id)
    }

    fn close(&mut self, id: ConnectionId) {
        let fd = self.server.take_fd(id);
        // Nothing can be done about a failure, and close(2) ends the registration as well.
        let _ = self.syscalls.delete(fd.as_raw_fd());
        self.syscalls.close(fd);
        self.closed(id, NOTHING);
    }

    fn closed(&mut self, id: ConnectionId, _event: u32) {
        self.server.closed(id);
    }

    fn stop_accepting(&mut self) {
        // The eventfd stays readable for the other workers; this one has heard it. And an empty
        // queue makes no event, so the listener is asked from now on and not waited for.
        let _ = self.syscalls.delete(self.server.stop_fd());
        let _ = self.syscalls.delete(self.server.listener_fd());
    }

    fn accept_waiting(&mut self) {
        while self.server.may_accept() {
            self.accepted(NOTHING);
        }
    }
}
