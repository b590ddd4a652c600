//! io_uring, tuned: the ten functions with the techniques that are on.
//!
//! `single_shot.rs` has one operation of a connection in flight at a time. Here there may be
//! several, since a multishot RECV stays in flight; `tuned/in_flight.rs` states which. One
//! multishot ACCEPT serves all connections.
//!
//! This file chooses the form of each step; `techniques/` has one file for each form.
//! `tuned/accept_control.rs` and `tuned/receiving.rs` have what accepting and receiving need in
//! addition.

mod accept_control;
mod in_flight;
mod receiving;

use crate::engine_options::{EngineOptions, ShutdownBy};
use crate::error::BackendError;
use crate::io_uring::ring::{Completion, Ring};
use crate::io_uring::teardown;
use crate::io_uring::techniques::send_zc::{self, ZeroCopyOutput};
use crate::kernel::Kernel;
use crate::lifecycle::Lifecycle;
use crate::protocol::{Next, Protocol};
use crate::slab::ConnectionId;
use crate::techniques::Techniques;
use crate::token::{Operation, Token};
use crate::worker::{Report, Worker};
use accept_control::AcceptControl;
use in_flight::{InFlight, Operations};
use receiving::ReceiveBuffers;

pub(crate) struct Tuned<K: Kernel, P: Protocol> {
    ring: Ring<K>,
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

impl<K: Kernel, P: Protocol> Tuned<K, P> {
    /// `options` are those that this kernel supports, as returned with the ring.
    pub(crate) fn new(
        worker: Worker<P>,
        mut ring: Ring<K>,
        options: &EngineOptions,
    ) -> Result<Self, BackendError> {
        let (slots, bytes) = (worker.limits().connections, worker.limits().receive_bytes());
        let techniques = options.techniques.clone();
        worker.make_listener_nonblocking(false)?;
        let buffers = ReceiveBuffers::new(&mut ring, &techniques, slots, bytes)
            .map_err(|error| BackendError::unexpected("io_uring_register", error))?;
        let accepted = if techniques.multishot_accept { options.completions() } else { 0 };
        let zero_copy_output = ZeroCopyOutput::new(techniques.send_zc_min_bytes as usize, slots);
        Ok(Self {
            ring,
            worker,
            techniques,
            shutdown_by: options.shutdown,
            accept_control: AcceptControl::new(accepted as usize),
            in_flight: vec![InFlight::NONE; slots].into_boxed_slice(),
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
                self.dispatch(token, completion);
            }
            self.end_iteration();
            self.recv_waiting();
        }
        let of_slot = |id: ConnectionId| self.in_flight[id.slot as usize].outstanding();
        let abandoned = self.worker.connections.ids().map(of_slot).sum();
        teardown::cancel_and_reap(&mut self.ring, abandoned);
        self.ring.report_to(&mut self.worker.counters);
        Ok(self.worker.take_report(self.ring.counts()))
    }

    /// Handles one completion: records that its operation is no longer in flight, and calls the
    /// function of its step.
    fn dispatch(&mut self, token: Token, completion: Completion) {
        let id = token.id;
        let operation = match token.operation {
            Operation::Accept => return self.on_accept(completion),
            Operation::Tick => return self.ring.tick(),
            Operation::Stop => return self.on_stop_readable(),
            Operation::Cancel => return,
            of_connection => of_connection,
        };
        assert!(self.worker.connections.get(id).is_some(), "a completion for a closed connection");
        self.in_flight(id).completed(operation, completion);
        let next = match operation {
            // The kernel no longer reads the bytes of a zero-copy send.
            _ if completion.is_notification() => return self.on_close(id),
            Operation::Recv => self.on_recv(id, completion),
            Operation::Send => self.on_send(id, completion),
            Operation::Shutdown => self.on_shutdown(id),
            _ => return self.on_close(id),
        };
        self.end_step(token, next);
    }

    fn watch_stop(&mut self) {
        self.ring.poll_readable(self.worker.stop_fd(), Token::of_worker(Operation::Stop));
    }

    fn on_stop_readable(&mut self) {
        if !self.worker.stop_requested() {
            self.watch_stop();
        }
        self.on_stop();
    }

    fn in_flight(&mut self, id: ConnectionId) -> &mut InFlight {
        &mut self.in_flight[id.slot as usize]
    }

    /// Returns true if the next send is zero-copy: its output is then held as long as the kernel
    /// may read it.
    fn holds_zero_copy_output(&mut self, id: ConnectionId) -> bool {
        self.zero_copy_output.is_on()
            && self.zero_copy_output.hold(id.slot, self.worker.shared_output(id))
    }

    /// Cancels an operation, if it is in flight and not cancelled yet.
    fn cancel(&mut self, id: ConnectionId, operations: Operations, operation: Operation) {
        if self.in_flight(id).cancel(operations) {
            self.ring.cancel(Token::new(operation, id));
        }
    }

    // ── The ten functions ────────────────────────────────────────────────────────────────────

    fn start_accept(&mut self) {
        self.admit_queued();
        self.submit_accept();
    }

    fn on_accept(&mut self, completion: Completion) {
        if self.accept_control.ends_by_own_cancel(completion) {
            return;
        }
        // SAFETY: each completion of an ACCEPT is dispatched once.
        match unsafe { completion.accepted_fd() } {
            Ok(fd) => self.admit_or_queue(fd),
            Err(error) => self.worker.on_accept_error(&error),
        }
    }

    fn start_recv(&mut self, id: ConnectionId) {
        let in_flight = self.in_flight(id);
        if !in_flight.is_pending(Operations::RECV) && !in_flight.is_waiting_for_buffer {
            self.submit_recv(id);
        }
    }

    fn on_recv(&mut self, id: ConnectionId, completion: Completion) -> Next {
        match completion.result() {
            Err(error) if self.is_out_of_buffers(&error) => self.wait_for_buffer(id),
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
        if self.in_flight(id).is_pending(Operations::SEND) {
            // More bytes arrived while the response is sent, which changes nothing.
            return;
        }
        self.in_flight(id).submitted(Operations::SEND);
        let is_zero_copy = self.holds_zero_copy_output(id);
        let (fd, token) = (self.worker.fd(id), Token::new(Operation::Send, id));
        let output = self.worker.pending_output(id);
        // Pending output neither moves nor changes, and the connection keeps it until its close,
        // which waits for this completion. Where that fails, `drop` leaks it.
        if is_zero_copy {
            // SAFETY: as above; until the notification `zero_copy_output` holds it.
            unsafe { self.ring.push(send_zc::sqe(fd, output), token) };
        } else {
            // SAFETY: as above.
            unsafe { self.ring.send(fd, output, token) };
        }
    }

    fn on_send(&mut self, id: ConnectionId, completion: Completion) -> Next {
        match completion.result() {
            Ok(count) => self.worker.on_sent(id, count as usize),
            Err(error) => self.worker.on_error(id, &error),
        }
    }

    fn start_shutdown(&mut self, id: ConnectionId) {
        let (fd, how) = (self.worker.fd(id), self.worker.shutdown_how());
        let lingers = self.worker.lingers();
        let in_flight = &mut self.in_flight[id.slot as usize];
        match self.shutdown_by {
            // Its completion leads to the next step.
            ShutdownBy::Ring if in_flight.is_pending(Operations::SHUTDOWN) => return,
            ShutdownBy::Ring => {
                in_flight.submitted(Operations::SHUTDOWN);
                return self.ring.shutdown(fd, how, Token::new(Operation::Shutdown, id));
            }
            ShutdownBy::Close if in_flight.is_socket_empty && !lingers => {}
            ShutdownBy::Call | ShutdownBy::Close => {
                // It fails only if the connection has ended already.
                let _ = self.ring.shutdown_now(fd, how);
            }
        }
        let next = self.on_shutdown(id);
        self.start_next(id, next);
    }

    fn on_shutdown(&mut self, id: ConnectionId) -> Next {
        self.worker.on_shutdown(id)
    }

    fn start_close(&mut self, id: ConnectionId) {
        // CLOSE does not end an operation in flight (axboe/liburing 932). The completion of the
        // cancelled operation leads back here.
        self.cancel(id, Operations::RECV, Operation::Recv);
        self.cancel(id, Operations::SEND, Operation::Send);
        let in_flight = self.in_flight(id);
        if in_flight.can_close() {
            in_flight.submitted(Operations::CLOSE);
            let awaits_notification = in_flight.awaits_notification();
            let fd = self.worker.take_fd(id);
            if awaits_notification && self.worker.is_aborted(id) {
                send_zc::discard_unread_at_close(&fd);
            }
            self.ring.close(fd, Token::new(Operation::Close, id));
        }
    }

    /// Frees the slot after the close and the last notification, whichever is later.
    fn on_close(&mut self, id: ConnectionId) {
        if self.in_flight(id).is_free() {
            self.zero_copy_output.release(id.slot);
            self.worker.on_closed(id);
        }
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
            match self.ring.accept_now(self.worker.listener_fd()) {
                Ok(fd) => self.admit(fd),
                Err(error) => self.worker.on_accept_error(&error),
            }
        }
    }

    fn half_close_receive(&mut self, id: ConnectionId) {
        // An error means that the connection has ended already.
        let _ = self.ring.shutdown_now(self.worker.fd(id), libc::SHUT_RD);
    }
}

impl<K: Kernel, P: Protocol> Drop for Tuned<K, P> {
    /// Leaks the output, instead of freeing it, while the kernel may still read it.
    fn drop(&mut self) {
        if self.ring.in_flight() > 0 {
            self.worker.leak_output();
            self.zero_copy_output.leak();
        }
        let is_receiving =
            |id: &ConnectionId| self.in_flight[id.slot as usize].is_pending(Operations::RECV);
        let receiving = self.worker.connections.ids().filter(is_receiving).count();
        self.buffers.release(&mut self.ring, receiving);
    }
}
