//! The simulated ring: operations stay in flight until they complete, in random order.

use std::collections::VecDeque;
use std::io;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use ::io_uring::opcode;
use ::io_uring::types::BufRingEntry;

use super::kernel::Kernel;
use crate::backend::EngineOptions;
use crate::io_uring::faults::{Cqe, QueueFull, RawSqe};
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

/// Operation of the stop's poll, in the top byte of its user_data.
const STOP: u64 = token::Operation::Stop as u64;

const BUFFER_SELECT: u8 = 1 << 5;
const ACCEPT_MULTISHOT: u16 = 1;
const RECV_MULTISHOT: u16 = 1 << 1;
const CQE_F_MORE: u32 = 1 << 1;
const CQE_F_BUFFER: u32 = 1;
const CQE_BUFFER_SHIFT: u32 = 16;

/// Operation in flight.
struct Operation {
    entry: RawSqe,
    due_ms: u64,
    /// Errno with which it completes, because it was cancelled or refused.
    forced_errno: Option<i32>,
    /// Set by a cancel request that was too late: the next completion is the last.
    is_last_completion: bool,
}

/// The kernel's side of a ring.
pub(super) struct Operations {
    submission_queue: VecDeque<RawSqe>,
    sq_entries: usize,
    cq_entries: usize,
    in_flight: Vec<Operation>,
    completion_queue: VecDeque<Cqe>,
    buffers: Option<BufferRing>,
}

/// The kernel's view of a buffer ring.
struct BufferRing {
    address: *const BufRingEntry,
    entries: u16,
    /// Number of buffers ever taken, modulo 2^16.
    taken: u16,
}

impl BufferRing {
    /// Returns address, length and ID of the next buffer, if one is left.
    fn next(&self) -> Option<(*mut u8, usize, u16)> {
        // SAFETY: the server has registered the ring, and its first entry holds the tail.
        let tail = unsafe { BufRingEntry::tail(self.address) };
        // SAFETY: the tail is aligned, and lives as long as the ring.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.load(Ordering::Acquire);
        if tail == self.taken {
            return None;
        }
        // SAFETY: the index is within the ring.
        let entry = unsafe { self.address.add(usize::from(self.taken % self.entries)) };
        // SAFETY: the tail is past the entry, so the server does not write to it.
        let entry = unsafe { &*entry };
        Some((entry.addr() as *mut u8, entry.len() as usize, entry.bid()))
    }
}

impl Operations {
    pub(super) fn new(options: &EngineOptions) -> Self {
        Self {
            submission_queue: VecDeque::new(),
            sq_entries: options.submission_queue_entries as usize,
            cq_entries: options.completion_queue_entries.unwrap_or(64) as usize,
            in_flight: Vec::new(),
            completion_queue: VecDeque::new(),
            buffers: None,
        }
    }

    /// Returns the number of SQEs, operations in flight and unread CQEs.
    pub(super) fn outstanding(&self) -> usize {
        self.submission_queue.len() + self.in_flight.len() + self.completion_queue.len()
    }
}

/// The server's side of the ring.
#[derive(Default)]
pub(crate) struct SimulatedRing {
    taken: VecDeque<Cqe>,
}

impl SimulatedRing {
    pub(crate) fn push(&mut self, entry: RawSqe) -> Result<(), QueueFull> {
        kernel(|kernel| {
            let operations = &mut kernel.operations;
            if operations.submission_queue.len() == operations.sq_entries {
                return Err(QueueFull);
            }
            operations.submission_queue.push_back(entry);
            Ok(())
        })
    }

    /// Registers a buffer ring; with no entries, unregisters it.
    pub(crate) fn lend_buffers(&mut self, address: u64, entries: u16) {
        let address = address as *const BufRingEntry;
        let ring = (entries > 0).then_some(BufferRing { address, entries, taken: 0 });
        kernel(|kernel| kernel.operations.buffers = ring);
    }

    pub(crate) fn len(&self) -> usize {
        kernel(|kernel| kernel.operations.submission_queue.len())
    }

    pub(crate) fn cq_overflow(&self) -> bool {
        kernel(|kernel| kernel.operations.completion_queue.len() > kernel.operations.cq_entries)
    }

    pub(crate) fn submit_and_wait(&mut self, want: usize) -> io::Result<usize> {
        kernel(|kernel| kernel.enter(want)).map_err(io::Error::from_raw_os_error)
    }

    pub(crate) fn take_completions(&mut self) -> &mut VecDeque<Cqe> {
        kernel(|kernel| {
            let operations = &mut kernel.operations;
            let room = operations.cq_entries.saturating_sub(self.taken.len());
            let count = room.min(operations.completion_queue.len());
            let taken = self.taken.len();
            self.taken.extend(operations.completion_queue.drain(..count));
            // A failed poll also counts: the server then checks the stop itself.
            let has_stop = self.taken.range(taken..).any(|it| it.user_data >> 56 == STOP);
            if has_stop && kernel.stop.is_requested() {
                kernel.stop_seen_ms.get_or_insert(kernel.coarse_ms());
            }
            let operations = &mut kernel.operations;
            // Unread completions justify another call.
            kernel.progress += u64::from(!operations.completion_queue.is_empty());
        });
        &mut self.taken
    }
}

/// Returns true if two operations of a connection may be in flight together: a multishot receive
/// may overlap a send or a shutdown. Nothing may overlap a close.
fn may_overlap(one: &RawSqe, other: &RawSqe) -> bool {
    let is_multishot = |it: &RawSqe| it.opcode == RECV && it.priority & RECV_MULTISHOT != 0;
    let has_close = one.opcode == CLOSE || other.opcode == CLOSE;
    (is_multishot(one) || is_multishot(other)) && one.opcode != other.opcode && !has_close
}

fn kernel<T>(call: impl FnOnce(&mut Kernel) -> T) -> T {
    Kernel::with(call).expect("the ring is on the thread of its kernel")
}

impl Kernel {
    fn enter(&mut self, want: usize) -> Result<usize, i32> {
        self.count_call("io_uring_enter");
        if want > 0 {
            self.end_iteration();
        }
        if let Some(errno) = self.inject_fault(&[libc::EINTR, libc::EAGAIN, libc::EBUSY]) {
            return Err(errno);
        }
        let submitted = self.operations.submission_queue.len();
        while let Some(entry) = self.operations.submission_queue.pop_front() {
            self.submit(entry);
        }
        self.act_at_random();
        self.complete_some();
        while want > 0 && self.operations.completion_queue.is_empty() {
            let first_due = self.operations.in_flight.iter().map(|operation| operation.due_ms);
            let wait_ms = first_due.min().unwrap_or(u64::MAX).saturating_sub(self.now_ms);
            assert!(wait_ms <= TICK_MS, "waits without anything that could wake it");
            self.wait_for_event(wait_ms);
            self.complete_some();
        }
        Ok(submitted)
    }

    fn submit(&mut self, entry: RawSqe) {
        let in_flight = &self.operations.in_flight;
        if matches!(entry.opcode, RECV | SEND | SHUTDOWN | CLOSE) {
            self.peer_at(entry.fd);
            let other = in_flight.iter().map(|other| &other.entry).find(|other| {
                other.fd == entry.fd
                    && matches!(other.opcode, RECV | SEND | SHUTDOWN | CLOSE)
                    && !may_overlap(&entry, other)
            });
            assert!(other.is_none(), "conflicting operations in flight for one connection");
        }
        let due_ms = if entry.opcode == TIMEOUT { self.now_ms + TICK_MS } else { u64::MAX };
        // The kernel allocates memory for both at submission.
        let may_fail = matches!(entry.opcode, TIMEOUT | POLL);
        let mut ended_by = if may_fail { self.inject_fault(&[libc::ENOMEM]) } else { None };
        if entry.flags & BUFFER_SELECT != 0 && self.next_buffer().is_none() {
            // Even if no data has arrived.
            ended_by = Some(libc::ENOBUFS);
        }
        let name = Token::from_bits(entry.user_data).map(|it| it.operation);
        self.trace(format_args!("{name:?}({}) is submitted", entry.fd));
        if entry.opcode == CANCEL {
            let result = self.cancel(entry.address);
            self.complete(entry, result, 0);
            return;
        }
        self.operations.in_flight.push(Operation {
            entry,
            due_ms,
            forced_errno: ended_by,
            is_last_completion: false,
        });
    }

    /// Cancels, and returns the result. It may be too late for an operation that can complete.
    fn cancel(&mut self, user_data: u64) -> i32 {
        let found = self.operations.in_flight.iter().position(|operation| {
            operation.entry.user_data == user_data && operation.forced_errno.is_none()
        });
        let Some(index) = found else { return -libc::ENOENT };
        if self.can_complete(index) && self.choices.below(3) == 1 {
            self.operations.in_flight[index].is_last_completion = true;
            return -libc::EALREADY;
        }
        let ended_by = self.choices.pick(&[libc::ECANCELED, libc::EINTR]);
        self.operations.in_flight[index].forced_errno = Some(ended_by);
        self.choices.pick(&[0, -libc::EALREADY])
    }

    fn can_complete(&self, index: usize) -> bool {
        let Operation { entry, due_ms, forced_errno: ended_by, .. } =
            &self.operations.in_flight[index];
        let peer = || &self.peers[self.peer_at(entry.fd)];
        ended_by.is_some()
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
        let mut able: Vec<_> = (0..self.operations.in_flight.len())
            .filter(|&index| self.can_complete(index))
            .collect();
        let leave_out = self.choices.below(3).min(able.len().saturating_sub(1));
        for _ in leave_out..able.len() {
            let index = able.swap_remove(self.choices.below(able.len()));
            let is_over = self.complete_at(index);
            for other in &mut able {
                *other -= usize::from(is_over && *other > index);
            }
        }
    }

    /// Completes every operation that can complete.
    pub(super) fn complete_all(&mut self) {
        let mut submitted = std::mem::take(&mut self.operations.submission_queue);
        // SQEs that are not submitted do not take part.
        while let Some(index) =
            (0..self.operations.in_flight.len()).find(|&index| self.can_complete(index))
        {
            self.complete_at(index);
        }
        std::mem::swap(&mut self.operations.submission_queue, &mut submitted);
    }

    /// Completes an operation or a part of it. Returns true if it is no longer in flight.
    fn complete_at(&mut self, index: usize) -> bool {
        let operation = self.operations.in_flight.remove(index);
        let entry = operation.entry;
        let result = match operation.forced_errno {
            Some(errno) => Err(errno),
            None => self.perform(&entry),
        };
        if entry.flags & BUFFER_SELECT != 0 && operation.forced_errno.is_none() {
            return self.complete_receive(index, operation, result);
        }
        if entry.opcode == ACCEPT && entry.priority & ACCEPT_MULTISHOT != 0 && result.is_ok() {
            // A multishot accept may end at any time, also with a success.
            let stays_armed = !operation.is_last_completion && self.choices.below(4) != 3;
            if stays_armed {
                self.operations.in_flight.insert(index, operation);
            }
            self.complete(entry, result.unwrap_or(0), if stays_armed { CQE_F_MORE } else { 0 });
            return !stays_armed;
        }
        self.complete(entry, result.unwrap_or_else(|errno| -errno), 0);
        true
    }

    /// Completes a receive into a provided buffer. Returns true if it is no longer in flight: a
    /// multishot receive ends with the end of the stream, with an error, or at any time.
    fn complete_receive(
        &mut self,
        index: usize,
        operation: Operation,
        result: Result<i32, i32>,
    ) -> bool {
        let entry = operation.entry;
        let mut flags = 0;
        if let (Ok(1..), Some((_, _, name))) = (&result, self.next_buffer()) {
            flags = CQE_F_BUFFER | u32::from(name) << CQE_BUFFER_SHIFT;
            let ring = self.operations.buffers.as_mut().expect("a buffer was taken from it");
            ring.taken = ring.taken.wrapping_add(1);
        }
        let stays_armed = entry.priority & RECV_MULTISHOT != 0
            && matches!(result, Ok(1..))
            && !operation.is_last_completion
            && self.choices.below(4) != 3;
        if stays_armed {
            self.operations.in_flight.insert(index, operation);
            flags |= CQE_F_MORE;
        }
        self.complete(entry, result.unwrap_or_else(|errno| -errno), flags);
        !stays_armed
    }

    fn next_buffer(&self) -> Option<(*mut u8, usize, u16)> {
        self.operations.buffers.as_ref().and_then(BufferRing::next)
    }

    /// Returns the address and the length of the buffer of a receive.
    fn buffer_of(&self, entry: &RawSqe) -> Result<(*mut u8, usize), i32> {
        if entry.flags & BUFFER_SELECT == 0 {
            return Ok((entry.address as *mut u8, entry.length as usize));
        }
        let (pointer, length, _) = self.next_buffer().ok_or(libc::ENOBUFS)?;
        let max_length = if entry.length > 0 { entry.length as usize } else { length };
        Ok((pointer, length.min(max_length)))
    }

    fn perform(&mut self, entry: &RawSqe) -> Result<i32, i32> {
        match entry.opcode {
            ACCEPT => self.accept(entry.fd),
            RECV => {
                let (pointer, length) = self.buffer_of(entry)?;
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
        }
    }

    fn complete(&mut self, entry: RawSqe, result: i32, flags: u32) {
        let (name, fd) = (Token::from_bits(entry.user_data).map(|it| it.operation), entry.fd);
        self.trace(format_args!("{name:?}({fd}) completes: {result}"));
        if entry.opcode == POLL && self.stop.is_requested() {
            self.stop_seen_ms.get_or_insert(self.coarse_ms());
        }
        // A failed ACCEPT and a receive without a buffer are no progress: retrying them would spin.
        let may_spin = entry.opcode == ACCEPT || result == -libc::ENOBUFS;
        self.progress += u64::from(!may_spin || result >= 0);
        self.operations.completion_queue.push_back(Cqe {
            user_data: entry.user_data,
            result,
            flags,
        });
    }
}
