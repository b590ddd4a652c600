//! Receives into a buffer of the connection or into provided buffers that all connections share.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::thread;

use super::Tuned;
use super::in_flight::Operations;
use crate::io_uring::recv_slab::RecvSlab;
use crate::io_uring::ring::{Completion, Ring};
use crate::io_uring::techniques::provided_buffers::{GROUP, ProvidedBuffers};
use crate::io_uring::techniques::{bundles, multishot_receive};
use crate::kernel::{Kernel, KernelRing};
use crate::lifecycle::Lifecycle;
use crate::protocol::{Next, Protocol};
use crate::slab::ConnectionId;
use crate::techniques::Techniques;
use crate::token::{Operation, Token};
use crate::worker::Worker;

pub(super) struct ReceiveBuffers {
    kind: BufferKind,
    /// Connections that wait for a provided buffer, in order.
    waiting: VecDeque<ConnectionId>,
    buffer_bytes: usize,
}

enum BufferKind {
    /// One buffer for each connection, which the kernel owns while a RECV is in flight.
    Own(RecvSlab),
    /// A buffer ring, whose buffers the kernel owns until it has received into them.
    Provided(ProvidedBuffers),
    /// After [`ReceiveBuffers::release`].
    Released,
}

impl ReceiveBuffers {
    pub(super) fn new<K: Kernel>(
        ring: &mut Ring<K>,
        techniques: &Techniques,
        slots: usize,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        let count = techniques.provided_buffers;
        let (kind, max_waiting) = if count > 0 {
            let buffers = ProvidedBuffers::register(ring.kernel_ring(), count, buffer_bytes)?;
            (BufferKind::Provided(buffers), slots)
        } else {
            (BufferKind::Own(RecvSlab::new(slots, buffer_bytes)), 0)
        };
        Ok(Self { kind, waiting: VecDeque::with_capacity(max_waiting), buffer_bytes })
    }

    /// Unregisters the buffer ring. Memory that the kernel may still write to is leaked, not freed.
    /// `receiving` connections have a RECV in flight.
    pub(super) fn release<K: Kernel>(&mut self, ring: &mut Ring<K>, receiving: usize) {
        let is_unwinding = thread::panicking();
        let in_flight = ring.in_flight();
        match mem::replace(&mut self.kind, BufferKind::Released) {
            BufferKind::Own(slab) => debug_assert!(is_unwinding || slab.lent() == receiving),
            BufferKind::Provided(buffers) => {
                debug_assert!(is_unwinding || buffers.taken() == 0);
                if ring.kernel_ring().unregister_buffer_ring(GROUP).is_ok() && in_flight == 0 {
                    // SAFETY: the buffer ring is unregistered, and nothing is in flight.
                    unsafe { buffers.free() };
                }
            }
            BufferKind::Released => {}
        }
    }
}

impl<K: Kernel, P: Protocol> Tuned<K, P> {
    /// Submits a RECV. It is multishot only if several receives are likely, and only while the peer
    /// keeps to its read budget.
    pub(super) fn submit_recv(&mut self, id: ConnectionId) {
        let token = Token::new(Operation::Recv, id);
        let in_flight = &mut self.in_flight[id.slot as usize];
        in_flight.submitted(Operations::RECV);
        let is_multishot = self.techniques.multishot_receive
            && !P::IS_ONE_EXCHANGE
            && !in_flight.is_over_read_budget;
        let fd = self.worker.fd(id);
        let sqe = match &mut self.buffers.kind {
            BufferKind::Own(slab) => return self.ring.recv(fd, slab.lend(id.slot), token),
            _ if is_multishot && self.techniques.bundles => bundles::sqe(fd),
            _ if is_multishot => multishot_receive::sqe(fd),
            _ => multishot_receive::single_sqe(fd, self.buffers.buffer_bytes),
        };
        // SAFETY: the SQE has no pointers: the kernel picks a provided buffer.
        unsafe { self.ring.push(sqe, token) };
    }

    /// Passes received bytes to the worker and returns their buffers to the kernel.
    pub(super) fn on_bytes(
        &mut self,
        id: ConnectionId,
        completion: Completion,
        count: usize,
    ) -> Next {
        self.in_flight[id.slot as usize].is_socket_empty = count < self.buffers.buffer_bytes;
        if completion.more() {
            self.enforce_read_budget(id, count);
        }
        match &mut self.buffers.kind {
            BufferKind::Own(slab) => {
                // SAFETY: this is the one completion of the RECV for which the buffer was lent:
                // the dispatch found that RECV in flight.
                let bytes = unsafe { slab.take_back(id.slot, count) };
                self.worker.on_received(id, bytes)
            }
            BufferKind::Provided(buffers) => {
                let Some(first) = completion.buffer_id() else {
                    assert_eq!(count, 0, "a RECV returned bytes without a buffer ID");
                    return self.worker.on_received(id, &[]);
                };
                if count > self.buffers.buffer_bytes {
                    return receive_bundle(&mut self.worker, buffers, id, (first, count));
                }
                // SAFETY: this is the completion that names the buffer.
                let next = self.worker.on_received(id, unsafe { buffers.take(first, count) });
                buffers.provide(first);
                next
            }
            BufferKind::Released => unreachable!("a completion after the buffers were released"),
        }
    }

    /// Cancels a multishot RECV that has received more than the read budget in one loop iteration,
    /// or whose peer does not read its output (backpressure).
    /// CQEs that the kernel posts before the cancel are still delivered; one multishot retry loop
    /// posts at most MULTISHOT_MAX_RETRY (32) of them.
    fn enforce_read_budget(&mut self, id: ConnectionId, count: usize) {
        let (iteration, budget) = (self.iteration, self.worker.read_budget_bytes());
        let in_flight = self.in_flight(id);
        if mem::replace(&mut in_flight.iteration, iteration) != iteration {
            in_flight.iteration_bytes = 0;
        }
        in_flight.iteration_bytes += count;
        let is_over = in_flight.iteration_bytes > budget || self.worker.is_over_output_limit(id);
        let in_flight = self.in_flight(id);
        if is_over && in_flight.cancel(Operations::RECV) {
            in_flight.is_over_read_budget = true;
            self.ring.cancel(Token::new(Operation::Recv, id));
        }
    }

    /// Returns the buffer of a failed RECV, if it had one.
    pub(super) fn reclaim_buffer(&mut self, id: ConnectionId, completion: Completion) {
        match (&mut self.buffers.kind, completion.buffer_id()) {
            (BufferKind::Own(slab), _) => {
                // SAFETY: as in `on_bytes`.
                unsafe { slab.take_back(id.slot, 0) };
            }
            (BufferKind::Provided(buffers), Some(buffer)) => {
                // SAFETY: as in `on_bytes`.
                unsafe { buffers.take(buffer, 0) };
                buffers.provide(buffer);
            }
            _ => {}
        }
    }

    /// Returns true if the RECV found the provided buffer ring empty. The network stack returns
    /// ENOBUFS too, but a RECV into an own buffer then fails like with any other error.
    pub(super) fn is_out_of_buffers(&self, error: &io::Error) -> bool {
        matches!(self.buffers.kind, BufferKind::Provided(_))
            && error.raw_os_error() == Some(libc::ENOBUFS)
    }

    /// Defers the RECV to the end of the loop iteration. By then all buffers that the server took
    /// are provided again.
    pub(super) fn wait_for_buffer(&mut self, id: ConnectionId) -> Next {
        self.worker.counters.provided_buffers_exhausted += 1;
        let connection = self.worker.connection(id);
        if !connection.is_closing() {
            self.buffers.waiting.push_back(id);
            self.in_flight(id).is_waiting_for_buffer = true;
        }
        self.worker.next(id)
    }

    /// Submits the deferred receives.
    pub(super) fn recv_waiting(&mut self) {
        while let Some(id) = self.buffers.waiting.pop_front() {
            if self.worker.connections.get(id).is_none()
                || !self.in_flight(id).is_waiting_for_buffer
            {
                continue;
            }
            self.in_flight(id).is_waiting_for_buffer = false;
            // The stop may have appended output meanwhile.
            let next = self.worker.next(id);
            self.start_next(id, next);
        }
    }
}

/// Passes the bytes of a bundle, which begin in `buffer`, to the worker, and provides each of its
/// buffers again.
fn receive_bundle<P: Protocol>(
    worker: &mut Worker<P>,
    buffers: &mut ProvidedBuffers,
    id: ConnectionId,
    (mut buffer, mut left): (u16, usize),
) -> Next {
    loop {
        let (following, count) = (buffers.next_after(buffer), left.min(buffers.buffer_bytes()));
        // SAFETY: the bundle of this completion begins or continues in this buffer.
        let next = worker.on_received(id, unsafe { buffers.take(buffer, count) });
        buffers.provide(buffer);
        left -= count;
        if left == 0 {
            return next;
        }
        buffer = following;
    }
}
