//! Updates what is in flight for a completion, before the completion is dispatched as a step.

use std::mem;
use std::os::fd::IntoRawFd;

use super::Tuned;
use super::accept_control::AcceptState;
use super::in_flight::{InFlight, Operations};
use crate::io_uring::ring::Completion;
use crate::io_uring::techniques::direct_descriptors::Descriptor;
use crate::io_uring::techniques::shutdown;
use crate::lifecycle::Lifecycle;
use crate::protocol::{Next, Protocol};
use crate::slab::ConnectionId;
use crate::token::{Operation, Token};

impl InFlight {
    /// Returns the value of a slot without a connection.
    pub(super) fn unused() -> Self {
        Self::new(Descriptor::NONE)
    }
}

impl<P: Protocol> Tuned<P> {
    /// Records a completion. Returns true if it must be dispatched: notifications and operations
    /// that were cancelled with their chain are not a step of the lifecycle.
    pub(super) fn on_completion(&mut self, token: Token, completion: Completion) -> bool {
        let (id, more) = (token.id, completion.more());
        let operation = match token.operation {
            Operation::Accept => {
                return self.on_accept_completion(completion);
            }
            Operation::Tick => {
                self.ring.tick();
                return true;
            }
            Operation::Stop => {
                if !self.worker.stop_requested() {
                    self.watch_stop();
                }
                return true;
            }
            Operation::Cancel => return true,
            Operation::Recv => Operations::RECV,
            Operation::Send => Operations::SEND,
            Operation::Shutdown => Operations::SHUTDOWN,
            Operation::Close => Operations::CLOSE,
        };
        assert!(self.worker.connections.get(id).is_some(), "a completion for a closed connection");
        let in_flight = self.in_flight(id);
        in_flight.outstanding -= u32::from(!more);
        if completion.is_notification() {
            self.resume(id);
            return false;
        }
        assert!(
            in_flight.pending.intersects(operation),
            "a completion of an operation that is not in flight"
        );
        if in_flight.chain.is_some() && operation != Operations::RECV {
            return self.on_chain_completion(id, operation, completion);
        }
        if !more || operation != Operations::RECV {
            in_flight.pending.remove(operation);
        }
        let is_shutdown = operation == Operations::SHUTDOWN;
        if is_shutdown && mem::take(&mut in_flight.is_closing_receive_side) {
            self.resume(id);
            return false;
        }
        true
    }

    /// Returns false for the ECANCELED of a multishot ACCEPT that the engine has cancelled.
    fn on_accept_completion(&mut self, completion: Completion) -> bool {
        if completion.more() {
            return true;
        }
        let was = mem::replace(&mut self.accept_control.state, AcceptState::Idle);
        was != AcceptState::Cancelled || completion.errno() != Some(libc::ECANCELED)
    }

    /// Records the completion of an operation of a chain. If the CQE of a successful SEND is
    /// skipped, the completion of the next operation dispatches the SEND first.
    fn on_chain_completion(
        &mut self,
        id: ConnectionId,
        operation: Operations,
        completion: Completion,
    ) -> bool {
        let send_token = Token::new(Operation::Send, id);
        let skips_cqe = self.techniques.cqe_skip_success;
        let in_flight = self.in_flight(id);
        let (chain, length) = in_flight.chain.expect("the operation is part of a chain");
        if operation == Operations::SEND {
            in_flight.pending.remove(operation);
            if skips_cqe {
                // The SEND failed, since on success it posts no CQE. The operations linked to it
                // are cancelled without a CQE: of the whole chain only this one is posted.
                in_flight.chain = None;
                in_flight.outstanding = in_flight.outstanding + 1 - chain.length() as u32;
                in_flight.pending.remove(Operations::SHUTDOWN | Operations::CLOSE);
                self.ring.completions_skipped(chain.length());
            }
            // A short SEND with MSG_WAITALL breaks the chain. The rest is sent after the CQEs of
            // the cancelled operations.
            return true;
        }
        if in_flight.pending.intersects(Operations::SEND) {
            in_flight.pending.remove(Operations::SEND);
            self.dispatch(send_token, Completion::with_result(length as i32));
        }
        let in_flight = self.in_flight(id);
        in_flight.pending.remove(operation);
        let is_last = !in_flight.pending.intersects(chain.operations());
        if is_last {
            in_flight.chain = None;
        }
        if completion.errno() == Some(libc::ECANCELED) {
            // The operation was not executed. After the last CQE of the chain the step that the
            // connection needs is submitted again.
            if is_last {
                let next = self.worker.next(id);
                self.start_next(id, next);
            }
            return false;
        }
        if operation == Operations::CLOSE {
            self.release_descriptor(id);
        }
        true
    }

    /// Continues a connection after a completion that is not a step: frees the slot, or starts the
    /// step that had to wait.
    fn resume(&mut self, id: ConnectionId) {
        let in_flight = *self.in_flight(id);
        if in_flight.is_closed && in_flight.outstanding == 0 {
            self.on_slot_freed(id);
        } else if !in_flight.is_closed {
            match self.worker.next(id) {
                // A RECV did not wait; `start_next` ignores other steps that are in flight.
                Next::Recv => {}
                next => self.start_next(id, next),
            }
        }
    }

    /// Passes ownership of the descriptor to the ring, whose CLOSE closes it.
    pub(super) fn release_descriptor(&mut self, id: ConnectionId) {
        if self.in_flight(id).descriptor.fd().is_some() {
            let _ = self.worker.take_fd(id).into_raw_fd();
        } else {
            self.release_fixed_slot();
        }
    }

    /// Half-closes the receive side of a direct descriptor, for which shutdown(2) cannot be called.
    pub(super) fn half_close_direct(&mut self, id: ConnectionId) {
        let in_flight = self.in_flight(id);
        if in_flight.pending.intersects(Operations::SHUTDOWN | Operations::CLOSE) {
            return;
        }
        in_flight.is_closing_receive_side = true;
        in_flight.submitted(Operations::SHUTDOWN, 1);
        let sqe = shutdown::sqe(in_flight.descriptor, libc::SHUT_RD);
        // SAFETY: the SQE has no pointers.
        unsafe { self.ring.push(sqe, Token::new(Operation::Shutdown, id)) };
    }

    /// Returns the number of CQEs outstanding for all connections.
    pub(super) fn outstanding(&self) -> usize {
        let of_slot = |id: ConnectionId| self.in_flight[id.slot as usize].outstanding as usize;
        self.worker.connections.ids().map(of_slot).sum()
    }
}
