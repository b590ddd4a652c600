//! io_uring, single shot: the same life as the documents', one submission for each step.
//!
//! The kernel is asked for the work itself and answers when it is done, so an answer has only to
//! be looked at. In return whatever the work needs is the kernel's until then: the buffer, the
//! bytes to send, the descriptor.

use std::io;
use std::mem;

use crate::backend::{Report, Worker};
use crate::connection::Next;
use crate::error::BackendError;
use crate::io_uring::drain;
use crate::io_uring::recv_slab::RecvSlab;
use crate::io_uring::ring::{Completion, Ring};
use crate::lifecycle::Lifecycle;
use crate::server::Server;
use crate::slots::ConnectionId;
use crate::token::{Operation, Token};

pub(crate) struct SingleShot {
    ring: Ring,
    server: Server,
    /// Whether an ACCEPT is in flight.
    accepting: bool,
    /// One for each connection: from the ask to the answer it is the kernel's.
    receive_buffers: RecvSlab,
}

impl SingleShot {
    pub(crate) fn new(worker: Worker, ring: Ring) -> Result<Self, BackendError> {
        let (slots, bytes) = (worker.limits.connections, worker.limits.receive_bytes());
        let server = Server::new(worker);
        server.make_listener_nonblocking(false)?;
        Ok(Self { ring, server, accepting: false, receive_buffers: RecvSlab::new(slots, bytes) })
    }

    pub(crate) fn run(mut self) -> Result<Report, BackendError> {
        let _ = self.accept();
        self.watch_stop();
        self.ring.tick();
        while self.server.is_open() {
            let completions = self.ring.wait()?;
            self.server.turn(completions);
            while let Some((token, completion)) = self.ring.next() {
                self.landed(token);
                self.answer(token, completion);
            }
            self.end_turn();
        }
        drain::reap_to_zero(&mut self.ring, self.server.clients.len());
        self.ring.report_to(&mut self.server.counters);
        Ok(self.server.take_report(self.ring.counts()))
    }

    fn watch_stop(&mut self) {
        self.ring.watch(self.server.stop_fd(), Token::of_worker(Operation::Stop));
    }

    /// What was in flight has come back. A completion for a connection that is gone, or for a
    /// step that it is not at, would mean that its slot or its buffer was given away too early.
    fn landed(&mut self, token: Token) {
        match token.operation {
            Operation::Accept => self.accepting = false,
            Operation::Tick => self.ring.tick(),
            Operation::Stop if !self.server.stop_requested() => self.watch_stop(),
            Operation::Stop | Operation::Cancel => {}
            operation => {
                let landed = self.server.client(token.id).pending.take();
                assert_eq!(landed, Some(operation), "a completion that nobody waits for");
            }
        }
    }

    /// Says what a connection waits for from now on; a token of it is on its way.
    fn wait_for(&mut self, id: ConnectionId, operation: Operation) -> Token {
        let already = self.server.client(id).pending.replace(operation);
        assert_eq!(already, None, "one step at a time");
        Token::new(operation, id)
    }
}

impl Lifecycle for SingleShot {
    type Event = Completion;

    fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    fn accept(&mut self) -> io::Result<()> {
        if self.server.may_accept() && !self.accepting {
            self.accepting = true;
            self.ring.accept(self.server.listener_fd(), Token::of_worker(Operation::Accept));
        }
        Ok(())
    }

    fn accepted(&mut self, completion: Completion) {
        // SAFETY: this is the one completion of an ACCEPT, and so the descriptor is ours.
        match unsafe { completion.descriptor() } {
            Ok(fd) => {
                let id = self.server.accepted(fd);
                self.advance(id, Next::Recv);
            }
            Err(error) => self.server.accept_failed(&error),
        }
    }

    fn recv(&mut self, id: ConnectionId) {
        let token = self.wait_for(id, Operation::Recv);
        let loan = self.receive_buffers.lend(id.slot);
        self.ring.recv(self.server.fd(id), loan, token);
    }

    fn received(&mut self, id: ConnectionId, completion: Completion) -> Next {
        let result = completion.result();
        let count = *result.as_ref().unwrap_or(&0) as usize;
        // SAFETY: the slab owns the buffer; this is the one completion of the RECV for which it
        // was lent, since `landed` found that RECV, and nothing else, to be pending.
        let bytes = unsafe { self.receive_buffers.take_back(id.slot, count) };
        match result {
            Ok(_) => self.server.received(id, bytes),
            Err(error) => self.server.failed(id, &error),
        }
    }

    fn send(&mut self, id: ConnectionId) {
        let token = self.wait_for(id, Operation::Send);
        // SAFETY: the server owns the answers and changes none of them. It is dropped after the
        // ring has been reaped to zero; where that fails, `drop` leaks them.
        unsafe { self.ring.send(self.server.fd(id), self.server.unsent(id), token) };
    }

    fn sent(&mut self, id: ConnectionId, completion: Completion) -> Next {
        match completion.result() {
            Ok(count) => self.server.sent(id, count as usize),
            Err(error) => self.server.failed(id, &error),
        }
    }

    fn shutdown(&mut self, id: ConnectionId) {
        let token = self.wait_for(id, Operation::Shutdown);
        self.ring.shutdown(self.server.fd(id), self.server.shutdown_how(), token);
    }

    fn shut(&mut self, id: ConnectionId, _completion: Completion) -> Next {
        self.server.shut(id)
    }

    fn close(&mut self, id: ConnectionId) {
        match self.server.client(id).pending {
            None => {
                let token = self.wait_for(id, Operation::Close);
                self.ring.close(self.server.take_fd(id), token);
            }
            Some(Operation::Close) => {}
            // A CLOSE beside it would race with it. Its answer, however it ends, comes back here.
            Some(operation) => self.ring.cancel(Token::new(operation, id)),
        }
    }

    fn closed(&mut self, id: ConnectionId, _completion: Completion) {
        self.server.closed(id);
    }

    fn stop_accepting(&mut self) {
        if self.accepting {
            self.ring.cancel(Token::of_worker(Operation::Accept));
        }
    }

    fn accept_waiting(&mut self) {
        // An ACCEPT waits for the next, and the queue has a last: it is asked without the ring.
        while !self.accepting && self.server.may_accept() {
            match drain::accept4(self.server.listener_fd(), self.ring.counts_mut()) {
                Ok(fd) => {
                    let id = self.server.accepted(fd);
                    self.advance(id, Next::Recv);
                }
                Err(error) => self.server.accept_failed(&error),
            }
        }
    }
}

impl Drop for SingleShot {
    /// What the kernel may still read is leaked rather than freed.
    fn drop(&mut self) {
        if self.ring.in_flight() > 0 {
            mem::forget(self.server.response());
        }
    }
}
