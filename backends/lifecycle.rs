//! The ten steps of a connection, five asks and five answers, and how one leads to the next.
//!
//! | ask        | answer     | epoll does the work in the answer | io_uring does it in the ask |
//! |------------|------------|-----------------------------------|-----------------------------|
//! | `accept`   | `accepted` | readable → `accept4`              | ACCEPT → a descriptor       |
//! | `recv`     | `received` | readable → `recv`                 | RECV → a count              |
//! | `send`     | `sent`     | writable → `send`                 | SEND → a count              |
//! | `shutdown` | `shut`     | `shutdown` → HUP                  | SHUTDOWN → a result         |
//! | `close`    | `closed`   | `close` → at once                 | CLOSE → a result            |

use std::io;

use crate::connection::Next;
use crate::server::Server;
use crate::slots::ConnectionId;
use crate::token::{Operation, Token};

/// An engine. Every implementation has its functions in this order.
pub(crate) trait Lifecycle {
    /// What the kernel says with an answer: epoll, the mask of events; io_uring, the result.
    type Event: Copy;

    /// What all engines share.
    fn server(&mut self) -> &mut Server;

    /// Asks for connections, if one more can be taken in. Asking twice is asking once: it is done
    /// at the end of every turn.
    fn accept(&mut self) -> io::Result<()>;
    fn accepted(&mut self, event: Self::Event);

    fn recv(&mut self, id: ConnectionId);
    fn received(&mut self, id: ConnectionId, event: Self::Event) -> Next;

    fn send(&mut self, id: ConnectionId);
    fn sent(&mut self, id: ConnectionId, event: Self::Event) -> Next;

    fn shutdown(&mut self, id: ConnectionId);
    fn shut(&mut self, id: ConnectionId, event: Self::Event) -> Next;

    fn close(&mut self, id: ConnectionId);
    fn closed(&mut self, id: ConnectionId, event: Self::Event);

    /// The stop was heard: whatever is still asked of the listener is taken back.
    fn stop_accepting(&mut self);

    /// After it, nobody new can come: those who wait are taken, until the queue says that it is
    /// empty or there is no slot.
    fn accept_waiting(&mut self);

    /// One answer of the kernel, told apart by what was asked.
    fn answer(&mut self, token: Token, event: Self::Event) {
        let id = token.id;
        let next = match token.operation {
            Operation::Accept => return self.accepted(event),
            Operation::Recv => self.received(id, event),
            Operation::Send => self.sent(id, event),
            Operation::Shutdown => self.shut(id, event),
            Operation::Close => return self.closed(id, event),
            Operation::Stop => return self.stop(),
            Operation::Tick | Operation::Cancel => return,
        };
        self.advance(id, next);
        if token.operation == Operation::Recv && next == Next::Send {
            self.server().log_request(id);
        }
    }

    /// What the connection wants next is asked for.
    fn advance(&mut self, id: ConnectionId, next: Next) {
        match next {
            Next::Recv => self.recv(id),
            Next::Send => self.send(id),
            Next::Shutdown => self.shutdown(id),
            Next::Close => self.close(id),
        }
    }

    /// The worker was told to stop, unless it was the watching that failed.
    fn stop(&mut self) {
        if self.server().stop_requested() && !self.server().is_stopping() {
            self.server().stop();
            self.stop_accepting();
        }
    }

    /// All answers of one wait have been looked at. Once a second those whose time is over are
    /// closed; and accepting goes on if it can, paused though it may have been until now.
    fn end_turn(&mut self) {
        if self.server().ticked() {
            while let Some(id) = self.server().next_expired() {
                self.advance(id, Next::Close);
            }
            self.server().resume_accepting();
        }
        if self.server().is_stopping() {
            self.accept_waiting();
        } else if self.accept().is_err() {
            self.server().pause_accepting();
        }
    }
}
