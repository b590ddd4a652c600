//! epoll, tuned: the same life without a step taken in vain.
//!
//! Each step is taken as soon as it is asked for, in the hope that the kernel is ready: it mostly
//! is. Only when EAGAIN says that it is not is the connection registered, once for all of its
//! life and edge triggered, and its readiness is remembered from then on. Nothing is removed from
//! epoll before a close, which does that itself (epoll(7), Q6).
//!
//! What a step leads to is done before anything else, so that one connection's memory is looked
//! at while it is in the cache; whoever has had its turn stands back behind the others.

use std::io;
use std::time::{Duration, Instant};

use crate::backend::{EngineOptions, Report, ShutdownBy, Worker};
use crate::connection::Next;
use crate::epoll::syscalls::Syscalls;
use crate::error::BackendError;
use crate::lifecycle::Lifecycle;
use crate::server::{Server, TICK};
use crate::slots::ConnectionId;
use crate::token::{Operation, Token};

/// The listener alone is level triggered: whoever leaves it early is told again.
const LISTENER: u32 = libc::EPOLLIN as u32;
const NOTHING: u32 = 0;
/// Room to send is not among them: it is there nearly always, and each edge would be an event.
const IN: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
const IN_AND_OUT: u32 = IN | libc::EPOLLOUT as u32;
/// The peer has said all, or everything is over.
const END: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;

/// How many newcomers are taken in before those who are in have their turn.
const NEWCOMERS_A_TURN: usize = 64;

/// What is known of one connection's readiness, by its slot.
#[derive(Clone, Copy)]
struct Readiness {
    /// For what epoll watches it; 0 as long as it has not been registered.
    watched: u32,
    readable: bool,
    writable: bool,
    /// The end of the peer's stream has been announced: a short receive is not the last.
    ended: bool,
    /// How much it may still bring or take in this turn, in bytes.
    turn_bytes: usize,
}

/// How the listener stands with epoll.
#[derive(Clone, Copy)]
enum Listening {
    NotYet,
    Armed,
    /// Nobody can be taken in, and the event of those who wait would repeat for ever.
    Disarmed,
}

pub(crate) struct Tuned {
    syscalls: Syscalls,
    server: Server,
    listening: Listening,
    newcomers: usize,
    readiness: Box<[Readiness]>,
    /// Steps to be taken now; the last one first.
    now: Vec<Token>,
    /// Steps of those who have had their turn.
    later: Vec<Token>,
    /// One for all connections: between two answers nothing stands in it.
    receive_buffer: Box<[u8]>,
    shutdown_by: ShutdownBy,
    busy_poll: Duration,
}

impl Tuned {
    pub(crate) fn new(worker: Worker, options: &EngineOptions) -> Result<Self, BackendError> {
        let receive_buffer = vec![0; worker.limits.receive_bytes()].into_boxed_slice();
        let slots = worker.limits.connections;
        let server = Server::new(worker);
        server.make_listener_nonblocking(true)?;
        let readiness = Readiness {
            watched: NOTHING,
            readable: true,
            writable: true,
            ended: false,
            turn_bytes: server.turn_bytes(),
        };
        Ok(Self {
            syscalls: Syscalls::new(options.events_per_wait)?,
            server,
            listening: Listening::NotYet,
            newcomers: 0,
            readiness: vec![readiness; slots].into_boxed_slice(),
            now: Vec::with_capacity(slots + 1),
            later: Vec::with_capacity(slots),
            receive_buffer,
            shutdown_by: options.shutdown,
            busy_poll: Duration::from_micros(options.busy_poll_us.into()),
        })
    }

    pub(crate) fn run(mut self) -> Result<Report, BackendError> {
        let failed = |error| BackendError::unexpected("epoll_ctl", error);
        self.accept().map_err(failed)?;
        self.watch_stop().map_err(failed)?;
        while self.server.is_open() {
            let events = self.wait()?;
            self.server.turn(events);
            self.newcomers = 0;
            self.give_the_next_turn();
            // The first event is dealt with first, and so comes last here.
            for index in (0..events).rev() {
                let (token, event) = self.syscalls.event(index);
                if !self.server.is_stale(token) {
                    self.awaken(token, event);
                }
            }
            self.take_steps();
            self.end_turn();
        }
        Ok(self.server.take_report(self.syscalls.counts()))
    }

    fn watch_stop(&mut self) -> io::Result<()> {
        let token = Token::of_worker(Operation::Stop);
        self.syscalls.add(self.server.stop_fd(), LISTENER, token)
    }

    /// Sleeps only when there is nothing to do, and only after looking for a while.
    fn wait(&mut self) -> Result<usize, BackendError> {
        if !self.now.is_empty() || !self.later.is_empty() {
            return self.syscalls.wait_for(Duration::ZERO);
        }
        if !self.busy_poll.is_zero() {
            let began = Instant::now();
            while began.elapsed() < self.busy_poll {
                let events = self.syscalls.wait_for(Duration::ZERO)?;
                if events > 0 {
                    return Ok(events);
                }
            }
        }
        self.syscalls.wait_for(TICK)
    }

    // ── Turns ────────────────────────────────────────────────────────────────────────────────

    /// Those who stood back come first, each with a whole turn.
    fn give_the_next_turn(&mut self) {
        let turn_bytes = self.server.turn_bytes();
        for token in self.later.drain(..) {
            self.readiness[token.id.slot as usize].turn_bytes = turn_bytes;
            self.now.push(token);
        }
    }

    /// Takes all steps that can be taken, those that follow from them included.
    fn take_steps(&mut self) {
        while let Some(token) = self.now.pop() {
            // Its time may have passed while it stood back.
            if token.operation.is_of_worker() || self.server.clients.get(token.id).is_some() {
                self.answer(token, NOTHING);
            }
        }
    }

    /// epoll has reported something: what a connection has waited for can be tried again.
    fn awaken(&mut self, token: Token, event: u32) {
        if token.operation.is_of_worker() {
            return self.now.push(token);
        }
        let turn_bytes = self.server.turn_bytes();
        let ready = &mut self.readiness[token.id.slot as usize];
        ready.readable |= event & (libc::EPOLLIN as u32 | END) != 0;
        ready.writable |= event & (libc::EPOLLOUT as u32 | END) != 0;
        ready.ended |= event & END != 0;
        let (readable, writable) = (ready.readable, ready.writable);
        match self.server.client(token.id).pending {
            Some(Operation::Recv) if readable => self.step(Operation::Recv, token.id),
            Some(Operation::Send) if writable => self.step(Operation::Send, token.id),
            _ => return,
        }
        self.readiness[token.id.slot as usize].turn_bytes = turn_bytes;
    }

    /// The step is taken at once, or, where the connection has had its turn, in the next one.
    fn step(&mut self, operation: Operation, id: ConnectionId) {
        self.server.client(id).pending = None;
        let has_turn = self.readiness[id.slot as usize].turn_bytes > 0;
        let steps = if has_turn { &mut self.now } else { &mut self.later };
        steps.push(Token::new(operation, id));
    }

    /// The kernel was not ready, and says when it is.
    fn wait_for(&mut self, id: ConnectionId, operation: Operation, events: u32) {
        let token = Token::new(operation, id);
        let ready = &mut self.readiness[id.slot as usize];
        let client = self.server.client(id);
        client.pending = Some(operation);
        let asked = match ready.watched {
            NOTHING => self.syscalls.add(client.fd(), events, token),
            watched if watched & events == events => Ok(()),
            _ => self.syscalls.modify(client.fd(), events, token),
        };
        match asked {
            Ok(()) => ready.watched |= events,
            Err(error) => {
                let next = self.server.given_up(id, &error);
                self.advance(id, next);
            }
        }
    }

    /// Takes one newcomer in; whether there may be another.
    fn take_in(&mut self) -> Option<ConnectionId> {
        match self.syscalls.accept4(self.server.listener_fd()) {
            Ok(fd) => {
                let id = self.server.accepted(fd);
                let turn_bytes = self.server.turn_bytes();
                self.readiness[id.slot as usize] = Readiness {
                    watched: NOTHING,
                    readable: true,
                    writable: true,
                    ended: false,
                    turn_bytes,
                };
                Some(id)
            }
            Err(error) => {
                self.server.accept_failed(&error);
                None
            }
        }
    }
}

impl Lifecycle for Tuned {
    type Event = u32;

    fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    fn accept(&mut self) -> io::Result<()> {
        let (listener, token) = (self.server.listener_fd(), Token::of_worker(Operation::Accept));
        self.listening = match (self.listening, self.server.may_accept()) {
            (Listening::NotYet, _) => {
                self.syscalls.add(listener, LISTENER, token)?;
                Listening::Armed
            }
            (Listening::Armed, false) => {
                self.syscalls.modify(listener, NOTHING, token)?;
                Listening::Disarmed
            }
            (Listening::Disarmed, true) => {
                self.syscalls.modify(listener, LISTENER, token)?;
                Listening::Armed
            }
            (as_it_is, _) => as_it_is,
        };
        Ok(())
    }

    fn accepted(&mut self, _event: u32) {
        if self.newcomers == NEWCOMERS_A_TURN || !self.server.may_accept() {
            return;
        }
        if let Some(id) = self.take_in() {
            self.newcomers += 1;
            // The next one comes when this one can do nothing more.
            self.now.push(Token::of_worker(Operation::Accept));
            self.advance(id, Next::Recv);
        }
    }

    fn recv(&mut self, id: ConnectionId) {
        if self.readiness[id.slot as usize].readable {
            self.step(Operation::Recv, id);
        } else {
            self.wait_for(id, Operation::Recv, IN);
        }
    }

    fn received(&mut self, id: ConnectionId, _event: u32) -> Next {
        let received = self.syscalls.recv(self.server.fd(id), &mut self.receive_buffer);
        let ready = &mut self.readiness[id.slot as usize];
        match received {
            Ok(count) => {
                ready.turn_bytes = ready.turn_bytes.saturating_sub(count);
                let next = self.server.received(id, &self.receive_buffer[..count]);
                // Less than there was room for is all there was (epoll(7), Q9), but for an urgent
                // byte. Registering would say so; who is registered is asked once more.
                let is_sure = ready.watched == NOTHING || next != Next::Recv;
                let has_more = count == self.receive_buffer.len() || ready.ended || !is_sure;
                ready.readable = has_more;
                next
            }
            Err(error) => {
                ready.readable = error.kind() != io::ErrorKind::WouldBlock;
                self.server.failed(id, &error)
            }
        }
    }

    fn send(&mut self, id: ConnectionId) {
        if self.readiness[id.slot as usize].writable {
            self.step(Operation::Send, id);
        } else {
            self.wait_for(id, Operation::Send, IN_AND_OUT);
        }
    }

    fn sent(&mut self, id: ConnectionId, _event: u32) -> Next {
        let fd = self.server.fd(id);
        let unsent = self.server.unsent(id);
        let length = unsent.bytes.len();
        let sent = self.syscalls.send(fd, unsent);
        let ready = &mut self.readiness[id.slot as usize];
        match sent {
            Ok(count) => {
                // The same as with a short receive.
                ready.writable = count == length || ready.watched == IN_AND_OUT;
                ready.turn_bytes = ready.turn_bytes.saturating_sub(count);
                self.server.sent(id, count)
            }
            Err(error) => {
                ready.writable = error.kind() != io::ErrorKind::WouldBlock;
                self.server.failed(id, &error)
            }
        }
    }

    fn shutdown(&mut self, id: ConnectionId) {
        // What is unread would turn a close that stands alone into a reset.
        let is_drained = !self.readiness[id.slot as usize].readable;
        if self.server.lingers() || self.shutdown_by != ShutdownBy::Close || !is_drained {
            let how = self.server.shutdown_how();
            // Where it fails the connection has come to its end, which is all the same here.
            let _ = self.syscalls.shutdown(self.server.fd(id), how);
        }
        let ready = &mut self.readiness[id.slot as usize];
        ready.readable |= ready.watched != NOTHING;
        self.answer(Token::new(Operation::Shutdown, id), NOTHING);
    }

    fn shut(&mut self, id: ConnectionId, _event: u32) -> Next {
        self.server.shut(id)
    }

    fn close(&mut self, id: ConnectionId) {
        let fd = self.server.take_fd(id);
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
            if let Some(id) = self.take_in() {
                self.advance(id, Next::Recv);
            }
        }
    }
}
