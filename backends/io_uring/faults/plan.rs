//! What goes wrong on this thread's rings, and what became of what was lent to the kernel.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::token::Operation;

/// What happens to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The kernel never does it, and says this errno.
    Refused(i32),
    /// The kernel does it, and says this errno all the same: what came or went is lost.
    Lost(i32),
    /// The kernel may take or give so many bytes at the most.
    Short(u32),
    /// Its completion is held back for so many takings of completions, unless nothing else comes.
    Delayed(u32),
    /// It would go on, with F_MORE, but its first completion is its last.
    WithoutMore,
}

/// One thing that goes wrong: for the Nth asks of an operation, counted from 1.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) operation: Operation,
    pub(crate) which: RangeInclusive<u32>,
    pub(crate) effect: Effect,
}

/// All that goes wrong on one ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) faults: Vec<Fault>,
    /// The waits, counted from 1, that fail with this errno before they do anything.
    pub(crate) enter: Option<(RangeInclusive<u32>, i32)>,
    /// For how long others may come, at least, before what is held back does.
    pub(crate) lateness: Duration,
    /// The completions of one taking are shuffled.
    pub(crate) shuffled_by: Option<u64>,
    /// The operations, by their codes, that this kernel does not have.
    pub(crate) missing: Vec<u8>,
}

/// What was done, and what was left when the rings and buffers of this thread went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// How often something went wrong as planned.
    pub(crate) injected: u64,
    /// Rings and slabs that are gone.
    pub(crate) rings: u64,
    pub(crate) slabs: u64,
    /// Operations whose last completion nobody had taken.
    pub(crate) operations_left: usize,
    /// Buffers that the kernel had not given back.
    pub(crate) buffers_left: usize,
}

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
    static ACCOUNTS: RefCell<Accounts> = RefCell::default();
}

/// The plan of this thread.
pub(crate) fn plan() -> Plan {
    PLAN.with_borrow(Clone::clone)
}

/// From the next ring on, this goes wrong on this thread.
#[cfg(test)]
pub(crate) fn set_plan(plan: Plan) {
    PLAN.set(plan);
}

/// What was done until now.
#[cfg(test)]
pub(crate) fn take_accounts() -> Accounts {
    ACCOUNTS.take()
}

/// One more fault.
pub(crate) fn injected() {
    ACCOUNTS.with_borrow_mut(|accounts| accounts.injected += 1);
}

/// A ring goes, with so many operations in flight.
pub(crate) fn account_for_operations(left: usize) {
    ACCOUNTS.with_borrow_mut(|accounts| {
        accounts.rings += 1;
        accounts.operations_left += left;
    });
}

/// A slab goes, with so many buffers lent.
pub(crate) fn account_for_buffers(left: usize) {
    ACCOUNTS.with_borrow_mut(|accounts| {
        accounts.slabs += 1;
        accounts.buffers_left += left;
    });
}
