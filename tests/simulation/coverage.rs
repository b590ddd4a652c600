//! Counts of what histories covered, so that a test can check that they covered enough.

macro_rules! coverage {
    ($($(#[$documentation:meta])* $name:ident,)+) => {
        /// Counts of what histories covered.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Coverage {
            $($(#[$documentation])* pub $name: u64,)+
        }

        impl Coverage {
            /// Returns the name and the value of every count.
            pub fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }

        impl std::ops::AddAssign for Coverage {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

coverage! {
    /// Histories.
    histories,
    /// Waits of the server for events or completions.
    waits,
    /// Actions of peers, and advances of the clock.
    actions,
    /// Connections that the server accepted.
    accepted,
    /// Peers that have read their whole response.
    responses,
    /// Injected failures of calls and operations.
    faults,
    /// Connections that a deadline or the drain timeout closed.
    expired,
    /// epoll events for closed connections.
    stale_events,
    /// Stops that were requested at random.
    stops,
    /// Half-closes of the receive side of idle connections, at a stop.
    half_closes,
    /// Readings of the clock while the server busy-polls.
    busy_polls,
    /// Calls that run task work without a wait (IORING_SQ_TASKRUN).
    task_work,
    /// Calls that submit a part of the queue.
    short_submissions,
    /// Receives into more than one provided buffer.
    bundles,
    /// Wake-ups of the SQPOLL thread while SQEs are queued.
    sq_wakeups,
    /// SQEs that the SQPOLL thread consumed.
    sq_polled,
}
