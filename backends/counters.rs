//! Counters of one worker. Counting is an addition to a field; formatting is left to the reader of
//! the [`crate::Report`].

use std::ops::AddAssign;

use crate::output::Tally;

macro_rules! system_calls {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The system calls of a worker's event loop. Those that set up and close the listener and
        /// the ring are not counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum SystemCall { $($(#[$doc])* $variant,)* }

        impl SystemCall {
            /// Every system call, in the order of reports.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name that strace(1) prints on x86-64.
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

/// Counts of system calls, failed ones included. Every call goes through a wrapper that counts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemCalls([u64; SYSTEM_CALLS]);

impl SystemCalls {
    pub(crate) fn count(&mut self, call: SystemCall) {
        self.0[call as usize] += 1;
    }

    /// Returns the count of one system call.
    pub fn of(&self, call: SystemCall) -> u64 {
        self.0[call as usize]
    }

    /// Returns the sum of all counts.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Iterates over the names and counts of those that are not zero.
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

/// Histogram of the events returned by one wait: 0, 1, 2–3, 4–7, 8–15…
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchSizes([u64; Self::BUCKETS]);

impl BatchSizes {
    const BUCKETS: usize = 16;

    pub(crate) fn count(&mut self, events: usize) {
        let bucket = (usize::BITS - events.leading_zeros()) as usize;
        self.0[bucket.min(Self::BUCKETS - 1)] += 1;
    }

    /// Iterates over the buckets: the smallest number of events, and the count of waits.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.0.iter().enumerate().map(|(bucket, &waits)| ((1 << bucket) >> 1, waits))
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Counters of one worker, or the sum of several.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $field: u64,)*
            /// System calls by name.
            pub system_calls: SystemCalls,
            /// Events for each wait.
            pub batch_sizes: BatchSizes,
        }

        impl Counters {
            /// Iterates over the names and values of the plain counters, in the order of reports.
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
    /// Connections accepted.
    accepted,
    /// Connections closed, their slots freed.
    closed,
    /// Complete requests within the limit.
    requests,
    /// Responses that the kernel accepted to the last byte.
    responses,
    /// Requests refused with 431.
    request_heads_too_large,
    /// keep_alive: requests refused with another status.
    refused,
    /// Bytes received, those discarded by a lingering close included.
    received_bytes,
    /// Bytes sent.
    sent_bytes,
    /// Sends that accepted fewer bytes than were pending.
    short_sends,
    /// Connections whose stream ended before a request was complete.
    premature_eof,
    /// Connections closed after an error of their own: ECONNRESET, ETIMEDOUT, EHOSTUNREACH…
    connection_errors,
    /// Errors of accept; the queued connections are accepted later.
    accept_errors,
    /// Pauses of accepting, for lack of a slot or a descriptor.
    accept_pauses,
    /// Deadlines passed: no first byte, an incomplete request head or body.
    expired_receiving,
    /// Deadlines passed: no further request on a keep-alive connection.
    expired_idle,
    /// Deadlines passed: the peer did not read its response.
    expired_sending,
    /// Deadlines passed: the peer did not close after its response.
    expired_lingering,
    /// Deadlines passed: the lifetime of a connection.
    expired_lifetime,
    /// Connections open at the stop that ended by themselves.
    drained,
    /// Connections open at the stop that were closed: idle ones, and all at the drain deadline.
    force_closed,
    /// io_uring: connections with operations in flight after the stop's last deadline. Their memory
    /// is leaked, since the kernel may still use it.
    leaked,
    /// Waits for events or completions.
    waits,
    /// Events or completions, those of the worker itself included: the stop, and on io_uring the
    /// tick and the cancels.
    events,
    /// epoll: events for a connection that an earlier event of the same wait closed.
    stale_events,
    /// io_uring: waits after which the CQ had overflowed. Nothing is lost (IORING_FEAT_NODROP).
    completion_queue_overflows,
    /// io_uring: SQEs that found the submission queue full.
    submission_queue_full,
    /// io_uring: enters that failed with EAGAIN or EBUSY and were retried.
    enters_retried,
    /// io_uring: cancels submitted.
    cancels,
    /// io_uring: receives that failed with ENOBUFS and waited for a provided buffer.
    provided_buffers_exhausted,
    /// Requests not printed, since standard output was not read fast enough.
    prints_dropped,
}

impl Counters {
    /// Adds the counts of a protocol.
    pub(crate) fn add_tally(&mut self, tally: &Tally) {
        self.requests += u64::from(tally.requests);
        self.refused += u64::from(tally.refused);
        self.request_heads_too_large += u64::from(tally.heads_too_large);
    }

    /// Returns the system calls for each response; `None` before the first.
    pub fn system_calls_per_request(&self) -> Option<f64> {
        (self.responses > 0).then(|| self.system_calls.total() as f64 / self.responses as f64)
    }

    /// Returns the events for each wait that returned any; `None` before the first.
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
    fn batch_sizes_have_power_of_two_buckets() {
        let mut sizes = BatchSizes::default();
        for events in [0, 1, 2, 3, 4, 7, 8, 1 << 20] {
            sizes.count(events);
        }
        let filled: Vec<_> = sizes.iter().filter(|&(_, waits)| waits > 0).collect();
        assert_eq!(filled, [(0, 1), (1, 1), (2, 2), (4, 2), (8, 1), (1 << 14, 1)]);
    }

    #[test]
    fn counters_add_up() {
        let mut one = Counters { requests: 2, responses: 2, ..Counters::default() };
        one.system_calls.count(SystemCall::Sendto);
        let mut sum = Counters::default();
        sum += &one;
        sum += &one;
        assert_eq!((sum.requests, sum.system_calls.of(SystemCall::Sendto)), (4, 2));
        assert_eq!(sum.system_calls.iter().collect::<Vec<_>>(), [("sendto", 2)]);
        assert_eq!(sum.system_calls_per_request(), Some(0.5));
    }
}
