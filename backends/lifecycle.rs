//! The lifecycle of a connection: five steps of two halves.
//!
//! `start_x` says that a step is wanted; `on_x` handles that it is possible (epoll) or done
//! (io_uring). With epoll the system call is made in `on_x`; with io_uring it is made by `start_x`.
//! The exceptions are shutdown and close, which wait for nothing: epoll calls them in `start_x`.
//! Every engine has these ten functions, in this order:
//!
//! | step                             | epoll (readiness)           | io_uring (completion)    |
//! |----------------------------------|-----------------------------|--------------------------|
//! | `start_accept` → `on_accept`     | listener readable → accept4 | ACCEPT → a descriptor    |
//! | `start_recv` → `on_recv`         | readable → recv             | RECV → a byte count      |
//! | `start_send` → `on_send`         | writable → send             | SEND → a byte count      |
//! | `start_shutdown` → `on_shutdown` | shutdown(SHUT_WR), at once¹ | SHUTDOWN → done          |
//! | `start_recv` → `on_recv`         | readable → recv, discard    | RECV → discard           |
//! | `start_close` → `on_close`       | EPOLL_CTL_DEL, close        | cancel, CLOSE → done     |
//!
//! The second receive is the lingering close, which is the default: after SHUT_WR the engine
//! discards what the peer still sends until the peer closes, since unread bytes at close(2) make
//! the kernel send a reset that can destroy the response (RFC 1122, 4.2.2.13).
//!
//! ¹ The reference programs do not linger: they call shutdown(SHUT_RDWR), and EPOLLHUP reports
//! that both directions are closed.

use crate::protocol::{Next, Protocol};
use crate::slab::ConnectionId;
use crate::token::{Operation, Token};
use crate::worker::Worker;

/// The part of an event loop that is the same for every engine.
pub(crate) trait Lifecycle<P: Protocol> {
    fn worker(&mut self) -> &mut Worker<P>;

    /// Starts the step that the connection needs next.
    fn start_next(&mut self, id: ConnectionId, next: Next);

    /// Starts to accept if a connection can be admitted; otherwise stops. Repeated calls are free.
    fn resume_accept(&mut self);

    /// Withdraws what is registered or in flight for the listener, since the worker is stopping.
    fn stop_accepting(&mut self);

    /// Accepts connections that are established already, until the listener's queue is empty or
    /// every slot is taken. Called only after [`Lifecycle::stop_accepting`].
    fn accept_queued(&mut self);

    /// Closes the receive side of an idle connection, since the worker is stopping. Bytes already
    /// received can still be read; after them comes the end of the stream.
    fn half_close_receive(&mut self, id: ConnectionId);

    /// Ends a step: starts the next one, then logs the request if the step completed one. The log
    /// follows the system call, as in the reference programs.
    fn end_step(&mut self, token: Token, next: Next) {
        self.start_next(token.id, next);
        if token.operation == Operation::Recv && next == Next::Send {
            self.worker().log_request(token.id);
        }
    }

    /// Handles an event of the stop descriptor, which may be an error of watching it.
    fn on_stop(&mut self) {
        if self.worker().stop_requested() && !self.worker().is_stopping() {
            self.worker().begin_stop();
            self.stop_accepting();
        }
    }

    /// Ends an iteration of the event loop: every event or completion of one wait is handled. Once
    /// a tick, closes the connections whose deadline has passed.
    fn end_iteration(&mut self) {
        if self.worker().take_tick() {
            while let Some(id) = self.worker().next_expired() {
                self.start_next(id, Next::Close);
            }
            self.worker().resume_accepting();
        }
        if !self.worker().is_stopping() {
            return self.resume_accept();
        }
        self.accept_queued();
        while let Some(id) = self.worker().next_to_half_close() {
            self.half_close_receive(id);
        }
    }
}
