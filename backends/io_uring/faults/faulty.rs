//! A real ring on which things go wrong as planned.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::os::fd::{FromRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use ::io_uring::{IoUring, cqueue, opcode, squeue};

use super::plan::{self, Effect, Plan};
use super::{Entry, Full, RawEntry};
use crate::token::{Operation, Token};

/// `user_data` that no entry ever has.
const NOBODY: u64 = u64::MAX;
/// `user_data` of what is asked here and not by the server.
const OURS: u64 = u64::MAX - 1;

/// How long others have to come before what is held back.
const LATENESS: Duration = Duration::from_micros(200);

/// An operation that is the kernel's.
struct Ask {
    token: Token,
    effect: Option<Effect>,
    /// Its last completion was made up: those that still come are not passed on.
    is_over: bool,
    /// It says nothing when it succeeds. The kernel is not told, so that its end is known here.
    is_silent: bool,
    /// It is linked to the one before it.
    follows: bool,
    /// That was to be silent, and has failed: so this one is silent too.
    follows_silent: bool,
}

pub(crate) struct Faulty {
    ring: IoUring,
    plan: Plan,
    /// How often each operation was asked, by its tag.
    asked: [u32; 16],
    enters: u32,
    /// Each entry gets a name of its own, since a token is used again and again.
    asks: HashMap<u64, Ask>,
    next_name: u64,
    /// Whether the entry pushed last is linked to the next.
    is_linked: bool,
    /// Completions held back, and for how many more takings.
    held: Vec<(u32, Entry)>,
    taken: VecDeque<Entry>,
    random: u64,
}

impl Faulty {
    pub(super) fn new(ring: IoUring) -> Self {
        let plan = plan::plan();
        let random = plan.shuffled_by.unwrap_or(0) | 1;
        Self {
            ring,
            plan,
            asked: [0; 16],
            enters: 0,
            asks: HashMap::new(),
            next_name: 0,
            is_linked: false,
            held: Vec::new(),
            taken: VecDeque::new(),
            random,
        }
    }

    pub(super) fn submitter(&self) -> ::io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    pub(super) fn capacity(&self) -> usize {
        self.ring.params().sq_entries() as usize
    }

    pub(super) fn len(&self) -> usize {
        // SAFETY: nobody else looks at the queue while `self` is borrowed.
        unsafe { self.ring.submission_shared() }.len()
    }

    pub(super) fn cq_overflow(&mut self) -> bool {
        self.ring.submission().cq_overflow()
    }

    /// # Safety
    /// That of [`squeue::SubmissionQueue::push`].
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) -> Result<(), Full> {
        if self.ring.submission().is_full() {
            return Err(Full);
        }
        let mut raw = RawEntry::of(entry);
        let token = Token::from_bits(raw.user_data).expect("the server names all that it asks");
        let asked = &mut self.asked[token.operation as usize];
        *asked += 1;
        let effect = self
            .plan
            .faults
            .iter()
            .find(|fault| fault.operation == token.operation && fault.which.contains(asked));
        let effect = effect.map(|fault| fault.effect);
        if token.operation == Operation::Cancel {
            raw.address = self.name_of(raw.address);
        }
        let is_silent = raw.flags & SILENT != 0;
        let follows = mem::replace(&mut self.is_linked, raw.flags & LINKED != 0);
        raw.flags &= !SILENT;
        let flags = raw.flags;
        match effect {
            // A cancel of nothing is an operation that does nothing.
            Some(Effect::Refused(_)) => {
                raw = RawEntry::of(&opcode::AsyncCancel::new(NOBODY).build());
                raw.flags = flags & LINKED;
            }
            Some(Effect::Short(bytes)) if bytes < raw.length => {
                raw.length = bytes;
                plan::injected();
            }
            _ => {}
        }
        raw.user_data = self.next_name;
        self.next_name += 1;
        self.asks.insert(
            raw.user_data,
            Ask { token, effect, is_over: false, is_silent, follows, follows_silent: false },
        );
        // SAFETY: passed on to the caller; a length made smaller is still within what it has.
        unsafe { self.push_raw(raw) };
        Ok(())
    }

    /// # Safety
    /// That of [`squeue::SubmissionQueue::push`].
    unsafe fn push_raw(&mut self, raw: RawEntry) {
        let entry = raw.into_entry();
        loop {
            // SAFETY: passed on to the caller.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            self.ring.submit().expect("a full queue can be submitted");
        }
    }

    /// The kernel's name for the operation of that token, if the kernel still has it.
    fn name_of(&self, token: u64) -> u64 {
        let found = self.asks.iter().find(|(_, ask)| ask.token.to_bits() == token && !ask.is_over);
        found.map_or(NOBODY, |(&name, _)| name)
    }

    pub(super) fn submit_and_wait(&mut self, want: usize) -> io::Result<usize> {
        self.enters += 1;
        if let Some((which, errno)) = &self.plan.enter
            && which.contains(&self.enters)
        {
            plan::injected();
            return Err(io::Error::from_raw_os_error(*errno));
        }
        if self.taken.is_empty() && self.held.is_empty() {
            return self.ring.submit_and_wait(want);
        }
        let submitted = self.ring.submit_and_wait(0)?;
        if want > 0 && self.taken.is_empty() {
            self.wait_beside_what_is_held()?;
        }
        Ok(submitted)
    }

    /// What is held back would never wake a wait, but no wait comes back with nothing: either
    /// something else comes soon, or the first of what is held does.
    fn wait_beside_what_is_held(&mut self) -> io::Result<()> {
        if self.ring.completion().is_empty() {
            thread::sleep(self.plan.lateness.max(LATENESS));
            self.ring.submit_and_wait(0)?;
        }
        if self.ring.completion().is_empty() {
            let soonest = self.held.iter().map(|(takings, _)| *takings).min().unwrap_or(1);
            for (takings, _) in &mut self.held {
                *takings -= soonest - 1;
            }
        }
        Ok(())
    }

    pub(super) fn take_completions(&mut self) -> &mut VecDeque<Entry> {
        for (takings, _) in &mut self.held {
            *takings -= 1;
        }
        let mut batch: Vec<Entry> = self
            .held
            .extract_if(.., |(takings, _)| *takings == 0)
            .map(|(_, entry)| entry)
            .collect();
        let completions: Vec<cqueue::Entry> = self.ring.completion().collect();
        for entry in completions {
            batch.extend(self.disturb(&entry));
        }
        if self.plan.shuffled_by.is_some() {
            self.shuffle(&mut batch);
        }
        self.taken.extend(batch);
        &mut self.taken
    }

    /// What the server gets to see of a completion, if anything, and when.
    fn disturb(&mut self, entry: &cqueue::Entry) -> Option<Entry> {
        if entry.user_data() == OURS {
            return None;
        }
        let ask = self.asks.get_mut(&entry.user_data()).expect("the kernel names what it has");
        let (token, effect, was_over) = (ask.token, ask.effect, ask.is_over);
        let says_nothing = ask.is_silent && entry.result() >= 0
            || ask.follows_silent && entry.result() == -libc::ECANCELED;
        if ask.is_silent && entry.result() < 0 {
            self.silence_those_behind(entry.user_data());
        }
        let mut seen =
            Entry { user_data: token.to_bits(), result: entry.result(), flags: entry.flags() };
        let more = cqueue::more(seen.flags);
        if effect == Some(Effect::WithoutMore)
            && more
            && let Some(ask) = self.asks.get_mut(&entry.user_data())
        {
            ask.is_over = true;
        }
        if !more {
            self.asks.remove(&entry.user_data());
        }
        if says_nothing {
            return None;
        }
        if was_over {
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
                let cancel = opcode::AsyncCancel::new(entry.user_data()).build().user_data(OURS);
                // SAFETY: the entry has no pointers.
                unsafe { self.push_raw(RawEntry::of(&cancel)) };
            }
            Some(Effect::Delayed(takings)) => {
                plan::injected();
                self.held.push((takings, seen));
                return None;
            }
            Some(Effect::Short(_) | Effect::WithoutMore) | None => return Some(seen),
        }
        plan::injected();
        Some(seen)
    }

    /// Names are given in order, so the rest of a chain has the names that follow.
    fn silence_those_behind(&mut self, mut name: u64) {
        while let Some(ask) = self.asks.get_mut(&(name + 1))
            && ask.follows
        {
            ask.follows_silent = true;
            name += 1;
        }
    }

    fn shuffle(&mut self, batch: &mut [Entry]) {
        for end in (1..batch.len()).rev() {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let other = (self.random % (end as u64 + 1)) as usize;
            batch.swap(end, other);
            if other != end {
                plan::injected();
            }
        }
    }
}

/// IOSQE_IO_LINK, IOSQE_CQE_SKIP_SUCCESS
const LINKED: u8 = 1 << 2;
const SILENT: u8 = 1 << 6;

/// IORING_CQE_F_MORE
const MORE: u32 = 1 << 1;

/// The server will not hear of it, so what the kernel made is given back here.
fn undo(token: Token, result: i32) {
    if token.operation == Operation::Accept && result >= 0 {
        // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
        drop(unsafe { OwnedFd::from_raw_fd(result) });
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let queued = mem::take(&mut self.taken).len();
        plan::account_for_operations(self.asks.len() + self.held.len() + queued);
    }
}
