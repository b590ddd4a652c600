//! An io_uring ring and the operations that the server submits to it. Each SQE carries a token as
//! `user_data`, and is in flight until its last CQE (the one without IORING_CQE_F_MORE) is reaped.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use ::io_uring::{opcode, squeue, types};

pub(crate) use crate::completion::Completion;
use crate::counters::{Counters, SystemCall, SystemCalls};
use crate::engine_options::EngineOptions;
use crate::error::{BackendError, ErrorKind};
use crate::io_uring::recv_slab::Loan;
use crate::io_uring::techniques::{busy_poll, enter};
use crate::kernel::{Kernel, KernelRing, RingSetup};
use crate::pending_output::PendingOutput;
use crate::token::{Operation, Token};
use crate::worker::TICK;

/// A static, since the kernel reads it when the TIMEOUT is submitted, not when it is pushed.
static TICK_INTERVAL: types::Timespec = types::Timespec::new().sec(TICK.as_secs());

pub(crate) struct Ring<K: Kernel> {
    ring: K::Ring,
    busy_poll: Duration,
    is_sqpoll: bool,
    /// Completions taken out of the completion queue and not yet dispatched. The queue is emptied
    /// before the first of them is dispatched, so that a handler may push and submit.
    reaped: VecDeque<(Token, Completion)>,
    /// SQEs for which the submission queue had no room. Never dropped.
    backlog: VecDeque<squeue::Entry>,
    in_flight: usize,
    /// The kernel has no IORING_OP_SHUTDOWN, so shutdown(2) is called.
    shutdown_by_call: bool,
    counts: SystemCalls,
    overflows: u64,
    submission_queue_full: u64,
    enters_retried: u64,
    cancels: u64,
    /// Not `Send`: with IORING_SETUP_SINGLE_ISSUER only the enabling thread may submit.
    _not_send: PhantomData<*const ()>,
}

impl<K: Kernel> Ring<K> {
    /// Sets up a ring, and returns it with the options in force.
    pub(crate) fn open(requested: &EngineOptions) -> Result<(Self, EngineOptions), BackendError> {
        let RingSetup { ring, options, shutdown_by_call } = K::set_up_ring(requested)?;
        let ring = Self {
            reaped: VecDeque::with_capacity(ring.cq_entries()),
            ring,
            busy_poll: Duration::from_micros(options.busy_poll_us.into()),
            is_sqpoll: options.techniques.sqpoll,
            backlog: VecDeque::new(),
            in_flight: 0,
            shutdown_by_call,
            counts: SystemCalls::default(),
            overflows: 0,
            submission_queue_full: 0,
            enters_retried: 0,
            cancels: 0,
            _not_send: PhantomData,
        };
        Ok((ring, options))
    }

    pub(crate) fn shutdown_by_call(&self) -> bool {
        self.shutdown_by_call
    }

    // ── Submission ───────────────────────────────────────────────────────────────────────────

    /// Submits an ACCEPT; its result is the new descriptor.
    pub(crate) fn accept(&mut self, listener: RawFd, token: Token) {
        let no_address = ptr::null_mut();
        let sqe = opcode::Accept::new(types::Fd(listener), no_address, ptr::null_mut());
        let sqe = sqe.flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: both pointers are null: the peer's address is not requested.
        unsafe { self.push(sqe, token) };
    }

    /// Submits a RECV into the lent buffer; its result is the byte count.
    pub(crate) fn recv(&mut self, fd: RawFd, loan: Loan, token: Token) {
        let (pointer, length) = loan.into_parts();
        let sqe = opcode::Recv::new(types::Fd(fd), pointer, length).build();
        // SAFETY: the slab owns the buffer, and neither touches nor frees it until the loan is
        // taken back, which requires the last completion of this SQE.
        unsafe { self.push(sqe, token) };
    }

    /// Submits a SEND; its result is the byte count, which may be short.
    ///
    /// # Safety
    /// The bytes must not move or change until the last completion of this SQE.
    pub(crate) unsafe fn send(&mut self, fd: RawFd, output: PendingOutput<'_>, token: Token) {
        let PendingOutput { bytes, flags } = output;
        let sqe = opcode::Send::new(types::Fd(fd), bytes.as_ptr(), bytes.len() as u32);
        // SAFETY: the caller's promise.
        unsafe { self.push(sqe.flags(flags).build(), token) };
    }

    /// Submits a SHUTDOWN of one or both directions. Without IORING_OP_SHUTDOWN it calls
    /// shutdown(2) and queues a completion with the result.
    pub(crate) fn shutdown(&mut self, fd: RawFd, how: i32, token: Token) {
        if self.shutdown_by_call {
            let result = match self.shutdown_now(fd, how) {
                Ok(()) => 0,
                Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
            };
            self.reaped.push_back((token, Completion::with_result(result)));
            return;
        }
        let sqe = opcode::Shutdown::new(types::Fd(fd), how).build();
        // SAFETY: the SQE has no pointers.
        unsafe { self.push(sqe, token) };
    }

    /// Calls shutdown(2), which never blocks.
    pub(crate) fn shutdown_now(&mut self, fd: RawFd, how: i32) -> io::Result<()> {
        self.counts.count(SystemCall::Shutdown);
        K::shutdown(fd, how)
    }

    /// Calls accept4(2) on a nonblocking listener, to empty its queue during a stop.
    pub(crate) fn accept_now(&mut self, listener: RawFd) -> io::Result<OwnedFd> {
        self.counts.count(SystemCall::Accept4);
        K::accept4(listener, libc::SOCK_CLOEXEC)
    }

    pub(crate) fn close(&mut self, fd: OwnedFd, token: Token) {
        let sqe = opcode::Close::new(types::Fd(fd.into_raw_fd())).build();
        // SAFETY: the SQE has no pointers.
        unsafe { self.push(sqe, token) };
    }

    /// Submits an ASYNC_CANCEL of the operation with this token. The cancelled operation stays in
    /// flight until its own CQE, which has ECANCELED or, if it was faster, a result.
    pub(crate) fn cancel(&mut self, token: Token) {
        self.cancels += 1;
        let sqe = opcode::AsyncCancel::new(token.to_bits()).build();
        // SAFETY: the SQE has no pointers.
        unsafe { self.push(sqe, Token::of_worker(Operation::Cancel)) };
    }

    /// Submits a TIMEOUT that completes after [`TICK`].
    pub(crate) fn tick(&mut self) {
        let sqe = opcode::Timeout::new(&raw const TICK_INTERVAL).build();
        // SAFETY: the interval is a static.
        unsafe { self.push(sqe, Token::of_worker(Operation::Tick)) };
    }

    /// Submits a single-shot POLL_ADD for POLLIN.
    pub(crate) fn poll_readable(&mut self, fd: RawFd, token: Token) {
        let sqe = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32).build();
        // SAFETY: the SQE has no pointers.
        unsafe { self.push(sqe, token) };
    }

    /// Queues an SQE. It is submitted by the next [`Ring::wait`], or now if the queue is full.
    ///
    /// # Safety
    /// Memory that the SQE points to must stay valid until its last completion, and must not be
    /// accessed where the kernel writes.
    pub(crate) unsafe fn push(&mut self, sqe: squeue::Entry, token: Token) {
        self.in_flight += 1;
        self.backlog.push_back(sqe.user_data(token.to_bits()));
        self.submit_if_full();
    }

    fn submit_if_full(&mut self) {
        self.flush_backlog();
        if !self.backlog.is_empty() {
            self.submission_queue_full += 1;
            // Submitting empties the queue. If the kernel returns EAGAIN or EBUSY, the SQEs stay
            // in the backlog.
            let _ = self.enter_kernel(0, false);
            self.flush_backlog();
        }
    }

    fn flush_backlog(&mut self) {
        if self.backlog.is_empty() {
            return;
        }
        // SAFETY: each SQE was passed to `push`, whose callers promise it.
        unsafe { self.ring.push(&mut self.backlog) };
    }

    /// Returns the ring, to register resources.
    pub(crate) fn kernel_ring(&mut self) -> &mut K::Ring {
        &mut self.ring
    }

    // ── Completion ───────────────────────────────────────────────────────────────────────────

    /// Submits all queued SQEs, waits for a completion, and reaps all that are available. Returns
    /// their number.
    pub(crate) fn wait(&mut self) -> Result<usize, BackendError> {
        self.flush_backlog();
        let is_idle = self.backlog.is_empty() && self.reaped.is_empty();
        self.enter(u32::from(is_idle))?;
        self.reap();
        Ok(self.reaped.len())
    }

    /// Returns the next reaped completion.
    pub(crate) fn next(&mut self) -> Option<(Token, Completion)> {
        self.reaped.pop_front()
    }

    /// Returns the milliseconds since boot; not a system call.
    pub(crate) fn now_ms(&self) -> u64 {
        K::coarse_clock_ms()
    }

    fn enter(&mut self, want: u32) -> Result<(), BackendError> {
        if want > 0 && busy_poll::spin::<K>(self.busy_poll, &mut self.ring) {
            return self.enter_kernel(0, false);
        }
        self.enter_kernel(want, true)
    }

    fn enter_kernel(&mut self, want: u32, may_sleep: bool) -> Result<(), BackendError> {
        let Self { ring, is_sqpoll, counts, .. } = self;
        let entered = enter::enter::<K>(ring, *is_sqpoll, want, may_sleep, counts);
        let Err(error) = entered else { return Ok(()) };
        match error.raw_os_error() {
            // A signal ends the wait, with or without SA_RESTART: treated like a tick.
            Some(libc::EINTR) => {}
            // The completion queue has overflowed and must be emptied first (EBUSY), or the kernel
            // is short of memory (EAGAIN). The SQEs stay queued, and the next enter retries them.
            Some(libc::EAGAIN | libc::EBUSY) => {
                self.enters_retried += 1;
                if !self.ring.has_completions() {
                    K::sleep(Duration::from_millis(1));
                }
            }
            // The completion queue overflowed and the kernel had no memory to keep the CQE
            // (io_uring_enter(2)). Its operation would stay in flight forever.
            Some(libc::EBADR) => {
                let cause = "the completion queue overflowed, and the kernel dropped a completion \
                             because it had no memory to keep it";
                return Err(BackendError::new(ErrorKind::Resources, "io_uring_enter", cause)
                    .with_source(error)
                    .with_remedy("set a larger completion_queue_entries"));
            }
            _ => return Err(BackendError::unexpected("io_uring_enter", error)),
        }
        Ok(())
    }

    fn reap(&mut self) {
        if self.ring.submission_status().cq_overflow {
            self.overflows += 1;
        }
        for cqe in self.ring.completions() {
            let completion = Completion::new(cqe.result(), cqe.flags());
            let token = Token::from_bits(cqe.user_data());
            let token = token.expect("the kernel returns user_data unchanged");
            if !completion.more() {
                self.in_flight -= 1;
            }
            self.reaped.push_back((token, completion));
        }
    }

    // ── Accounting ───────────────────────────────────────────────────────────────────────────

    /// Returns the number of operations whose last CQE is not reaped.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn counts(&self) -> &SystemCalls {
        &self.counts
    }

    /// Writes the queue statistics to the counters.
    pub(crate) fn report_to(&self, counters: &mut Counters) {
        counters.completion_queue_overflows = self.overflows;
        counters.submission_queue_full = self.submission_queue_full;
        counters.enters_retried = self.enters_retried;
        counters.cancels = self.cancels;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io_uring::single_shot_options;
    use crate::real_kernel::RealKernel;

    /// Submits far more operations than either queue has room for: each gets its completion.
    #[test]
    fn small_queues_lose_no_completion() {
        let options = EngineOptions {
            submission_queue_entries: 2,
            completion_queue_entries: Some(4),
            ..EngineOptions::default()
        };
        let mut ring = Ring::<RealKernel>::open(&single_shot_options(&options)).unwrap().0;
        for _ in 0..1000 {
            ring.cancel(Token::of_worker(Operation::Accept));
        }
        let mut completions = 0;
        while ring.in_flight() > 0 || completions < 1000 {
            ring.wait().unwrap();
            while let Some((token, completion)) = ring.next() {
                assert_eq!(token, Token::of_worker(Operation::Cancel));
                assert_eq!(completion.result().unwrap_err().raw_os_error(), Some(libc::ENOENT));
                completions += 1;
            }
        }
        assert_eq!(completions, 1000);
        assert!(
            ring.submission_queue_full > 0 && ring.overflows > 0,
            "the queues were not too small"
        );
    }
}
