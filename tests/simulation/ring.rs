//! The kernel's side of a ring: operations stay in flight until they complete, in random order.

use std::collections::VecDeque;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::opcode;
use io_uring::types::BufRingEntry;
use ringpoll_backends::testing::{Operation, Token};
use ringpoll_backends::{EngineOptions, Techniques};

use crate::queue_entries::{RawCqe, RawSqe};
use crate::state::State;

const ACCEPT: u8 = opcode::Accept::CODE;
const RECV: u8 = opcode::Recv::CODE;
const SEND: u8 = opcode::Send::CODE;
const SHUTDOWN: u8 = opcode::Shutdown::CODE;
const CLOSE: u8 = opcode::Close::CODE;
const CANCEL: u8 = opcode::AsyncCancel::CODE;
const TIMEOUT: u8 = opcode::Timeout::CODE;
const POLL: u8 = opcode::PollAdd::CODE;

const BUFFER_SELECT: u8 = 1 << 5;
const ACCEPT_MULTISHOT: u16 = 1;
const RECV_MULTISHOT: u16 = 1 << 1;
const RECVSEND_BUNDLE: u16 = 1 << 4;
const CQE_F_MORE: u32 = 1 << 1;
const CQE_F_BUFFER: u32 = 1;
const CQE_BUFFER_SHIFT: u32 = 16;
const ENTER_GETEVENTS: u32 = 1;
const ENTER_SQ_WAKEUP: u32 = 1 << 1;

const TICK_MS: u64 = 1000;

/// Idle time after which the SQPOLL thread sleeps.
pub(crate) const SQ_THREAD_IDLE_MS: u64 = 50;

/// An operation in flight.
struct InFlight {
    entry: RawSqe,
    due_ms: u64,
    /// Errno with which it completes, because it was cancelled or refused.
    forced_errno: Option<i32>,
    /// Set by a cancel request that was too late: the next completion is the last.
    is_last_completion: bool,
}

/// When the kernel runs task work, which posts completions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TaskWork {
    /// At any time: it interrupts the server, or the SQPOLL thread runs it.
    AnyTime,
    /// When the server enters the kernel (IORING_SETUP_COOP_TASKRUN).
    AtEnter,
    /// When it enters with IORING_ENTER_GETEVENTS (IORING_SETUP_DEFER_TASKRUN).
    AtGetevents,
}

pub(crate) struct Ring {
    submission_queue: VecDeque<RawSqe>,
    sq_entries: usize,
    cq_entries: usize,
    in_flight: Vec<InFlight>,
    completion_queue: VecDeque<RawCqe>,
    /// Completions that did not fit, until an enter with IORING_ENTER_GETEVENTS.
    overflow: VecDeque<RawCqe>,
    task_work: TaskWork,
    /// With SQPOLL: true while its thread sleeps.
    is_sq_thread_asleep: Option<bool>,
    buffers: Option<BufferRing>,
}

/// The kernel's view of a buffer ring.
struct BufferRing {
    address: *const BufRingEntry,
    entries: u16,
    /// Number of buffers ever taken, modulo 2^16.
    taken: u16,
}

/// A provided buffer.
struct Buffer {
    address: *mut u8,
    bytes: usize,
    id: u16,
}

impl BufferRing {
    /// Returns at most `max` of the next buffers.
    fn next(&self, max: usize) -> Vec<Buffer> {
        // SAFETY: the server has registered the ring, and its first entry holds the tail.
        let tail = unsafe { BufRingEntry::tail(self.address) };
        // SAFETY: the tail is aligned, and lives as long as the ring.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.load(Ordering::Acquire);
        let count = usize::from(tail.wrapping_sub(self.taken)).min(max);
        let buffer = |index: usize| {
            let index = self.taken.wrapping_add(index as u16) % self.entries;
            // SAFETY: the index is within the ring.
            let entry = unsafe { self.address.add(usize::from(index)) };
            // SAFETY: the tail is past the entry, so the server does not write to it.
            let entry = unsafe { &*entry };
            let (address, bytes) = (entry.addr() as *mut u8, entry.len() as usize);
            Buffer { address, bytes, id: entry.bid() }
        };
        (0..count).map(buffer).collect()
    }
}

impl Ring {
    /// Makes a ring with the options in effect.
    pub(crate) fn new(options: &EngineOptions) -> Self {
        let techniques = &options.techniques;
        Self {
            submission_queue: VecDeque::new(),
            sq_entries: options.submission_queue_entries as usize,
            cq_entries: options.completion_queue_entries.unwrap_or(64) as usize,
            in_flight: Vec::new(),
            completion_queue: VecDeque::new(),
            overflow: VecDeque::new(),
            task_work: match techniques {
                Techniques { defer_taskrun: true, .. } => TaskWork::AtGetevents,
                Techniques { coop_taskrun: true, .. } => TaskWork::AtEnter,
                _ => TaskWork::AnyTime,
            },
            is_sq_thread_asleep: techniques.sqpoll.then_some(false),
            buffers: None,
        }
    }

    pub(crate) fn cq_entries(&self) -> usize {
        self.cq_entries
    }

    /// Returns the number of SQEs that the kernel has not consumed.
    pub(crate) fn queued(&self) -> usize {
        self.submission_queue.len()
    }

    /// Queues an SQE. Returns false if the queue is full.
    pub(crate) fn push(&mut self, entry: RawSqe) -> bool {
        let has_room = self.submission_queue.len() < self.sq_entries;
        if has_room {
            self.submission_queue.push_back(entry);
        }
        has_room
    }

    pub(crate) fn cq_overflow(&self) -> bool {
        !self.overflow.is_empty()
    }

    pub(crate) fn has_completions(&self) -> bool {
        !self.completion_queue.is_empty()
    }

    pub(crate) fn is_sq_thread_asleep(&self) -> bool {
        self.is_sq_thread_asleep == Some(true)
    }

    /// Returns the number of SQEs, operations in flight and unread CQEs.
    pub(crate) fn outstanding(&self) -> usize {
        let unread = self.completion_queue.len() + self.overflow.len();
        self.submission_queue.len() + self.in_flight.len() + unread
    }

    /// Registers the buffer ring.
    pub(crate) fn lend_buffers(&mut self, address: u64, entries: u16) {
        assert!(self.buffers.is_none(), "there is a buffer ring already");
        let address = address as *const BufRingEntry;
        self.buffers = Some(BufferRing { address, entries, taken: 0 });
    }

    pub(crate) fn take_buffers_back(&mut self) {
        assert!(self.buffers.take().is_some(), "there is no buffer ring");
    }

    /// Checks, when the server drops the ring, that it has unregistered what outlives the ring.
    pub(crate) fn check_dropped(&self) {
        assert!(self.buffers.is_none(), "the ring is dropped before its buffers");
    }

    fn flush_overflow(&mut self) {
        let room = self.cq_entries - self.completion_queue.len();
        let count = room.min(self.overflow.len());
        self.completion_queue.extend(self.overflow.drain(..count));
    }

    /// Returns true if the completion queue has room for another CQE. Without it a multishot
    /// operation ends.
    fn has_room(&self) -> bool {
        self.overflow.is_empty() && self.completion_queue.len() < self.cq_entries
    }
}

/// Returns true if two operations of a connection may be in flight together: a multishot receive
/// may overlap a send or a shutdown. Nothing may overlap a close.
fn may_overlap(one: &RawSqe, other: &RawSqe) -> bool {
    let is_free = |it: &RawSqe| it.opcode == RECV && it.priority & RECV_MULTISHOT != 0;
    let has_close = one.opcode == CLOSE || other.opcode == CLOSE;
    (is_free(one) || is_free(other)) && one.opcode != other.opcode && !has_close
}

fn operation(entry: &RawSqe) -> Option<Operation> {
    Token::from_bits(entry.user_data).map(|it| it.operation)
}

impl State {
    pub(crate) fn enter(
        &mut self,
        to_submit: u32,
        min_complete: u32,
        flags: u32,
    ) -> Result<usize, i32> {
        self.count_call("io_uring_enter");
        self.check_enter(min_complete, flags);
        if min_complete > 0 {
            self.end_iteration();
        }
        if let Some(errno) = self.inject_fault(&[libc::EINTR, libc::EAGAIN, libc::EBUSY]) {
            return Err(errno);
        }
        let to_submit = to_submit as usize;
        let submitted = match self.ring.is_sq_thread_asleep {
            Some(_) => to_submit,
            None => self.submit_queue(to_submit),
        };
        self.act_at_random();
        let has_getevents = flags & ENTER_GETEVENTS != 0;
        if has_getevents || self.ring.task_work != TaskWork::AtGetevents {
            self.coverage.task_work += u64::from(min_complete == 0 && self.has_task_work());
            self.complete_some();
        }
        if has_getevents {
            self.ring.flush_overflow();
        }
        if submitted < to_submit || min_complete == 0 {
            return Ok(submitted);
        }
        self.wait(min_complete as usize);
        Ok(submitted)
    }

    /// Checks the arguments of io_uring_enter(2), and wakes the SQPOLL thread.
    fn check_enter(&mut self, min_complete: u32, flags: u32) {
        let waits = min_complete > 0;
        assert!(!waits || flags & ENTER_GETEVENTS != 0, "a wait needs IORING_ENTER_GETEVENTS");
        let has_work = self.ring.is_sq_thread_asleep() && self.ring.queued() > 0;
        if flags & ENTER_SQ_WAKEUP != 0 {
            assert!(self.ring.is_sq_thread_asleep.is_some(), "there is no thread to wake up");
            self.ring.is_sq_thread_asleep = Some(false);
            self.coverage.sq_wakeups += u64::from(has_work);
        } else {
            assert!(
                !(has_work && waits),
                "waits while the SQPOLL thread sleeps and SQEs are queued"
            );
        }
    }

    /// Submits the queue. Sometimes the kernel submits only a part, and then it does not wait.
    fn submit_queue(&mut self, to_submit: usize) -> usize {
        assert_eq!(to_submit, self.ring.queued(), "submits another number than is queued");
        let mut count = to_submit;
        if count > 1 && self.choices.once_in(self.setup.fails_once_in) {
            count = 1 + self.choices.below(count - 1);
            self.coverage.short_submissions += 1;
        }
        for _ in 0..count {
            let entry = self.ring.submission_queue.pop_front().expect("it was counted");
            self.submit(entry);
        }
        self.progress += count as u64;
        count
    }

    /// Lets the SQPOLL thread consume SQEs while it is awake, all of them or some; without any it
    /// may fall asleep.
    pub(crate) fn run_sq_thread(&mut self, is_whole: bool) {
        if self.ring.is_sq_thread_asleep != Some(false) {
            return;
        }
        let queued = self.ring.queued();
        if queued == 0 && !is_whole && self.choices.once_in(4) {
            self.ring.is_sq_thread_asleep = Some(true);
        }
        let max = if is_whole { queued } else { self.choices.pick(&[queued, 0, 1]) };
        for _ in 0..max.min(queued) {
            let entry = self.ring.submission_queue.pop_front().expect("it was counted");
            self.submit(entry);
            self.coverage.sq_polled += 1;
            self.progress += 1;
        }
    }

    /// Puts the SQPOLL thread to sleep, since it was idle for long.
    pub(crate) fn idle_sq_thread(&mut self) {
        if self.ring.is_sq_thread_asleep.is_some() && self.ring.queued() == 0 {
            self.ring.is_sq_thread_asleep = Some(true);
        }
    }

    /// Lets happen what may happen at any time, when the server looks at the shared memory.
    pub(crate) fn run_asynchronously(&mut self) {
        self.run_sq_thread(false);
        if self.ring.task_work == TaskWork::AnyTime && self.choices.once_in(4) {
            self.complete_some();
        }
    }

    /// Returns IORING_SQ_TASKRUN: an enter would post completions.
    pub(crate) fn has_task_work(&self) -> bool {
        self.ring.task_work != TaskWork::AnyTime
            && (0..self.ring.in_flight.len()).any(|index| self.can_complete(index))
    }

    /// Waits for completions.
    fn wait(&mut self, min_complete: usize) {
        let wanted = min_complete.min(self.ring.cq_entries);
        loop {
            self.run_sq_thread(true);
            if self.ring.completion_queue.len() < wanted {
                self.complete_some();
                self.ring.flush_overflow();
            }
            if self.ring.completion_queue.len() >= wanted {
                return;
            }
            let first_due = self.ring.in_flight.iter().map(|operation| operation.due_ms).min();
            let wait_ms = first_due.unwrap_or(u64::MAX).saturating_sub(self.now_ms);
            assert!(wait_ms <= TICK_MS, "waits without anything that could wake it");
            self.wait_for_event(wait_ms);
        }
    }

    /// Takes the completions out of the completion queue.
    pub(crate) fn take_completions(&mut self) -> VecDeque<RawCqe> {
        let taken = std::mem::take(&mut self.ring.completion_queue);
        // A failed poll also counts: the server then checks the stop itself.
        let is_stop = |it: &RawCqe| {
            Token::from_bits(it.user_data).is_some_and(|it| it.operation == Operation::Stop)
        };
        if taken.iter().any(is_stop) && self.stop.is_requested() {
            self.stop_seen_ms.get_or_insert(self.coarse_ms());
        }
        // Unread completions justify another call.
        self.progress += u64::from(self.ring.cq_overflow());
        taken
    }

    fn submit(&mut self, entry: RawSqe) {
        if matches!(entry.opcode, RECV | SEND | SHUTDOWN | CLOSE) {
            self.peer_at(entry.fd);
            let other = self.ring.in_flight.iter().map(|other| &other.entry).find(|other| {
                matches!(other.opcode, RECV | SEND | SHUTDOWN | CLOSE)
                    && other.fd == entry.fd
                    && !may_overlap(&entry, other)
            });
            assert!(other.is_none(), "conflicting operations in flight for one connection");
        }
        let due_ms = if entry.opcode == TIMEOUT { self.now_ms + TICK_MS } else { u64::MAX };
        // The kernel allocates memory for both at submission.
        let may_fail = matches!(entry.opcode, TIMEOUT | POLL);
        let mut forced_errno = if may_fail { self.inject_fault(&[libc::ENOMEM]) } else { None };
        if entry.flags & BUFFER_SELECT != 0 && self.next_buffers(1).is_empty() {
            // Even if no data has arrived.
            forced_errno = Some(libc::ENOBUFS);
        }
        self.trace(format_args!("{:?}({}) is submitted", operation(&entry), entry.fd));
        if entry.opcode == CANCEL {
            let result = self.cancel(entry.address);
            return self.complete(entry, result, 0);
        }
        let in_flight = InFlight { entry, due_ms, forced_errno, is_last_completion: false };
        self.ring.in_flight.push(in_flight);
    }

    /// Cancels, and returns the result. It may be too late for an operation that can complete.
    fn cancel(&mut self, user_data: u64) -> i32 {
        let found = self.ring.in_flight.iter().position(|operation| {
            operation.entry.user_data == user_data && operation.forced_errno.is_none()
        });
        let Some(index) = found else { return -libc::ENOENT };
        if self.can_complete(index) && self.choices.below(3) == 1 {
            self.ring.in_flight[index].is_last_completion = true;
            return -libc::EALREADY;
        }
        let errno = self.choices.pick(&[libc::ECANCELED, libc::EINTR]);
        self.ring.in_flight[index].forced_errno = Some(errno);
        self.choices.pick(&[0, -libc::EALREADY])
    }

    fn can_complete(&self, index: usize) -> bool {
        let InFlight { entry, due_ms, forced_errno, .. } = &self.ring.in_flight[index];
        let peer = || &self.peers[self.peer_at(entry.fd)];
        forced_errno.is_some()
            || match entry.opcode {
                ACCEPT => !self.accept_queue.is_empty(),
                RECV => peer().is_readable(),
                SEND => peer().is_writable(self.setup.send_buffer_bytes),
                TIMEOUT => *due_ms <= self.now_ms,
                POLL => self.stop.is_requested(),
                _ => true,
            }
    }

    /// Completes some of the operations that can complete, in random order.
    fn complete_some(&mut self) {
        let mut able: Vec<_> =
            (0..self.ring.in_flight.len()).filter(|&index| self.can_complete(index)).collect();
        let leave_out = self.choices.below(3).min(able.len().saturating_sub(1));
        for _ in leave_out..able.len() {
            let index = able.swap_remove(self.choices.below(able.len()));
            // An earlier one may have taken what it waited for.
            let is_over = self.can_complete(index) && self.complete_at(index);
            for other in &mut able {
                *other -= usize::from(is_over && *other > index);
            }
        }
    }

    /// Completes every operation that can complete. SQEs that are not submitted do not take part.
    pub(crate) fn complete_all(&mut self) {
        while let Some(index) =
            (0..self.ring.in_flight.len()).find(|&index| self.can_complete(index))
        {
            self.complete_at(index);
        }
    }

    /// Completes an operation or a part of it. Returns true if it is no longer in flight.
    fn complete_at(&mut self, index: usize) -> bool {
        let operation = self.ring.in_flight.remove(index);
        let entry = operation.entry;
        let result = match operation.forced_errno {
            Some(errno) => Err(errno),
            None => self.perform(&entry),
        };
        // A multishot operation ends with an error, the end of the stream, when the completion
        // queue is full, or at any time, also with a success.
        let is_multishot = match entry.opcode {
            ACCEPT => entry.priority & ACCEPT_MULTISHOT != 0 && result.is_ok(),
            RECV => entry.priority & RECV_MULTISHOT != 0 && matches!(result, Ok((1.., _))),
            _ => false,
        };
        let stays_armed = is_multishot
            && self.ring.has_room()
            && !operation.is_last_completion
            && self.choices.below(4) != 3;
        if stays_armed {
            self.ring.in_flight.insert(index, operation);
        }
        let (result, flags) = result.unwrap_or_else(|errno| (-errno, 0));
        self.complete(entry, result, flags | if stays_armed { CQE_F_MORE } else { 0 });
        !stays_armed
    }

    fn next_buffers(&self, max: usize) -> Vec<Buffer> {
        self.ring.buffers.as_ref().map_or_else(Vec::new, |ring| ring.next(max))
    }

    /// Receives into a provided buffer, or into several with a bundle. Returns the byte count and
    /// the flags of the CQE.
    fn receive_provided(&mut self, entry: &RawSqe) -> Result<(i32, u32), i32> {
        let is_bundle = entry.priority & RECVSEND_BUNDLE != 0;
        let max = if is_bundle { self.choices.pick(&[usize::MAX, 1, 2, 3]) } else { 1 };
        let buffers = self.next_buffers(max);
        let buffer_bytes = buffers.first().ok_or(libc::ENOBUFS)?.bytes;
        let mut bytes = vec![0; buffer_bytes * buffers.len()];
        if entry.length > 0 {
            bytes.truncate(entry.length as usize);
        }
        let count = self.receive(entry.fd, &mut bytes)?;
        let pieces = bytes[..count].chunks(buffer_bytes);
        let used = pieces.len();
        for (piece, buffer) in pieces.zip(&buffers) {
            // SAFETY: the kernel owns the buffer, which has this many bytes, until a CQE names it.
            let memory = unsafe { slice::from_raw_parts_mut(buffer.address, piece.len()) };
            memory.copy_from_slice(piece);
        }
        let ring = self.ring.buffers.as_mut().expect("its buffers were used");
        ring.taken = ring.taken.wrapping_add(used as u16);
        self.coverage.bundles += u64::from(used > 1);
        let id = u32::from(buffers[0].id) << CQE_BUFFER_SHIFT;
        Ok((count as i32, if used > 0 { CQE_F_BUFFER | id } else { 0 }))
    }

    /// Performs an operation, and returns the result and flags of its CQE.
    fn perform(&mut self, entry: &RawSqe) -> Result<(i32, u32), i32> {
        let result = match entry.opcode {
            ACCEPT => {
                let is_cloexec = entry.operation_flags as i32 & libc::SOCK_CLOEXEC != 0;
                assert!(is_cloexec, "an accepted descriptor would be inherited by exec");
                self.accept(entry.fd)
            }
            RECV if entry.flags & BUFFER_SELECT != 0 => return self.receive_provided(entry),
            RECV => {
                let (pointer, length) = (entry.address as *mut u8, entry.length as usize);
                // SAFETY: the kernel owns the buffer until this completes. If the server has not
                // given it, its page is protected, and this faults.
                let buffer = unsafe { slice::from_raw_parts_mut(pointer, length) };
                self.receive(entry.fd, buffer).map(|count| count as i32)
            }
            SEND => {
                let (pointer, length) = (entry.address as *const u8, entry.length as usize);
                // SAFETY: the server keeps the bytes until this completes.
                let bytes = unsafe { slice::from_raw_parts(pointer, length) };
                self.send(entry.fd, bytes).map(|count| count as i32)
            }
            SHUTDOWN => match self.inject_fault(&[libc::ENOTCONN, libc::ECANCELED, libc::ENOMEM]) {
                Some(errno) => Err(errno),
                None => self.shutdown(entry.fd, entry.length as i32).map(|()| 0),
            },
            CLOSE => self.close(entry.fd).map(|()| 0),
            TIMEOUT => Err(libc::ETIME),
            POLL => Ok(1),
            opcode => panic!("the server does not use operation {opcode}"),
        };
        result.map(|result| (result, 0))
    }

    fn complete(&mut self, entry: RawSqe, result: i32, flags: u32) {
        self.trace(format_args!("{:?}({}) completes: {result}", operation(&entry), entry.fd));
        if entry.opcode == POLL && self.stop.is_requested() {
            self.stop_seen_ms.get_or_insert(self.coarse_ms());
        }
        // A failed ACCEPT and a receive without a buffer are no progress: retrying them would spin.
        let may_spin = entry.opcode == ACCEPT || result == -libc::ENOBUFS;
        self.progress += u64::from(!may_spin || result >= 0);
        let completion = RawCqe { user_data: entry.user_data, result, flags };
        if self.ring.has_room() {
            self.ring.completion_queue.push_back(completion);
        } else {
            self.ring.overflow.push_back(completion);
        }
    }
}
