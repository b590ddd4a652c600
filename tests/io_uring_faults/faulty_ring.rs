//! A real ring that injects the faults of a plan: it passes SQEs to the kernel and returns its
//! CQEs, but fails, shortens, delays and shuffles them.
//!
//! External tools cannot inject faults here, as strace does for system calls: the kernel writes
//! CQEs to shared memory.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::os::fd::{FromRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue};
use ringpoll_backends::testing::{
    Kernel, KernelRing, Operation, RealKernel, RingSetup, SubmissionStatus, Token,
};
use ringpoll_backends::{BackendError, EngineOptions, ShutdownBy};
use simulation::{RawCqe, RawSqe};

use crate::plan::{self, Effect, Plan};

/// `user_data` that no SQE has.
const NO_OPERATION: u64 = u64::MAX;
/// `user_data` of cancels submitted here and not by the server.
const OWN_CANCEL: u64 = u64::MAX - 1;

/// Minimum time for other completions to arrive before a delayed one is delivered.
const MIN_HOLD: Duration = Duration::from_micros(200);

/// IORING_CQE_F_MORE
const MORE: u32 = 1 << 1;

/// The real kernel, except for its rings.
pub(crate) struct FaultyKernel;

impl Kernel for FaultyKernel {
    type Ring = FaultyRing;

    fn set_up_ring(requested: &EngineOptions) -> Result<RingSetup<FaultyRing>, BackendError> {
        let mut setup = RealKernel::set_up_ring(requested)?;
        if plan::plan().has_no_shutdown && setup.options.shutdown == ShutdownBy::Ring {
            // As the setup does on a kernel before 5.11.
            setup.options.shutdown = ShutdownBy::Call;
            setup.shutdown_by_call = true;
        }
        let RingSetup { ring, options, shutdown_by_call } = setup;
        Ok(RingSetup { ring: FaultyRing::new(ring), options, shutdown_by_call })
    }
}

struct InFlightOperation {
    token: Token,
    effect: Option<Effect>,
    /// The server has seen a last CQE, so later ones are discarded.
    is_finished: bool,
}

pub(crate) struct FaultyRing {
    ring: IoUring,
    plan: Plan,
    /// Number of submissions of each operation.
    submissions: [u32; 16],
    enters: u32,
    /// By a unique ID, which the kernel gets as `user_data`; tokens are reused.
    in_flight: HashMap<u64, InFlightOperation>,
    next_id: u64,
    /// Delayed CQEs, each with the number of reaps until it is delivered.
    held: Vec<(u32, RawCqe)>,
    delivered: VecDeque<RawCqe>,
    random: u64,
}

impl FaultyRing {
    pub(crate) fn new(ring: IoUring) -> Self {
        let plan = plan::plan();
        let random = plan.shuffle_seed.unwrap_or(0) | 1;
        Self {
            ring,
            plan,
            submissions: [0; 16],
            enters: 0,
            in_flight: HashMap::new(),
            next_id: 0,
            held: Vec::new(),
            delivered: VecDeque::new(),
            random,
        }
    }

    /// # Safety
    /// As for [`squeue::SubmissionQueue::push`].
    unsafe fn push_one(&mut self, sqe: &squeue::Entry) {
        let mut raw = RawSqe::from(sqe);
        let token = Token::from_bits(raw.user_data).expect("every SQE of the server has a token");
        let submissions = &mut self.submissions[token.operation as usize];
        *submissions += 1;
        let effect =
            self.plan.faults.iter().find(|fault| {
                fault.operation == token.operation && fault.which.contains(submissions)
            });
        let effect = effect.map(|fault| fault.effect);
        if token.operation == Operation::Cancel {
            raw.address = self.id_of(raw.address);
        }
        match effect {
            // An ASYNC_CANCEL without a target does nothing.
            Some(Effect::Refused(_)) => {
                raw = RawSqe::from(&opcode::AsyncCancel::new(NO_OPERATION).build());
            }
            Some(Effect::Short(bytes)) if bytes < raw.length => {
                raw.length = bytes;
                plan::count_injected();
            }
            _ => {}
        }
        raw.user_data = self.next_id;
        self.next_id += 1;
        let operation = InFlightOperation { token, effect, is_finished: false };
        self.in_flight.insert(raw.user_data, operation);
        // SAFETY: the caller's promise; a reduced length is within the buffer.
        unsafe { self.push_raw(raw) };
    }

    /// # Safety
    /// As for [`squeue::SubmissionQueue::push`].
    unsafe fn push_raw(&mut self, raw: RawSqe) {
        let sqe = squeue::Entry::from(raw);
        loop {
            // SAFETY: the caller's promise.
            if unsafe { self.ring.submission().push(&sqe) }.is_ok() {
                return;
            }
            self.ring.submit().expect("a full queue can be submitted");
        }
    }

    /// Returns the ID of the operation in flight with this token.
    fn id_of(&self, token: u64) -> u64 {
        let has_token = |operation: &InFlightOperation| {
            operation.token.to_bits() == token && !operation.is_finished
        };
        let found = self.in_flight.iter().find(|(_, operation)| has_token(operation));
        found.map_or(NO_OPERATION, |(&id, _)| id)
    }

    /// Waits a short time for a completion. If none arrives, makes the first delayed one due:
    /// a delayed CQE cannot wake a wait, and a wait must not return without a completion.
    fn wait_or_release_held(&mut self) -> io::Result<()> {
        if self.ring.completion().is_empty() {
            thread::sleep(self.plan.min_hold.max(MIN_HOLD));
            self.ring.submit_and_wait(0)?;
        }
        if self.ring.completion().is_empty() {
            let soonest = self.held.iter().map(|(reaps, _)| *reaps).min().unwrap_or(1);
            for (reaps, _) in &mut self.held {
                *reaps -= soonest - 1;
            }
        }
        Ok(())
    }

    fn reap(&mut self) {
        for (reaps, _) in &mut self.held {
            *reaps -= 1;
        }
        let (due, held): (Vec<_>, Vec<_>) = self.held.drain(..).partition(|(reaps, _)| *reaps == 0);
        self.held = held;
        let mut batch: Vec<RawCqe> = due.into_iter().map(|(_, cqe)| cqe).collect();
        let completions: Vec<cqueue::Entry> = self.ring.completion().collect();
        for cqe in completions {
            batch.extend(self.inject(&cqe));
        }
        if self.plan.shuffle_seed.is_some() {
            self.shuffle(&mut batch);
        }
        self.delivered.extend(batch);
    }

    /// Applies the planned fault to a CQE. Returns what the server sees, or `None` if the CQE is
    /// delayed or discarded.
    fn inject(&mut self, cqe: &cqueue::Entry) -> Option<RawCqe> {
        let id = cqe.user_data();
        if id == OWN_CANCEL {
            return None;
        }
        let operation = self.in_flight.get_mut(&id).expect("the kernel returns user_data");
        let (token, effect) = (operation.token, operation.effect);
        let was_finished = operation.is_finished;
        let mut seen = RawCqe { user_data: token.to_bits(), ..RawCqe::from(cqe) };
        let more = cqueue::more(seen.flags);
        operation.is_finished |= effect == Some(Effect::WithoutMore) && more;
        if !more {
            self.in_flight.remove(&id);
        }
        if was_finished {
            undo(token, seen.result);
            return None;
        }
        match effect {
            Some(Effect::Refused(errno)) => seen.result = -errno,
            Some(Effect::Lost(errno)) => {
                undo(token, seen.result);
                seen.result = -errno;
            }
            Some(Effect::WithoutMore) if more => {
                seen.flags &= !MORE;
                let cancel = opcode::AsyncCancel::new(id).build().user_data(OWN_CANCEL);
                // SAFETY: the SQE has no pointers.
                unsafe { self.push_raw(RawSqe::from(&cancel)) };
            }
            Some(Effect::Delayed(reaps)) => {
                plan::count_injected();
                self.held.push((reaps, seen));
                return None;
            }
            Some(Effect::Short(_) | Effect::WithoutMore) | None => return Some(seen),
        }
        plan::count_injected();
        Some(seen)
    }

    fn shuffle(&mut self, batch: &mut [RawCqe]) {
        for end in (1..batch.len()).rev() {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let other = (self.random % (end as u64 + 1)) as usize;
            batch.swap(end, other);
            if other != end {
                plan::count_injected();
            }
        }
    }
}

impl KernelRing for FaultyRing {
    fn cq_entries(&self) -> usize {
        self.ring.cq_entries()
    }

    unsafe fn push(&mut self, sqes: &mut VecDeque<squeue::Entry>) {
        while !self.ring.submission().is_full()
            && let Some(sqe) = sqes.pop_front()
        {
            // SAFETY: the caller's promise.
            unsafe { self.push_one(&sqe) };
        }
    }

    fn submission_status(&mut self) -> SubmissionStatus {
        self.ring.submission_status()
    }

    fn need_wakeup(&mut self) -> bool {
        self.ring.need_wakeup()
    }

    fn has_completions(&mut self) -> bool {
        !self.delivered.is_empty() || self.ring.has_completions()
    }

    fn completions(&mut self) -> impl Iterator<Item = cqueue::Entry> {
        self.reap();
        self.delivered.drain(..).map(cqueue::Entry::from)
    }

    fn enter(&mut self, to_submit: u32, min_complete: u32, flags: u32) -> io::Result<usize> {
        self.enters += 1;
        if let Some((which, errno)) = &self.plan.enter
            && which.contains(&self.enters)
        {
            plan::count_injected();
            return Err(io::Error::from_raw_os_error(*errno));
        }
        if self.delivered.is_empty() && self.held.is_empty() {
            return self.ring.enter(to_submit, min_complete, flags);
        }
        let submitted = self.ring.enter(to_submit, 0, flags)?;
        if min_complete > 0 && self.delivered.is_empty() {
            self.wait_or_release_held()?;
        }
        Ok(submitted)
    }

    unsafe fn register_buffer_ring(
        &mut self,
        address: u64,
        entries: u16,
        group: u16,
    ) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.ring.register_buffer_ring(address, entries, group) }
    }

    fn unregister_buffer_ring(&mut self, group: u16) -> io::Result<()> {
        self.ring.unregister_buffer_ring(group)
    }
}

/// Closes the descriptor of an ACCEPT whose result the server will not see.
fn undo(token: Token, result: i32) {
    if token.operation == Operation::Accept && result >= 0 {
        // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
        drop(unsafe { OwnedFd::from_raw_fd(result) });
    }
}

impl Drop for FaultyRing {
    fn drop(&mut self) {
        let queued = mem::take(&mut self.delivered).len();
        plan::record_ring_dropped(self.in_flight.len() + self.held.len() + queued);
    }
}
