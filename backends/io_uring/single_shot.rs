//! io_uring, single shot: one SQE for each step of the reference programs' lifecycle.
//!
//! The kernel does the work and posts a CQE when it is done, so each handler only uses a result. In
//! return, whatever an operation uses belongs to the kernel from submission to completion: the
//! buffer, the bytes to send, the descriptor.

use std::thread;

use crate::error::BackendError;
use crate::io_uring::recv_slab::RecvSlab;
use crate::io_uring::ring::{Completion, Ring};
use crate::io_uring::teardown;
use crate::kernel::Kernel;
use crate::lifecycle::Lifecycle;
use crate::protocol::{Next, Protocol};
use crate::slab::ConnectionId;
use crate::token::{Operation, Token};
use crate::worker::{Report, Worker};

pub(crate) struct SingleShot<K: Kernel, P: Protocol> {
    ring: Ring<K>,
    worker: Worker<P>,
    accept_in_flight: bool,
    /// One for each connection: from submission to completion it belongs to the kernel.
    receive_buffers: RecvSlab,
}

impl<K: Kernel, P: Protocol> SingleShot<K, P> {
    pub(crate) fn new(worker: Worker<P>, ring: Ring<K>) -> Result<Self, BackendError> {
        let limits = worker.limits();
        let receive_buffers = RecvSlab::new(limits.connections, limits.receive_bytes());
        // A blocking listener: ACCEPT waits in the kernel, and never fails with EAGAIN.
        worker.make_listener_nonblocking(false)?;
        Ok(Self { ring, worker, accept_in_flight: false, receive_buffers })
    }

    pub(crate) fn run(mut self) -> Result<Report, BackendError> {
        self.start_accept();
        self.watch_stop();
        self.ring.tick();
        while self.worker.is_open() {
            let completions = self.ring.wait()?;
            self.worker.begin_iteration(completions, self.ring.now_ms());
            while let Some((token, completion)) = self.ring.next() {
                self.dispatch(token, completion);
            }
            self.end_iteration();
        }
        teardown::cancel_and_reap(&mut self.ring, self.worker.connections.len());
        self.ring.report_to(&mut self.worker.counters);
        Ok(self.worker.take_report(self.ring.counts()))
    }

    fn watch_stop(&mut self) {
        self.ring.poll_readable(self.worker.stop_fd(), Token::of_worker(Operation::Stop));
    }

    fn dispatch(&mut self, token: Token, completion: Completion) {
        let id = token.id;
        let next = match token.operation {
            Operation::Accept => return self.on_accept(completion),
            Operation::Recv => self.on_recv(id, completion),
            Operation::Send => self.on_send(id, completion),
            Operation::Shutdown => self.on_shutdown(id),
            Operation::Close => return self.on_close(id),
            Operation::Tick => return self.ring.tick(),
            Operation::Stop if !self.worker.stop_requested() => return self.watch_stop(),
            Operation::Stop => return self.on_stop(),
            // The cancelled operation posts a completion of its own.
            Operation::Cancel => return,
        };
        self.end_step(token, next);
    }

    /// Puts a step of the connection in flight, and returns the token for its SQE.
    fn begin_step(&mut self, id: ConnectionId, step: Operation) -> Token {
        let previous = self.worker.connection(id).pending.replace(step);
        assert_eq!(previous, None, "a connection has one operation in flight at a time");
        Token::new(step, id)
    }

    /// Takes a step out of flight. A completion for another step or a closed connection would mean
    /// that a slot or a buffer was reused while the kernel still owned it.
    fn complete_step(&mut self, id: ConnectionId, step: Operation) {
        let in_flight = self.worker.connection(id).pending.take();
        assert_eq!(in_flight, Some(step), "a completion of an operation that is not in flight");
    }

    // ── The ten functions ────────────────────────────────────────────────────────────────────

    fn start_accept(&mut self) {
        if self.worker.can_accept() && !self.accept_in_flight {
            self.accept_in_flight = true;
            self.ring.accept(self.worker.listener_fd(), Token::of_worker(Operation::Accept));
        }
    }

    fn on_accept(&mut self, completion: Completion) {
        self.accept_in_flight = false;
        // SAFETY: this is the one completion of an ACCEPT, so nothing else owns the descriptor.
        match unsafe { completion.accepted_fd() } {
            Ok(fd) => {
                let (id, next) = self.worker.on_accepted(fd);
                self.start_next(id, next);
            }
            Err(error) => self.worker.on_accept_error(&error),
        }
    }

    fn start_recv(&mut self, id: ConnectionId) {
        let token = self.begin_step(id, Operation::Recv);
        let loan = self.receive_buffers.lend(id.slot);
        self.ring.recv(self.worker.fd(id), loan, token);
    }

    fn on_recv(&mut self, id: ConnectionId, completion: Completion) -> Next {
        self.complete_step(id, Operation::Recv);
        let result = completion.result();
        let count = *result.as_ref().unwrap_or(&0) as usize;
        // SAFETY: the slab owns the buffer, and this is the one completion of the RECV for which it
        // was lent: `complete_step` found that RECV in flight.
        let bytes = unsafe { self.receive_buffers.take_back(id.slot, count) };
        match result {
            Ok(_) => self.worker.on_received(id, bytes),
            Err(error) => self.worker.on_error(id, &error),
        }
    }

    fn start_send(&mut self, id: ConnectionId) {
        let token = self.begin_step(id, Operation::Send);
        // SAFETY: pending output neither moves nor changes, and the connection keeps it until its
        // close, which waits for this completion. Where that fails, `drop` leaks it.
        unsafe { self.ring.send(self.worker.fd(id), self.worker.pending_output(id), token) };
    }

    fn on_send(&mut self, id: ConnectionId, completion: Completion) -> Next {
        self.complete_step(id, Operation::Send);
        match completion.result() {
            Ok(count) => self.worker.on_sent(id, count as usize),
            Err(error) => self.worker.on_error(id, &error),
        }
    }

    fn start_shutdown(&mut self, id: ConnectionId) {
        let token = self.begin_step(id, Operation::Shutdown);
        self.ring.shutdown(self.worker.fd(id), self.worker.shutdown_how(), token);
    }

    fn on_shutdown(&mut self, id: ConnectionId) -> Next {
        self.complete_step(id, Operation::Shutdown);
        self.worker.on_shutdown(id)
    }

    fn start_close(&mut self, id: ConnectionId) {
        match self.worker.connection(id).pending {
            None => {
                let token = self.begin_step(id, Operation::Close);
                self.ring.close(self.worker.take_fd(id), token);
            }
            Some(Operation::Close) => {}
            // CLOSE does not end an operation in flight (axboe/liburing 932). Its completion, with
            // a result or ECANCELED, leads back here.
            Some(step) => self.ring.cancel(Token::new(step, id)),
        }
    }

    fn on_close(&mut self, id: ConnectionId) {
        self.complete_step(id, Operation::Close);
        self.worker.on_closed(id);
    }
}

impl<K: Kernel, P: Protocol> Lifecycle<P> for SingleShot<K, P> {
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
        self.start_accept();
    }

    fn stop_accepting(&mut self) {
        if self.accept_in_flight {
            self.ring.cancel(Token::of_worker(Operation::Accept));
        }
    }

    fn accept_queued(&mut self) {
        // An ACCEPT would wait for a further connection; `accept4` reports the end of the queue.
        while !self.accept_in_flight && self.worker.can_accept() {
            match self.ring.accept_now(self.worker.listener_fd()) {
                Ok(fd) => {
                    let (id, next) = self.worker.on_accepted(fd);
                    self.start_next(id, next);
                }
                Err(error) => self.worker.on_accept_error(&error),
            }
        }
    }

    fn half_close_receive(&mut self, id: ConnectionId) {
        // An error means that the connection has ended already.
        let _ = self.ring.shutdown_now(self.worker.fd(id), libc::SHUT_RD);
    }
}

impl<K: Kernel, P: Protocol> Drop for SingleShot<K, P> {
    /// Leaks the output, instead of freeing it, while the kernel may still read it.
    fn drop(&mut self) {
        if self.ring.in_flight() > 0 {
            self.worker.leak_output();
        }
        let connections = &self.worker.connections;
        let pending = connections.ids().filter_map(|id| connections.get(id)?.pending);
        let receiving = pending.filter(|&it| it == Operation::Recv).count();
        debug_assert!(thread::panicking() || self.receive_buffers.lent() == receiving);
    }
}
