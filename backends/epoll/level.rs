//! epoll, level triggered: the first of the documents, step by step.
//!
//! The kernel repeats an event for as long as its reason lasts, so each answer may do as little
//! as it likes: one accept, one recv, one send, and whatever is left is reported again.

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

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
/// HUP and ERR are reported whatever is asked for.
const NOTHING: u32 = 0;

/// How the listener stands with epoll.
#[derive(Clone, Copy)]
enum Listening {
    NotYet,
    Armed,
    /// Nobody can be taken in, and the event of those who wait would repeat for ever.
    Disarmed,
}

pub(crate) struct Level {
    syscalls: Syscalls,
    server: Server,
    listening: Listening,
    /// One for all connections: between two answers nothing stands in it.
    receive_buffer: Box<[u8]>,
}

impl Level {
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
}

impl Lifecycle for Level {
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
            (Listening::Armed, false) => {
                self.syscalls.modify(listener, NOTHING, token)?;
                Listening::Disarmed
            }
            (Listening::Disarmed, true) => {
                self.syscalls.modify(listener, IN, token)?;
                Listening::Armed
            }
            (as_it_is, _) => as_it_is,
        };
        Ok(())
    }

    fn accepted(&mut self, _event: u32) {
        if !self.server.may_accept() {
            return;
        }
        match self.syscalls.accept4(self.server.listener_fd()) {
            Ok(fd) => {
                let id = self.server.accepted(fd);
                self.advance(id, Next::Recv);
            }
            Err(error) => self.server.accept_failed(&error),
        }
    }

    fn recv(&mut self, id: ConnectionId) {
        self.wait_for(id, Operation::Recv, IN);
    }

    fn received(&mut self, id: ConnectionId, _event: u32) -> Next {
        match self.syscalls.recv(self.server.fd(id), &mut self.receive_buffer) {
            Ok(count) => self.server.received(id, &self.receive_buffer[..count]),
            Err(error) => self.server.failed(id, &error),
        }
    }

    fn send(&mut self, id: ConnectionId) {
        self.wait_for(id, Operation::Send, OUT);
    }

    fn sent(&mut self, id: ConnectionId, _event: u32) -> Next {
        match self.syscalls.send(self.server.fd(id), self.server.unsent(id)) {
            Ok(count) => self.server.sent(id, count),
            Err(error) => self.server.failed(id, &error),
        }
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
