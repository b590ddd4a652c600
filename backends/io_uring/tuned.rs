//! io_uring, tuned: the ten functions with the techniques that are on.
//!
//! `single_shot.rs` has one operation of a connection in flight at a time. Here there may be
//! several, depending on the techniques: a multishot RECV for all that a peer sends, and a SEND
//! with the SHUTDOWN and the CLOSE linked to it. One multishot ACCEPT serves all connections.
//! `techniques/` has one file for each of these; this file chooses which form of a step is
//! submitted.
//!
//! A slot is free when its descriptor is closed and its last CQE is reaped.

mod accept_control;
mod completions;
mod in_flight;
mod receiving;

use crate::backend::{EngineOptions, ShutdownBy};
use crate::error::BackendError;
use crate::io_uring::ring::{Completion, Ring};
use crate::io_uring::teardown;
use crate::io_uring::techniques::cqe_skip_success::skip_success_completion;
use crate::io_uring::techniques::direct_descriptors::AcceptedSocket;
use crate::io_uring::techniques::linked_close::{self, Chain, linked};
use crate::io_uring::techniques::send_zc::{self, ZeroCopyOutput};
use crate::io_uring::techniques::{Techniques, shutdown};
use crate::lifecycle::Lifecycle;
use crate::protocol::{Next, Protocol};
use crate::slab::ConnectionId;
use crate::token::{Operation, Token};
use crate::worker::{Report, Worker};
use accept_control::AcceptControl;
use in_flight::{InFlight, Operations};
use receiving::ReceiveBuffers;

pub(crate) struct Tuned<P: Protocol> {
    ring: Ring,
    worker: Worker<P>,
    techniques: Techniques,
    shutdown_by: ShutdownBy,
    accept_control: AcceptControl,
    /// By slot.
    in_flight: Box<[InFlight]>,
    buffers: ReceiveBuffers,
    zero_copy_output: ZeroCopyOutput,
    /// Counts loop iterations, for the read budget.
    iteration: u32,
}

impl<P: Protocol> Tuned<P> {
    /// `options` are those that this kernel supports, as returned with the ring.
    pub(crate) fn new(
        worker: Worker<P>,
        mut ring: Ring,
        options: &EngineOptions,
    ) -> Result<Self, BackendError> {
        let (slots, bytes) = (worker.limits().connections, worker.limits().receive_bytes());
        let techniques = options.techniques.clone();
        worker.make_listener_nonblocking(false)?;
        let failed = |error| BackendError::unexpected("io_uring_register", error);
        let buffers = ReceiveBuffers::new(&mut ring, &techniques, slots, bytes).map_err(failed)?;
        let completions = options.completions() as usize;
        let accept_control =
            AcceptControl::new(&mut ring, &techniques, slots, completions).map_err(failed)?;
        let in_flight = vec![InFlight::unused(); slots].into_boxed_slice();
        let zero_copy_output = ZeroCopyOutput::new(techniques.send_zc_min_bytes, slots);
        let shutdown_by = options.shutdown;
        Ok(Self {
            ring,
            worker,
            techniques,
            shutdown_by,
            accept_control,
            in_flight,
            buffers,
            zero_copy_output,
            iteration: 0,
        })
    }

    pub(crate) fn run(mut self) -> Result<Report, BackendError> {
        self.start_accept();
        self.watch_stop();
        self.ring.tick();
        while self.worker.is_open() {
            let completions = self.ring.wait()?;
            self.worker.begin_iteration(completions, self.ring.now_ms());
            self.iteration = self.iteration.wrapping_add(1);
            while let Some((token, completion)) = self.ring.next() {
                if self.on_completion(token, completion) {
                    self.dispatch(token, completion);
                }
            }
            self.end_iteration();
            self.recv_waiting();
        }
        let abandoned = self.outstanding();
        teardown::cancel_and_reap(&mut self.ring, abandoned);
        self.ring.report_to(&mut self.worker.counters);
        Ok(self.worker.take_report(self.ring.counts()))
    }

    fn watch_stop(&mut self) {
        self.ring.poll_readable(self.worker.stop_fd(), Token::of_worker(Operation::Stop));
    }

    fn in_flight(&mut self, id: ConnectionId) -> &mut InFlight {
        &mut self.in_flight[id.slot as usize]
    }

    /// Returns the operations that can be linked to the response. It must be short enough for the
    /// socket buffer and the last one of the connection. A CLOSE is linked only if no other
    /// operation of the connection is in flight, since they would race.
    fn chain_after_send(&mut self, id: ConnectionId, length: usize) -> Option<Chain> {
        let is_short = length <= linked_close::MAX_BYTES;
        if !self.techniques.linked_close || !is_short || !P::IS_ONE_EXCHANGE {
            return None;
        }
        let in_flight = *self.in_flight(id);
        let is_alone = in_flight.pending == Operations::default();
        let lingers = self.worker.lingers();
        match self.shutdown_by {
            ShutdownBy::Ring if lingers => Some(Chain::Shutdown),
            ShutdownBy::Ring if is_alone => Some(Chain::ShutdownAndClose),
            ShutdownBy::Close if is_alone && in_flight.is_socket_empty && !lingers => {
                Some(Chain::Close)
            }
            _ => None,
        }
    }

    /// Submits the response and the operations linked to it.
    fn send_chain(&mut self, id: ConnectionId, chain: Chain) {
        let (descriptor, how) = (self.in_flight(id).descriptor, self.worker.shutdown_how());
        let output = self.worker.pending_output(id);
        let length = output.bytes.len();
        let skips_cqe = self.techniques.cqe_skip_success;
        let send = linked(Ring::send_sqe(descriptor, output, libc::MSG_WAITALL));
        let send = if skips_cqe { skip_success_completion(send) } else { send };
        let send = (send, Token::new(Operation::Send, id));
        let shutdown = (shutdown::sqe(descriptor, how), Token::new(Operation::Shutdown, id));
        let close = (descriptor.close_sqe(), Token::new(Operation::Close, id));
        let skipped = usize::from(skips_cqe);
        let in_flight = self.in_flight(id);
        in_flight.chain = Some((chain, length));
        in_flight.submitted(chain.operations(), (1 + chain.length() - skipped) as u32);
        let sqes: &[_] = match chain {
            Chain::Close => &[send, close],
            Chain::Shutdown => &[send, shutdown],
            Chain::ShutdownAndClose => &[send, (linked(shutdown.0), shutdown.1), close],
        };
        // SAFETY: pending output neither moves nor changes, and the connection keeps it until its
        // close, which waits for this completion. Where that fails, `drop` leaks it.
        unsafe { self.ring.push_chain(sqes, skipped) };
    }

    pub(super) fn dispatch(&mut self, token: Token, completion: Completion) {
        let id = token.id;
        let next = match token.operation {
            Operation::Accept => return self.on_accept(completion),
            Operation::Recv => self.on_recv(id, completion),
            Operation::Send => self.on_send(id, completion),
            Operation::Shutdown => self.on_shutdown(id),
            Operation::Close => return self.on_close(id),
            Operation::Stop => return self.on_stop(),
            Operation::Tick | Operation::Cancel => return,
        };
        self.end_step(token, next);
    }

    /// Frees the slot: the descriptor is closed, and nothing is in flight.
    pub(super) fn on_slot_freed(&mut self, id: ConnectionId) {
        self.zero_copy_output.release(id.slot);
        self.worker.on_closed(id);
    }

    // ── The ten functions ────────────────────────────────────────────────────────────────────

    fn start_accept(&mut self) {
        self.admit_queued();
        self.submit_accept();
    }

    fn on_accept(&mut self, completion: Completion) {
        let is_direct = self.techniques.direct_descriptors;
        // SAFETY: each completion of an ACCEPT is dispatched once.
        match unsafe { AcceptedSocket::from_completion(completion, is_direct) } {
            Ok(socket) => self.admit_or_queue(socket),
            Err(error) => self.worker.on_accept_error(&error),
        }
    }

    fn start_recv(&mut self, id: ConnectionId) {
        let in_flight = self.in_flight(id);
        if !in_flight.pending.intersects(Operations::RECV) && !in_flight.is_waiting_for_buffer {
            self.submit_recv(id);
        }
    }

    fn on_recv(&mut self, id: ConnectionId, completion: Completion) -> Next {
        match completion.result() {
            Err(error) if self.is_out_of_buffers(id, &error) => self.wait_for_buffer(id),
            Err(error) => {
                self.reclaim_buffer(id, completion);
                let is_cancelled = error.raw_os_error() == Some(libc::ECANCELED);
                if is_cancelled && self.in_flight(id).is_over_read_budget {
                    return self.worker.next(id);
                }
                self.worker.on_error(id, &error)
            }
            Ok(count) => self.on_bytes(id, completion, count as usize),
        }
    }

    fn start_send(&mut self, id: ConnectionId) {
        let send_or_later = Operations::SEND | Operations::SHUTDOWN | Operations::CLOSE;
        if self.in_flight(id).pending.intersects(send_or_later) {
            // More bytes arrived while the response is sent, which changes nothing; or the chain
            // broke, and the CQEs of its last operations are outstanding.
            return;
        }
        let length = self.worker.pending_output(id).bytes.len();
        if let Some(chain) = self.chain_after_send(id, length) {
            return self.send_chain(id, chain);
        }
        let (descriptor, token) = (self.in_flight(id).descriptor, Token::new(Operation::Send, id));
        self.in_flight(id).submitted(Operations::SEND, 1);
        let is_zero_copy = self.zero_copy_output.is_long_enough(length)
            && self.zero_copy_output.hold(id.slot, self.worker.shared_output(id));
        let output = self.worker.pending_output(id);
        let sqe = if is_zero_copy {
            send_zc::sqe(descriptor, output)
        } else {
            Ring::send_sqe(descriptor, output, 0)
        };
        // SAFETY: as in `send_chain`.
        unsafe { self.ring.push(sqe, token) };
    }

    fn on_send(&mut self, id: ConnectionId, completion: Completion) -> Next {
        match completion.result() {
            Ok(count) => self.worker.on_sent(id, count as usize),
            Err(error) => self.worker.on_error(id, &error),
        }
    }

    fn start_shutdown(&mut self, id: ConnectionId) {
        let (in_flight, how) = (*self.in_flight(id), self.worker.shutdown_how());
        let is_left_to_close = self.shutdown_by == ShutdownBy::Close
            && !self.worker.lingers()
            && (in_flight.is_socket_empty || in_flight.pending.intersects(Operations::CLOSE));
        match (self.shutdown_by, in_flight.descriptor.fd()) {
            // It is linked to the SEND.
            _ if in_flight.pending.intersects(Operations::SHUTDOWN) => return,
            _ if is_left_to_close => {}
            (ShutdownBy::Call | ShutdownBy::Close, Some(fd)) => {
                shutdown::call(fd, how, self.ring.counts_mut());
            }
            _ => {
                self.in_flight(id).submitted(Operations::SHUTDOWN, 1);
                let token = Token::new(Operation::Shutdown, id);
                let sqe = shutdown::sqe(in_flight.descriptor, how);
                // SAFETY: the SQE has no pointers.
                return unsafe { self.ring.push(sqe, token) };
            }
        }
        let next = self.on_shutdown(id);
        self.start_next(id, next);
    }

    fn on_shutdown(&mut self, id: ConnectionId) -> Next {
        self.worker.on_shutdown(id)
    }

    fn start_close(&mut self, id: ConnectionId) {
        let in_flight = *self.in_flight(id);
        for (operations, operation) in
            [(Operations::RECV, Operation::Recv), (Operations::SEND, Operation::Send)]
        {
            // CLOSE does not end an operation in flight (axboe/liburing 932). The completion of the
            // cancelled operation leads back here.
            let is_cancelled = in_flight.cancelled.intersects(operations);
            if in_flight.pending.intersects(operations) && !is_cancelled {
                self.in_flight(id).cancelled |= operations;
                self.ring.cancel(Token::new(operation, id));
            }
        }
        if in_flight.is_closed {
            // The CQE of a linked CLOSE may be reaped before that of the SEND.
            if in_flight.outstanding == 0 {
                self.on_slot_freed(id);
            }
        } else if in_flight.pending == Operations::default() {
            self.in_flight(id).submitted(Operations::CLOSE, 1);
            // From here the ring owns the descriptor.
            self.release_descriptor(id);
            let (sqe, token) = (in_flight.descriptor.close_sqe(), Token::new(Operation::Close, id));
            // SAFETY: the SQE has no pointers.
            unsafe { self.ring.push(sqe, token) };
        }
    }

    fn on_close(&mut self, id: ConnectionId) {
        self.in_flight(id).is_closed = true;
        if self.in_flight(id).outstanding == 0 {
            self.on_slot_freed(id);
        }
    }
}

impl<P: Protocol> Lifecycle<P> for Tuned<P> {
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
        if self.accept_control.is_in_flight() {
            self.ring.cancel(Token::of_worker(Operation::Accept));
        }
    }

    fn accept_queued(&mut self) {
        self.admit_queued();
        // An ACCEPT would wait for a further connection; `accept4` reports the end of the queue.
        while !self.accept_control.is_in_flight() && self.worker.can_accept() {
            match teardown::accept4(self.worker.listener_fd(), self.ring.counts_mut()) {
                Ok(fd) => self.admit(AcceptedSocket::Fd(fd)),
                Err(error) => self.worker.on_accept_error(&error),
            }
        }
    }

    fn half_close_receive(&mut self, id: ConnectionId) {
        let in_flight = *self.in_flight(id);
        match in_flight.descriptor.fd() {
            Some(_) => shutdown::call(self.worker.fd(id), libc::SHUT_RD, self.ring.counts_mut()),
            None => self.half_close_direct(id),
        }
    }
}

impl<P: Protocol> Drop for Tuned<P> {
    /// Leaks the output, instead of freeing it, while the kernel may still read it, and
    /// leaves descriptors to the kernel that it may still close.
    fn drop(&mut self) {
        if self.ring.in_flight() > 0 {
            self.worker.leak_output();
            self.zero_copy_output.leak();
            for id in self.worker.connections.ids().collect::<Vec<_>>() {
                let in_flight = *self.in_flight(id);
                // A CLOSE outside a chain took ownership when it was submitted.
                if in_flight.pending.intersects(Operations::CLOSE) && in_flight.chain.is_some() {
                    self.release_descriptor(id);
                }
            }
        }
        self.buffers.release(&mut self.ring);
    }
}
