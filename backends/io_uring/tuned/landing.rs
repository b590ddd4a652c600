//! What a completion means for what is in flight, before it is looked at as an answer.

use std::mem;
use std::os::fd::IntoRawFd;

use super::Tuned;
use super::admission::Asking;
use super::flight::{Flight, Operations};
use crate::connection::Next;
use crate::io_uring::ring::Completion;
use crate::io_uring::techniques::direct_descriptors::Name;
use crate::io_uring::techniques::shutdown;
use crate::lifecycle::Lifecycle;
use crate::slots::ConnectionId;
use crate::token::{Operation, Token};

impl Flight {
    /// A slot that nobody has.
    pub(super) fn nobodys() -> Self {
        Self::new(Name::NONE)
    }
}

impl Tuned {
    /// What was in flight has come back, or a part of it. Whether it is an answer to a step: a
    /// notification of the kernel's is none, nor is what was cancelled with its chain.
    pub(super) fn landed(&mut self, token: Token, completion: Completion) -> bool {
        let (id, more) = (token.id, completion.more());
        let operation = match token.operation {
            Operation::Accept => {
                return self.accept_landed(completion);
            }
            Operation::Tick => {
                self.ring.tick();
                return true;
            }
            Operation::Stop => {
                if !self.server.stop_requested() {
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
        assert!(
            self.server.clients.get(id).is_some(),
            "a completion for a connection that is gone"
        );
        let flight = self.flight(id);
        flight.due -= u32::from(!more);
        if completion.is_notification() {
            self.settle(id);
            return false;
        }
        assert!(flight.pending.meet(operation), "a completion that nobody waits for");
        if flight.chain.is_some() && operation != Operations::RECV {
            return self.link_landed(id, operation, completion);
        }
        if !more || operation != Operations::RECV {
            flight.pending.remove(operation);
        }
        if operation == Operations::SHUTDOWN && mem::take(&mut flight.is_heard_out) {
            self.settle(id);
            return false;
        }
        true
    }

    /// Whether somebody has come, or accepting has failed: our own cancel is no failure.
    fn accept_landed(&mut self, completion: Completion) -> bool {
        if completion.more() {
            return true;
        }
        let was = mem::replace(&mut self.admission.asking, Asking::Not);
        was != Asking::NoMore || completion.errno() != Some(libc::ECANCELED)
    }

    /// One of a chain. The send speaks first, or, if it is silent, through the next of them.
    fn link_landed(
        &mut self,
        id: ConnectionId,
        operation: Operations,
        completion: Completion,
    ) -> bool {
        let was_sent = Token::new(Operation::Send, id);
        let skips = self.techniques.skip_success;
        let flight = self.flight(id);
        let (chain, length) = flight.chain.expect("it is one of a chain");
        if operation == Operations::SEND {
            flight.pending.remove(operation);
            if skips {
                // It has failed, for otherwise it would be silent; and so are all that follow.
                flight.chain = None;
                // One completion of the chain has come, and none will come of the others.
                flight.due = flight.due + 1 - chain.length() as u32;
                flight.pending.remove(Operations::SHUTDOWN | Operations::CLOSE);
                self.ring.fell_silent(chain.length());
            }
            // Where it came up short the chain is broken; the rest is sent when all of it is back.
            return true;
        }
        if self.flight(id).pending.meet(Operations::SEND) {
            self.flight(id).pending.remove(Operations::SEND);
            self.answer(was_sent, Completion::of(length as i32));
        }
        self.flight(id).pending.remove(operation);
        let is_last = !self.flight(id).pending.meet(chain.operations());
        if is_last {
            self.flight(id).chain = None;
        }
        if completion.errno() == Some(libc::ECANCELED) {
            // It has not been done. What is wanted is asked for anew, when nothing stands in the
            // way of it any more.
            if is_last {
                let next = self.server.client(id).connection.wants();
                self.advance(id, next);
            }
            return false;
        }
        if operation == Operations::CLOSE {
            self.give_up_descriptor(id);
        }
        true
    }

    /// Something that is no step is over: what has waited for it goes on.
    fn settle(&mut self, id: ConnectionId) {
        let flight = *self.flight(id);
        if flight.is_closed && flight.due == 0 {
            self.server.closed(id);
        } else if !flight.is_closed {
            // A receive goes on by itself; the others have waited, or see that they are in flight.
            match self.server.client(id).connection.wants() {
                Next::Recv => {}
                next => self.advance(id, next),
            }
        }
    }

    /// The ring has closed the descriptor, or will: nobody else may.
    pub(super) fn give_up_descriptor(&mut self, id: ConnectionId) {
        if self.flight(id).name.of_process().is_some() {
            let _ = self.server.take_fd(id).into_raw_fd();
        } else {
            self.entry_is_free();
        }
    }

    /// The stop puts an end behind the silence of those whose descriptors are the ring's alone.
    pub(super) fn hear_out(&mut self) {
        while let Some(id) = self.server.next_to_hear_out() {
            if self.server.clients.get(id).is_none()
                || self.flight(id).pending.meet(Operations::SHUTDOWN | Operations::CLOSE)
            {
                continue;
            }
            let flight = self.flight(id);
            flight.is_heard_out = true;
            flight.asked(Operations::SHUTDOWN, 1);
            let entry = shutdown::entry(flight.name, libc::SHUT_RD);
            // SAFETY: the entry has no pointers.
            unsafe { self.ring.push(entry, Token::new(Operation::Shutdown, id)) };
        }
    }

    /// How many completions of connections are still to come, all together.
    pub(super) fn due(&self) -> usize {
        self.server.clients.ids().map(|id| self.flights[id.slot as usize].due as usize).sum()
    }
}
