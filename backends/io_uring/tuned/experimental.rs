//! Experimental techniques, as far as the engine takes part in them: the half-close of direct
//! descriptors, and bundles.

use super::Tuned;
use super::in_flight::Operations;
use crate::io_uring::techniques::experimental::bundles;
use crate::io_uring::techniques::provided_buffers::ProvidedBuffers;
use crate::io_uring::techniques::shutdown;
use crate::kernel::Kernel;
use crate::lifecycle::Lifecycle;
use crate::protocol::{Next, Protocol};
use crate::slab::ConnectionId;
use crate::token::{Operation, Token};
use crate::worker::Worker;

impl<K: Kernel, P: Protocol> Tuned<K, P> {
    /// Half-closes the receive side of a direct descriptor, for which shutdown(2) cannot be called.
    pub(super) fn half_close_direct(&mut self, id: ConnectionId) {
        let in_flight = self.in_flight(id);
        let has_ended = Operations::SHUTDOWN.or(Operations::HALF_CLOSE).or(Operations::CLOSE);
        if in_flight.is_pending(has_ended) {
            return;
        }
        in_flight.submitted(Operations::HALF_CLOSE);
        let sqe = shutdown::sqe(in_flight.descriptor, libc::SHUT_RD);
        // SAFETY: the SQE has no pointers.
        unsafe { self.ring.push(sqe, Token::new(Operation::Shutdown, id)) };
    }

    /// Starts the step that waited for the half-close. A RECV or a SEND does not wait.
    pub(super) fn on_half_close(&mut self, id: ConnectionId) {
        match self.worker.next(id) {
            Next::Recv | Next::Send => {}
            next => self.start_next(id, next),
        }
    }
}

/// Passes the bytes of a bundle, which begin in the buffer `first`, to the worker, and provides
/// each of its buffers again.
pub(super) fn receive_bundle<P: Protocol>(
    worker: &mut Worker<P>,
    buffers: &mut ProvidedBuffers,
    id: ConnectionId,
    (first, count): (u16, usize),
) -> Next {
    let mut next = Next::Recv;
    for (buffer, bytes) in bundles::pieces(buffers, first, count).collect::<Vec<_>>() {
        // SAFETY: the bundle of this completion continues in this buffer.
        next = worker.on_received(id, unsafe { buffers.take(buffer, bytes) });
        buffers.provide(buffer);
    }
    next
}
