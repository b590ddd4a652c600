//! The faults to inject on this thread's rings, and what its rings left behind.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use ringpoll_backends::testing::Operation;

/// The fault of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It is not executed and fails with this errno.
    Refused(i32),
    /// It is executed and reported as failed with this errno: its result is lost.
    Lost(i32),
    /// It transfers at most this many bytes.
    Short(u32),
    /// Its CQE is held back until completions have been reaped this often, or until no other
    /// completion arrives.
    Delayed(u32),
    /// It ends with its first CQE, from which IORING_CQE_F_MORE is removed.
    WithoutMore,
}

/// A fault of certain submissions of an operation.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) operation: Operation,
    /// The submissions, counted from 1.
    pub(crate) which: RangeInclusive<u32>,
    pub(crate) effect: Effect,
}

/// The faults of one ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) faults: Vec<Fault>,
    /// The calls of io_uring_enter(2), counted from 1, that fail with this errno and do nothing.
    pub(crate) enter: Option<(RangeInclusive<u32>, i32)>,
    /// Minimum time for other completions to arrive before a delayed one is delivered.
    pub(crate) min_hold: Duration,
    /// Shuffles the completions that are reaped together.
    pub(crate) shuffle_seed: Option<u64>,
    /// The kernel has no IORING_OP_SHUTDOWN.
    pub(crate) has_no_shutdown: bool,
}

/// The faults injected on this thread, and what was outstanding when its rings were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) injected: u64,
    /// Rings dropped.
    pub(crate) rings: u64,
    /// Operations still in flight.
    pub(crate) operations_left: usize,
}

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
    static OUTCOME: RefCell<Outcome> = RefCell::default();
}

pub(crate) fn plan() -> Plan {
    PLAN.with_borrow(Clone::clone)
}

/// Sets the faults of the rings that this thread creates from now on.
pub(crate) fn set_plan(plan: Plan) {
    PLAN.set(plan);
}

/// Returns the outcome and resets it.
pub(crate) fn take_outcome() -> Outcome {
    OUTCOME.take()
}

pub(crate) fn count_injected() {
    OUTCOME.with_borrow_mut(|outcome| outcome.injected += 1);
}

/// Records a dropped ring and its number of operations in flight.
pub(crate) fn record_ring_dropped(left: usize) {
    OUTCOME.with_borrow_mut(|outcome| {
        outcome.rings += 1;
        outcome.operations_left += left;
    });
}
