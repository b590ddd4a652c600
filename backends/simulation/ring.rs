//! The simulated ring: operations that are the kernel's until they complete, in any order.

use std::collections::VecDeque;
use std::io;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use ::io_uring::opcode;
use ::io_uring::types::BufRingEntry;

use super::kernel::Kernel;
use crate::backend::EngineOptions;
use crate::io_uring::faults::{Entry, Full, RawEntry};
use crate::token::{self, Token};

const ACCEPT: u8 = opcode::Accept::CODE;
const RECV: u8 = opcode::Recv::CODE;
const SEND: u8 = opcode::Send::CODE;
const SHUTDOWN: u8 = opcode::Shutdown::CODE;
const CLOSE: u8 = opcode::Close::CODE;
const CANCEL: u8 = opcode::AsyncCancel::CODE;
const TIMEOUT: u8 = opcode::Timeout::CODE;
const POLL: u8 = opcode::PollAdd::CODE;

const TICK_MS: u64 = 1000;

/// The tag of the stop in a token.
const STOP: u64 = token::Operation::Stop as u64;

const LINKED: u8 = 1 << 2;
const SILENT: u8 = 1 << 6;
const PROVIDED: u8 = 1 << 5;
const ACCEPT_MULTISHOT: u16 = 1;
const RECV_MULTISHOT: u16 = 1 << 1;
const MORE: u32 = 1 << 1;
/// A provided buffer is named in the upper half of the flags.
const BUFFER: u32 = 1;
const BUFFER_SHIFT: u32 = 16;

/// One operation that is the kernel's.
struct Operation {
    entry: RawEntry,
    /// Those that begin, one after the other, when it has succeeded.
    linked: VecDeque<RawEntry>,
    /// A send that goes on until all is sent: how much was.
    sent: u32,
    due_ms: u64,
    /// It was cancelled, and its completion says this.
    ended_by: Option<i32>,
    /// The cancel came when it was about to complete: that is the last time.
    ends_with_next: bool,
}

/// All that is the kernel's of a ring.
pub(super) struct Operations {
    queue: VecDeque<RawEntry>,
    queue_entries: usize,
    completion_entries: usize,
    in_flight: Vec<Operation>,
    completions: VecDeque<Entry>,
    buffers: Option<BufferRing>,
}

/// The ring of provided buffers, as the kernel sees it.
struct BufferRing {
    address: *const BufRingEntry,
    entries: u16,
    /// How many were ever taken, modulo 2^16.
    taken: u16,
}

impl BufferRing {
    /// The next buffer, unless all of them are taken: where it is, how long, and its name.
    fn next(&self) -> Option<(*mut u8, usize, u16)> {
        // SAFETY: the server has lent the ring, and its first entry holds the end of it.
        let end = unsafe { BufRingEntry::tail(self.address) };
        // SAFETY: the end is aligned, and lives as long as the ring.
        let given = unsafe { AtomicU16::from_ptr(end.cast_mut()) }.load(Ordering::Acquire);
        if given == self.taken {
            return None;
        }
        // SAFETY: the place is within the ring.
        let entry = unsafe { self.address.add(usize::from(self.taken % self.entries)) };
        // SAFETY: the end of the ring has passed it, so the server does not write to it.
        let entry = unsafe { &*entry };
        Some((entry.addr() as *mut u8, entry.len() as usize, entry.bid()))
    }
}

impl Operations {
    pub(super) fn new(options: &EngineOptions) -> Self {
        Self {
            queue: VecDeque::new(),
            queue_entries: options.submission_queue_entries as usize,
            completion_entries: options.completion_queue_entries.unwrap_or(64) as usize,
            in_flight: Vec::new(),
            completions: VecDeque::new(),
            buffers: None,
        }
    }

    /// What was not completed, and what nobody has taken.
    pub(super) fn left(&self) -> usize {
        self.queue.len() + self.in_flight.len() + self.completions.len()
    }
}

/// The ring as the server has it.
#[derive(Default)]
pub(crate) struct SimulatedRing {
    taken: VecDeque<Entry>,
}

impl SimulatedRing {
    pub(crate) fn push(&mut self, entry: RawEntry) -> Result<(), Full> {
        kernel(|kernel| {
            let operations = &mut kernel.operations;
            if operations.queue.len() == operations.queue_entries {
                return Err(Full);
            }
            operations.queue.push_back(entry);
            Ok(())
        })
    }

    /// Buffers that receives may take; no entries end that.
    pub(crate) fn lend_buffers(&mut self, address: u64, entries: u16) {
        let address = address as *const BufRingEntry;
        let ring = (entries > 0).then_some(BufferRing { address, entries, taken: 0 });
        kernel(|kernel| kernel.operations.buffers = ring);
    }

    pub(crate) fn capacity(&self) -> usize {
        kernel(|kernel| kernel.operations.queue_entries)
    }

    pub(crate) fn len(&self) -> usize {
        kernel(|kernel| kernel.operations.queue.len())
    }

    pub(crate) fn cq_overflow(&self) -> bool {
        kernel(|kernel| kernel.operations.completions.len() > kernel.operations.completion_entries)
    }

    pub(crate) fn submit_and_wait(&mut self, want: usize) -> io::Result<usize> {
        kernel(|kernel| kernel.enter(want)).map_err(io::Error::from_raw_os_error)
    }

    pub(crate) fn take_completions(&mut self) -> &mut VecDeque<Entry> {
        kernel(|kernel| {
            let operations = &mut kernel.operations;
            let room = operations.completion_entries.saturating_sub(self.taken.len());
            let count = room.min(operations.completions.len());
            let taken = self.taken.len();
            self.taken.extend(operations.completions.drain(..count));
            // Also a watch that failed tells it, if it is looked at when it was requested.
            let is_told = self.taken.range(taken..).any(|it| it.user_data >> 56 == STOP);
            if is_told && kernel.stop.is_requested() {
                kernel.stop_heard_ms.get_or_insert(kernel.coarse_ms());
            }
            let operations = &mut kernel.operations;
            // What is left over is reason enough to come back.
            kernel.progress += u64::from(!operations.completions.is_empty());
        });
        &mut self.taken
    }
}

/// Nothing may race with a close, and no two of a kind with each other. A receive for all that
/// comes may go on beside the rest; one that brings one thing is waited for.
fn may_go_together(one: &RawEntry, other: &RawEntry) -> bool {
    let goes_on = |it: &RawEntry| it.opcode == RECV && it.priority & RECV_MULTISHOT != 0;
    let closes = one.opcode == CLOSE || other.opcode == CLOSE;
    (goes_on(one) || goes_on(other)) && one.opcode != other.opcode && !closes
}

fn kernel<T>(call: impl FnOnce(&mut Kernel) -> T) -> T {
    Kernel::with(call).expect("a simulated ring lives on the thread of its kernel")
}

impl Kernel {
    fn enter(&mut self, want: usize) -> Result<usize, i32> {
        self.called("io_uring_enter");
        if want > 0 {
            self.turn_ends();
        }
        if let Some(errno) = self.fails(&[libc::EINTR, libc::EAGAIN, libc::EBUSY]) {
            return Err(errno);
        }
        let submitted = self.operations.queue.len();
        while let Some(entry) = self.operations.queue.pop_front() {
            let (mut linked, mut last) = (VecDeque::new(), entry.flags);
            while last & LINKED != 0 {
                let next = self.operations.queue.pop_front();
                let next = next.expect("a chain is submitted in two parts, and broken");
                last = next.flags;
                linked.push_back(next);
            }
            self.submit(entry, linked);
        }
        self.happen();
        self.complete_some();
        while want > 0 && self.operations.completions.is_empty() {
            let first_due = self.operations.in_flight.iter().map(|operation| operation.due_ms);
            let wait_ms = first_due.min().unwrap_or(u64::MAX).saturating_sub(self.now_ms);
            assert!(wait_ms <= TICK_MS, "it waits, and nothing will ever wake it");
            self.nothing_is_ready(wait_ms);
            self.complete_some();
        }
        Ok(submitted)
    }

    fn submit(&mut self, entry: RawEntry, linked: VecDeque<RawEntry>) {
        let in_flight = &self.operations.in_flight;
        if matches!(entry.opcode, RECV | SEND | SHUTDOWN | CLOSE) {
            self.peer_at(entry.fd);
            let other = in_flight.iter().map(|other| &other.entry).find(|other| {
                other.fd == entry.fd
                    && matches!(other.opcode, RECV | SEND | SHUTDOWN | CLOSE)
                    && !may_go_together(&entry, other)
            });
            assert!(other.is_none(), "two operations in flight for one connection");
        }
        let due_ms = if entry.opcode == TIMEOUT { self.now_ms + TICK_MS } else { u64::MAX };
        // Both need memory of their own before they can begin.
        let fails = matches!(entry.opcode, TIMEOUT | POLL);
        let mut ended_by = if fails { self.fails(&[libc::ENOMEM]) } else { None };
        if entry.flags & PROVIDED != 0 && self.next_buffer().is_none() {
            // Whether or not there is anything to be received.
            ended_by = Some(libc::ENOBUFS);
        }
        let name = Token::from_bits(entry.user_data).map(|it| it.operation);
        self.tell(format_args!("{name:?}({}) is submitted", entry.fd));
        if entry.opcode == CANCEL {
            let result = self.cancel(entry.address);
            self.complete(entry, result, 0);
            return;
        }
        self.operations.in_flight.push(Operation {
            entry,
            linked,
            sent: 0,
            due_ms,
            ended_by,
            ends_with_next: false,
        });
    }

    /// What a cancel says. It may come too late for what can complete by itself.
    fn cancel(&mut self, user_data: u64) -> i32 {
        let found = self.operations.in_flight.iter().position(|operation| {
            operation.entry.user_data == user_data && operation.ended_by.is_none()
        });
        let Some(index) = found else { return -libc::ENOENT };
        if self.can_complete(index) && self.choices.below(3) == 1 {
            self.operations.in_flight[index].ends_with_next = true;
            return -libc::EALREADY;
        }
        let ended_by = self.choices.of(&[libc::ECANCELED, libc::EINTR]);
        self.operations.in_flight[index].ended_by = Some(ended_by);
        self.choices.of(&[0, -libc::EALREADY])
    }

    fn can_complete(&self, index: usize) -> bool {
        let Operation { entry, due_ms, ended_by, .. } = &self.operations.in_flight[index];
        let peer = || &self.peers[self.peer_at(entry.fd)];
        ended_by.is_some()
            || match entry.opcode {
                ACCEPT => !self.queue.is_empty(),
                RECV => peer().is_readable(),
                SEND => peer().is_writable(self.setup.send_buffer_bytes),
                TIMEOUT => *due_ms <= self.now_ms,
                POLL => self.stop.is_requested(),
                _ => true,
            }
    }

    /// Some of what can complete does, in any order.
    fn complete_some(&mut self) {
        let mut able: Vec<_> = (0..self.operations.in_flight.len())
            .filter(|&index| self.can_complete(index))
            .collect();
        let leave_out = self.choices.below(3).min(able.len().saturating_sub(1));
        for _ in leave_out..able.len() {
            let index = able.swap_remove(self.choices.below(able.len()));
            // Chance of failing comes first: what failed has not been done.
            let is_over = self.complete_at(index);
            for other in &mut able {
                *other -= usize::from(is_over && *other > index);
            }
        }
    }

    /// Everything that can complete does: a kernel that has a second's time uses it.
    pub(super) fn finish_operations(&mut self) {
        let mut submitted = std::mem::take(&mut self.operations.queue);
        // What has not been submitted is not the kernel's yet.
        while let Some(index) =
            (0..self.operations.in_flight.len()).find(|&index| self.can_complete(index))
        {
            self.complete_at(index);
        }
        std::mem::swap(&mut self.operations.queue, &mut submitted);
    }

    /// It completes, or does a part of what it has to do; whether it is over.
    fn complete_at(&mut self, index: usize) -> bool {
        let mut operation = self.operations.in_flight.remove(index);
        let entry = operation.entry;
        let result = match operation.ended_by {
            Some(errno) => Err(errno),
            None => self.perform(&entry),
        };
        if entry.flags & PROVIDED != 0 && operation.ended_by.is_none() {
            return self.complete_receive(index, operation, result);
        }
        if entry.opcode == ACCEPT && entry.priority & ACCEPT_MULTISHOT != 0 && result.is_ok() {
            // It may end at any time, and its last completion is as good as the others.
            let goes_on = !operation.ends_with_next && self.choices.below(4) != 3;
            if goes_on {
                self.operations.in_flight.insert(index, operation);
            }
            self.complete(entry, result.unwrap_or(0), if goes_on { MORE } else { 0 });
            return !goes_on;
        }
        let is_whole = entry.operation_flags & libc::MSG_WAITALL as u32 != 0;
        if entry.opcode == SEND && is_whole {
            operation.sent += *result.as_ref().unwrap_or(&0) as u32;
            if let Ok(count) = result
                && (count as u32) < entry.length
            {
                operation.entry.address += count as u64;
                operation.entry.length -= count as u32;
                self.operations.in_flight.insert(index, operation);
                return false;
            }
        }
        let has_failed = result.is_err();
        let sent = (operation.sent > 0).then_some(operation.sent as i32);
        let result = sent.unwrap_or_else(|| result.unwrap_or_else(|errno| -errno));
        if has_failed || entry.flags & SILENT == 0 {
            self.complete(entry, result, 0);
        } else {
            self.progress += 1;
        }
        self.go_on_with(operation, has_failed);
        true
    }

    /// What has come into a provided buffer, and whether it is over: a receive for all that comes
    /// goes on until the end of the stream, an error, or, like an ACCEPT for all, whatever the
    /// kernel likes.
    fn complete_receive(
        &mut self,
        index: usize,
        operation: Operation,
        result: Result<i32, i32>,
    ) -> bool {
        let entry = operation.entry;
        let mut flags = 0;
        if let (Ok(1..), Some((_, _, name))) = (&result, self.next_buffer()) {
            flags = BUFFER | u32::from(name) << BUFFER_SHIFT;
            let ring = self.operations.buffers.as_mut().expect("a buffer was taken from it");
            ring.taken = ring.taken.wrapping_add(1);
        }
        let goes_on = entry.priority & RECV_MULTISHOT != 0
            && matches!(result, Ok(1..))
            && !operation.ends_with_next
            && self.choices.below(4) != 3;
        if goes_on {
            self.operations.in_flight.insert(index, operation);
            flags |= MORE;
        }
        self.complete(entry, result.unwrap_or_else(|errno| -errno), flags);
        !goes_on
    }

    fn next_buffer(&self) -> Option<(*mut u8, usize, u16)> {
        self.operations.buffers.as_ref().and_then(BufferRing::next)
    }

    /// Where a receive puts what has come, and how much of it.
    fn buffer_of(&self, entry: &RawEntry) -> Result<(*mut u8, usize), i32> {
        if entry.flags & PROVIDED == 0 {
            return Ok((entry.address as *mut u8, entry.length as usize));
        }
        let (pointer, length, _) = self.next_buffer().ok_or(libc::ENOBUFS)?;
        let most = if entry.length > 0 { entry.length as usize } else { length };
        Ok((pointer, length.min(most)))
    }

    /// What is linked begins, or, if what it was linked to has failed, is cancelled; without a
    /// word, if that was to be silent.
    fn go_on_with(&mut self, mut operation: Operation, has_failed: bool) {
        if !has_failed {
            if let Some(next) = operation.linked.pop_front() {
                self.submit(next, operation.linked);
            }
        } else if operation.entry.flags & SILENT == 0 {
            for cancelled in operation.linked {
                self.complete(cancelled, -libc::ECANCELED, 0);
            }
        }
    }

    fn perform(&mut self, entry: &RawEntry) -> Result<i32, i32> {
        match entry.opcode {
            ACCEPT => self.accept(entry.fd),
            RECV => {
                let (pointer, length) = self.buffer_of(entry)?;
                // SAFETY: the server has lent the buffer until this completes; where it has not,
                // the page is closed, and this faults.
                let buffer = unsafe { slice::from_raw_parts_mut(pointer, length) };
                self.receive(entry.fd, buffer).map(|count| count as i32)
            }
            SEND => {
                let (pointer, length) = (entry.address as *const u8, entry.length as usize);
                // SAFETY: the server keeps the bytes until this completes.
                let bytes = unsafe { slice::from_raw_parts(pointer, length) };
                self.send(entry.fd, bytes).map(|count| count as i32)
            }
            SHUTDOWN => match self.fails(&[libc::ENOTCONN, libc::ECANCELED, libc::ENOMEM]) {
                Some(errno) => Err(errno),
                None => self.shutdown(entry.fd, entry.length as i32).map(|()| 0),
            },
            CLOSE => self.close(entry.fd).map(|()| 0),
            TIMEOUT => Err(libc::ETIME),
            POLL => Ok(1),
            opcode => panic!("operation {opcode} is none of the server's"),
        }
    }

    fn complete(&mut self, entry: RawEntry, result: i32, flags: u32) {
        let (name, fd) = (Token::from_bits(entry.user_data).map(|it| it.operation), entry.fd);
        self.tell(format_args!("{name:?}({fd}) completes: {result}"));
        if entry.opcode == POLL && self.stop.is_requested() {
            self.stop_heard_ms.get_or_insert(self.coarse_ms());
        }
        // An ACCEPT that fails again and again is a spin, and so is a receive that finds no buffer;
        // all the others are asked for a reason.
        let may_spin = entry.opcode == ACCEPT || result == -libc::ENOBUFS;
        self.progress += u64::from(!may_spin || result >= 0);
        self.operations.completions.push_back(Entry { user_data: entry.user_data, result, flags });
    }
}
