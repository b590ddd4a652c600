//! The operations that one connection has in flight.
//!
//! | in flight | with it                                                    |
//! |-----------|------------------------------------------------------------|
//! | RECV      | SEND or SHUTDOWN, if it is multishot or the worker stops   |
//! | SEND      | RECV                                                       |
//! | SHUTDOWN  | RECV                                                       |
//! | CLOSE     | nothing                                                    |
//!
//! The notifications of zero-copy sends may be outstanding with any of them, and after the CLOSE.
//! A slot is free when its descriptor is closed and no notification is outstanding.

use crate::io_uring::ring::Completion;
use crate::token::Operation;

/// A set of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operations(u8);

impl Operations {
    pub(super) const NONE: Self = Self(0);
    pub(super) const RECV: Self = Self(1);
    pub(super) const SEND: Self = Self(1 << 1);
    pub(super) const SHUTDOWN: Self = Self(1 << 2);
    pub(super) const CLOSE: Self = Self(1 << 3);

    fn of(operation: Operation) -> Self {
        match operation {
            Operation::Recv => Self::RECV,
            Operation::Send => Self::SEND,
            Operation::Shutdown => Self::SHUTDOWN,
            Operation::Close => Self::CLOSE,
            _ => unreachable!("an operation of the worker"),
        }
    }

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns the operations that must not be in flight when this one is submitted.
    const fn excludes(self) -> Self {
        let other = match self {
            Self::RECV => Self::NONE,
            Self::SEND => Self::SHUTDOWN,
            Self::SHUTDOWN => Self::SEND,
            _ => Self::RECV.or(Self::SEND).or(Self::SHUTDOWN),
        };
        other.or(self).or(Self::CLOSE)
    }
}

/// State of the connection in one slot. A new connection starts with a new value.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    /// Operations whose result has not arrived.
    pending: Operations,
    /// Those of the pending operations that have been cancelled.
    cancelled: Operations,
    /// Outstanding notifications. One may arrive long after the result of its SEND, when the peer
    /// has acknowledged the bytes.
    notifications: u32,
    is_closed: bool,
    /// The RECV failed with ENOBUFS, and is submitted again when buffers are free.
    pub(super) is_waiting_for_buffer: bool,
    /// The last receive did not fill its buffer, so the socket was empty.
    pub(super) is_socket_empty: bool,
    /// The peer has exceeded its read budget: from then on each receive is single-shot.
    pub(super) is_over_read_budget: bool,
    /// The loop iteration in which the multishot RECV completed last, and the bytes received in it.
    pub(super) iteration: u32,
    pub(super) iteration_bytes: usize,
}

impl InFlight {
    pub(super) const NONE: Self = Self {
        pending: Operations::NONE,
        cancelled: Operations::NONE,
        notifications: 0,
        is_closed: false,
        is_waiting_for_buffer: false,
        is_socket_empty: false,
        is_over_read_budget: false,
        iteration: 0,
        iteration_bytes: 0,
    };

    /// Records the submission of one operation.
    pub(super) fn submitted(&mut self, operation: Operations) {
        let excluded = operation.excludes();
        assert!(
            !self.pending.intersects(excluded) && !self.is_closed,
            "{operation:?} must not be in flight with {:?}",
            self.pending
        );
        self.pending = self.pending.or(operation);
        self.cancelled = self.cancelled.without(operation);
    }

    /// Records a completion of an operation in flight.
    pub(super) fn completed(&mut self, operation: Operation, completion: Completion) {
        if completion.is_notification() {
            self.notifications = self.notifications.checked_sub(1).expect("it was announced");
            return;
        }
        let operations = Operations::of(operation);
        assert!(
            self.is_pending(operations),
            "a completion of an operation that is not in flight: {operation:?}"
        );
        match operation {
            // A multishot RECV stays in flight.
            Operation::Recv if completion.more() => return,
            Operation::Send => self.notifications += u32::from(completion.more()),
            Operation::Close => self.is_closed = true,
            _ => {}
        }
        self.pending = self.pending.without(operations);
    }

    /// Returns true once for each submission of an operation in flight: it must be cancelled.
    pub(super) fn cancel(&mut self, operation: Operations) -> bool {
        let must_cancel = self.is_pending(operation) && !self.cancelled.intersects(operation);
        if must_cancel {
            self.cancelled = self.cancelled.or(operation);
        }
        must_cancel
    }

    /// Returns true if any of the operations is in flight.
    pub(super) fn is_pending(&self, operations: Operations) -> bool {
        self.pending.intersects(operations)
    }

    /// Returns true if a CLOSE can be submitted.
    pub(super) fn can_close(&self) -> bool {
        self.pending == Operations::NONE && !self.is_closed
    }

    /// Returns true if the kernel may still read the bytes of a zero-copy send.
    pub(super) fn awaits_notification(&self) -> bool {
        self.notifications > 0
    }

    /// Returns true if nothing refers to the slot any more.
    pub(super) fn is_free(&self) -> bool {
        self.is_closed && self.notifications == 0
    }

    /// Returns the number of operations in flight, in the way in which the ring counts them.
    pub(super) fn outstanding(&self) -> usize {
        self.pending.0.count_ones() as usize + self.notifications as usize
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    const ALL: [Operations; 4] =
        [Operations::RECV, Operations::SEND, Operations::SHUTDOWN, Operations::CLOSE];

    #[test]
    fn pairs_in_flight_are_those_of_the_table() {
        let legal =
            [(Operations::RECV, Operations::SEND), (Operations::RECV, Operations::SHUTDOWN)];
        for first in ALL {
            for second in ALL {
                let submitted = catch_unwind(|| {
                    let mut in_flight = InFlight::NONE;
                    in_flight.submitted(first);
                    in_flight.submitted(second);
                });
                let is_legal = legal.contains(&(first, second)) || legal.contains(&(second, first));
                assert_eq!(submitted.is_ok(), is_legal, "{first:?} and {second:?}");
            }
        }
    }

    #[test]
    fn slot_is_free_after_the_close_and_the_last_notification() {
        const F_MORE: u32 = 1 << 1;
        const F_NOTIF: u32 = 1 << 3;
        let mut in_flight = InFlight::NONE;
        in_flight.submitted(Operations::SEND);
        in_flight.completed(Operation::Send, Completion::new(1, F_MORE));
        assert!(in_flight.can_close());
        in_flight.submitted(Operations::CLOSE);
        assert_eq!(in_flight.outstanding(), 2);
        in_flight.completed(Operation::Close, Completion::new(0, 0));
        assert!(!in_flight.is_free(), "the notification is outstanding");
        assert!(!in_flight.can_close(), "a descriptor is closed once");
        in_flight.completed(Operation::Send, Completion::new(0, F_NOTIF));
        assert!(in_flight.is_free());
    }
}
