//! What a worker did, counted always and formatted never: a counter is an addition to a field,
//! and reading it is left to whoever gets the [`crate::Report`].

use std::ops::AddAssign;

macro_rules! system_calls {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The system calls of a running worker's loop. Those that make, adjust and close the
        /// listener and the ring come before or after it, and are not counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum SystemCall { $($(#[$doc])* $variant,)* }

        impl SystemCall {
            /// All of them, in the order in which they are reported.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name under which strace shows it on x86-64.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        const SYSTEM_CALLS: usize = SystemCall::ALL.len();
    };
}

system_calls! {
    /// accept4(2)
    Accept4 = "accept4",
    /// recv(2)
    Recvfrom = "recvfrom",
    /// send(2)
    Sendto = "sendto",
    /// shutdown(2)
    Shutdown = "shutdown",
    /// close(2)
    Close = "close",
    /// epoll_create1(2)
    EpollCreate1 = "epoll_create1",
    /// epoll_ctl(2)
    EpollCtl = "epoll_ctl",
    /// epoll_wait(2)
    EpollWait = "epoll_wait",
    /// io_uring_enter(2)
    IoUringEnter = "io_uring_enter",
}

/// How often each system call was made, failed ones included. Exact, since every call goes
/// through a wrapper that counts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemCalls([u64; SYSTEM_CALLS]);

impl SystemCalls {
    /// One more.
    pub(crate) fn count(&mut self, call: SystemCall) {
        self.0[call as usize] += 1;
    }

    /// How often this one was made.
    pub fn of(&self, call: SystemCall) -> u64 {
        self.0[call as usize]
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Those that were made, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        SystemCall::ALL
            .iter()
            .map(|&call| (call.name(), self.of(call)))
            .filter(|&(_, count)| count > 0)
    }
}

impl AddAssign<&Self> for SystemCalls {
    fn add_assign(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(&other.0) {
            *sum += more;
        }
    }
}

/// How many events came at once: the number of waits that brought 0, 1, 2–3, 4–7, 8–15… events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchSizes([u64; Self::BUCKETS]);

impl BatchSizes {
    const BUCKETS: usize = 16;

    /// One more wait, which brought so many.
    pub(crate) fn count(&mut self, events: usize) {
        let bucket = (usize::BITS - events.leading_zeros()) as usize;
        self.0[bucket.min(Self::BUCKETS - 1)] += 1;
    }

    /// The smallest number of events of each bucket, and how many waits fell into it.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.0.iter().enumerate().map(|(bucket, &waits)| ((1 << bucket) >> 1, waits))
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What one worker counted, or, added up, what all of them did.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $field: u64,)*
            /// System calls by name.
            pub system_calls: SystemCalls,
            /// Events a wait.
            pub batch_sizes: BatchSizes,
        }

        impl Counters {
            /// Every plain counter with its name, in the order in which they are reported.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }
        }

        impl AddAssign<&Self> for Counters {
            fn add_assign(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
                self.system_calls += &other.system_calls;
                for (sum, more) in self.batch_sizes.0.iter_mut().zip(&other.batch_sizes.0) {
                    *sum += more;
                }
            }
        }
    };
}

counters! {
    /// Connections taken from the listener.
    accepted,
    /// Connections given back.
    closed,
    /// Requests that came whole and within the limit.
    requests,
    /// Answers handed to the kernel to the last byte.
    answered,
    /// Requests answered with 431.
    heads_too_large,
    /// Requests on connections that persist that were refused with another status.
    refused,
    /// Bytes from peers, those thrown away after the answer included.
    received_bytes,
    /// Bytes to peers.
    sent_bytes,
    /// Sends that took less than was offered.
    short_sends,
    /// Connections that ended before their request did.
    ended_early,
    /// Connections closed for an error of theirs: a reset, a time-out, no route.
    connection_errors,
    /// Errors of accept; the queue stays as it is, and is tried again.
    accept_errors,
    /// Times that accepting paused, for want of a slot or of a descriptor.
    accept_pauses,
    /// Connections closed because a deadline passed: nothing came, or the head did not end.
    expired_receiving,
    /// The same: no other request came on a connection that persists.
    expired_idle,
    /// The same: the peer did not take its answer.
    expired_sending,
    /// The same: the peer did not close after its answer.
    expired_lingering,
    /// The same: the connection as a whole took too long.
    expired_life,
    /// Connections that were open at the stop and came to their own end.
    drained,
    /// Connections that were open at the stop and cut off: silent ones, and all at the deadline.
    cut_off,
    /// Connections that the kernel did not let go of in time, after all were cut off.
    not_given_back,
    /// Waits for events or completions.
    waits,
    /// Events or completions that they brought, those of the worker itself included: the stop,
    /// and on io_uring the tick and the answers to cancels.
    events,
    /// epoll: events for a connection that an earlier event of the same batch had closed.
    stale_events,
    /// io_uring: waits that found the completion queue overflown. Nothing is lost by it.
    completion_queue_overflows,
    /// io_uring: pushes that found the submission queue full.
    submission_queue_full,
    /// io_uring: enters that the kernel put off (EAGAIN, EBUSY).
    enters_put_off,
    /// io_uring: operations asked to be cancelled.
    cancels,
    /// io_uring: receives that found no provided buffer, and waited for one.
    provided_buffers_missing,
    /// Printed requests dropped, since nobody read them fast enough.
    prints_dropped,
}

impl Counters {
    /// System calls for each request that was answered; `None` before the first.
    pub fn system_calls_per_request(&self) -> Option<f64> {
        (self.answered > 0).then(|| self.system_calls.total() as f64 / self.answered as f64)
    }

    /// Events for each wait that brought any; `None` before the first.
    pub fn events_per_wait(&self) -> Option<f64> {
        let empty = self.batch_sizes.0[0];
        let waits = self.batch_sizes.0.iter().sum::<u64>() - empty;
        (waits > 0).then(|| self.events as f64 / waits as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fall_into_their_buckets() {
        let mut sizes = BatchSizes::default();
        for events in [0, 1, 2, 3, 4, 7, 8, 1 << 20] {
            sizes.count(events);
        }
        let filled: Vec<_> = sizes.iter().filter(|&(_, waits)| waits > 0).collect();
        assert_eq!(filled, [(0, 1), (1, 1), (2, 2), (4, 2), (8, 1), (1 << 14, 1)]);
    }

    #[test]
    fn counters_add_up() {
        let mut one = Counters { requests: 2, answered: 2, ..Counters::default() };
        one.system_calls.count(SystemCall::Sendto);
        let mut sum = Counters::default();
        sum += &one;
        sum += &one;
        assert_eq!((sum.requests, sum.system_calls.of(SystemCall::Sendto)), (4, 2));
        assert_eq!(sum.system_calls.iter().collect::<Vec<_>>(), [("sendto", 2)]);
        assert_eq!(sum.system_calls_per_request(), Some(0.5));
    }
}
