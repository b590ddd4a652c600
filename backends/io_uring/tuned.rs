//! io_uring, tuned: the same life with all that pays of what io_uring has.
//!
//! Where `single_shot.rs` asks for one step at a time, several may be in flight here: an ACCEPT
//! that brings everybody, a RECV that brings all that comes, and a SEND with the CLOSE linked to
//! it. What replaces a step stands in `techniques/`, a file each; here stand the ten steps, in
//! their usual order, and who decides which form of it is asked for.
//!
//! A slot is free when its descriptor is closed and the last completion of it has come.

mod admission;
mod flight;
mod landing;
mod receiving;

use std::io;
use std::mem;

use crate::backend::{EngineOptions, Report, ShutdownBy, Worker};
use crate::connection::Next;
use crate::error::BackendError;
use crate::io_uring::drain;
use crate::io_uring::ring::{Completion, Ring};
use crate::io_uring::techniques::direct_descriptors::Descriptor;
use crate::io_uring::techniques::linked_close::{self, Chain, linked};
use crate::io_uring::techniques::skip_success::silent;
use crate::io_uring::techniques::{Techniques, shutdown, zero_copy_send};
use crate::lifecycle::Lifecycle;
use crate::server::Server;
use crate::slots::ConnectionId;
use crate::token::{Operation, Token};
use admission::Admission;
use flight::{Flight, Operations};
use receiving::Buffers;

pub(crate) struct Tuned {
    ring: Ring,
    server: Server,
    techniques: Techniques,
    shutdown_by: ShutdownBy,
    admission: Admission,
    flights: Box<[Flight]>,
    buffers: Buffers,
    turn: u32,
}

impl Tuned {
    /// `options` are those in force.
    pub(crate) fn new(
        worker: Worker,
        mut ring: Ring,
        options: &EngineOptions,
    ) -> Result<Self, BackendError> {
        let (slots, bytes) = (worker.limits.connections, worker.limits.receive_bytes());
        let techniques = options.techniques.clone();
        let server = Server::new(worker);
        server.make_listener_nonblocking(false)?;
        let failed = |error| BackendError::unexpected("io_uring_register", error);
        let buffers = Buffers::new(&mut ring, &techniques, slots, bytes).map_err(failed)?;
        let completions = options.completions() as usize;
        let admission =
            Admission::new(&mut ring, &techniques, slots, completions).map_err(failed)?;
        let flights = vec![Flight::nobodys(); slots].into_boxed_slice();
        let shutdown_by = options.shutdown;
        Ok(Self { ring, server, techniques, shutdown_by, admission, flights, buffers, turn: 0 })
    }

    pub(crate) fn run(mut self) -> Result<Report, BackendError> {
        let _ = self.accept();
        self.watch_stop();
        self.ring.tick();
        while self.server.is_open() {
            let completions = self.ring.wait()?;
            self.server.turn(completions);
            self.turn = self.turn.wrapping_add(1);
            while let Some((token, completion)) = self.ring.next() {
                if self.landed(token, completion) {
                    self.answer(token, completion);
                }
            }
            self.end_turn();
            self.receive_for_the_parked();
            self.hear_out();
        }
        let given_up = self.due();
        drain::reap_to_zero(&mut self.ring, given_up);
        self.ring.report_to(&mut self.server.counters);
        Ok(self.server.take_report(self.ring.counts()))
    }

    fn watch_stop(&mut self) {
        self.ring.watch(self.server.stop_fd(), Token::of_worker(Operation::Stop));
    }

    fn flight(&mut self, id: ConnectionId) -> &mut Flight {
        &mut self.flights[id.slot as usize]
    }

    /// What may be linked to the answer: it must be one that a socket takes at once and that no
    /// other follows, and nothing else of the connection's may be in flight when the close comes.
    fn chain(&mut self, id: ConnectionId, length: usize) -> Option<Chain> {
        let is_short = length <= linked_close::MOST_BYTES;
        if !self.techniques.linked_close || !is_short || self.server.persists() {
            return None;
        }
        let flight = *self.flight(id);
        let is_alone = flight.pending == Operations::default();
        match self.shutdown_by {
            ShutdownBy::Ring if self.server.lingers() => Some(Chain::Shutdown),
            ShutdownBy::Ring if is_alone => Some(Chain::ShutdownAndClose),
            ShutdownBy::Close if is_alone && flight.is_drained && !self.server.lingers() => {
                Some(Chain::Close)
            }
            _ => None,
        }
    }

    /// The answer, and what is linked to it.
    fn send_chain(&mut self, id: ConnectionId, chain: Chain) {
        let (name, how) = (self.flight(id).name, self.server.shutdown_how());
        let unsent = self.server.unsent(id);
        let length = unsent.bytes.len();
        let skips = self.techniques.skip_success;
        let send = linked(Ring::send_entry(name, unsent, libc::MSG_WAITALL));
        let send = (if skips { silent(send) } else { send }, Token::new(Operation::Send, id));
        let shutdown = (shutdown::entry(name, how), Token::new(Operation::Shutdown, id));
        let close = (name.close(), Token::new(Operation::Close, id));
        let silent = usize::from(skips);
        let flight = self.flight(id);
        flight.chain = Some((chain, length));
        flight.asked(chain.operations(), (1 + chain.length() - silent) as u32);
        let entries: &[_] = match chain {
            Chain::Close => &[send, close],
            Chain::Shutdown => &[send, shutdown],
            Chain::ShutdownAndClose => &[send, (linked(shutdown.0), shutdown.1), close],
        };
        // SAFETY: the server owns the answers and changes none of them. It is dropped after the
        // ring has been reaped to zero; where that fails, `drop` leaks them.
        unsafe { self.ring.push_chain(entries, silent) };
    }
}

impl Lifecycle for Tuned {
    type Event = Completion;

    fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    fn accept(&mut self) -> io::Result<()> {
        self.take_in_from_lobby();
        self.ask_for_connections();
        Ok(())
    }

    fn accepted(&mut self, completion: Completion) {
        // SAFETY: each completion of an ACCEPT comes here, once.
        match unsafe { Descriptor::of(completion, self.techniques.direct_descriptors) } {
            Ok(newcomer) => self.take_in_or_keep_waiting(newcomer),
            Err(error) => self.server.accept_failed(&error),
        }
    }

    fn recv(&mut self, id: ConnectionId) {
        let flight = self.flight(id);
        if !flight.pending.meet(Operations::RECV) && !flight.is_parked {
            self.ask_for_bytes(id);
        }
    }

    fn received(&mut self, id: ConnectionId, completion: Completion) -> Next {
        match completion.result() {
            Err(error) if self.lacks_a_buffer(id, &error) => self.park(id),
            Err(error) => {
                self.take_no_bytes(id, completion);
                let is_cancelled = error.raw_os_error() == Some(libc::ECANCELED);
                if is_cancelled && self.flight(id).is_greedy {
                    return self.server.client(id).connection.wants();
                }
                self.server.failed(id, &error)
            }
            Ok(count) => self.take_bytes(id, completion, count as usize),
        }
    }

    fn send(&mut self, id: ConnectionId) {
        let own = Operations::SEND | Operations::SHUTDOWN | Operations::CLOSE;
        if self.flight(id).pending.meet(own) {
            // More has come while the answer is on its way, and has changed nothing; or the chain
            // broke, and its end has not come back yet.
            return;
        }
        let unsent = self.server.unsent(id);
        let length = unsent.bytes.len();
        if let Some(chain) = self.chain(id, length) {
            return self.send_chain(id, chain);
        }
        let (name, token) = (self.flight(id).name, Token::new(Operation::Send, id));
        self.flight(id).asked(Operations::SEND, 1);
        let unsent = self.server.unsent(id);
        let from_where = self.techniques.zero_copy_send_bytes;
        let entry = if from_where > 0 && length >= from_where {
            zero_copy_send::entry(name, unsent)
        } else {
            Ring::send_entry(name, unsent, 0)
        };
        // SAFETY: as in `send_chain`.
        unsafe { self.ring.push(entry, token) };
    }

    fn sent(&mut self, id: ConnectionId, completion: Completion) -> Next {
        match completion.result() {
            Ok(count) => self.server.sent(id, count as usize),
            Err(error) => self.server.failed(id, &error),
        }
    }

    fn shutdown(&mut self, id: ConnectionId) {
        let (flight, how) = (*self.flight(id), self.server.shutdown_how());
        let is_left_to_close = self.shutdown_by == ShutdownBy::Close
            && !self.server.lingers()
            && (flight.is_drained || flight.pending.meet(Operations::CLOSE));
        match (self.shutdown_by, flight.name.of_process()) {
            // It is linked to the send.
            _ if flight.pending.meet(Operations::SHUTDOWN) => return,
            _ if is_left_to_close => {}
            (ShutdownBy::Call | ShutdownBy::Close, Some(fd)) => {
                shutdown::call(fd, how, self.ring.counts_mut());
            }
            _ => {
                self.flight(id).asked(Operations::SHUTDOWN, 1);
                let token = Token::new(Operation::Shutdown, id);
                // SAFETY: the entry has no pointers.
                return unsafe { self.ring.push(shutdown::entry(flight.name, how), token) };
            }
        }
        self.answer(Token::new(Operation::Shutdown, id), Completion::of(0));
    }

    fn shut(&mut self, id: ConnectionId, _completion: Completion) -> Next {
        self.server.shut(id)
    }

    fn close(&mut self, id: ConnectionId) {
        let flight = *self.flight(id);
        for (operation, step) in
            [(Operations::RECV, Operation::Recv), (Operations::SEND, Operation::Send)]
        {
            // A CLOSE beside it would race with it. Its answer, however it ends, comes back here.
            if flight.pending.meet(operation) && !flight.cancelled.meet(operation) {
                self.flight(id).cancelled |= operation;
                self.ring.cancel(Token::new(step, id));
            }
        }
        if flight.is_closed {
            // The last completion of a chain may come before the one that it waited for.
            if flight.due == 0 {
                self.server.closed(id);
            }
        } else if flight.pending == Operations::default() {
            self.flight(id).asked(Operations::CLOSE, 1);
            // What the ring closes is not closed by whoever owned it.
            self.give_up_descriptor(id);
            // SAFETY: the entry has no pointers.
            unsafe { self.ring.push(flight.name.close(), Token::new(Operation::Close, id)) };
        }
    }

    fn closed(&mut self, id: ConnectionId, _completion: Completion) {
        self.flight(id).is_closed = true;
        if self.flight(id).due == 0 {
            self.server.closed(id);
        }
    }

    fn stop_accepting(&mut self) {
        if self.admission.is_asking() {
            self.ring.cancel(Token::of_worker(Operation::Accept));
        }
    }

    fn accept_waiting(&mut self) {
        self.take_in_from_lobby();
        // An ACCEPT waits for the next, and the queue has a last: it is asked without the ring.
        while !self.admission.is_asking() && self.server.may_accept() {
            match drain::accept4(self.server.listener_fd(), self.ring.counts_mut()) {
                Ok(fd) => self.take_in(Descriptor::OfProcess(fd)),
                Err(error) => self.server.accept_failed(&error),
            }
        }
    }
}

impl Drop for Tuned {
    /// What the kernel may still read is leaked rather than freed, and what it may still close is
    /// not closed here.
    fn drop(&mut self) {
        if self.ring.in_flight() > 0 {
            mem::forget(self.server.response());
            for id in self.server.clients.ids().collect::<Vec<_>>() {
                let flight = *self.flight(id);
                // A CLOSE that stands alone has taken it already.
                if flight.pending.meet(Operations::CLOSE) && flight.chain.is_some() {
                    self.give_up_descriptor(id);
                }
            }
        }
        self.buffers.leave(&mut self.ring);
    }
}
