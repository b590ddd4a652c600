//! A ring, and the few operations that the server asks of it: each is pushed with a token, and
//! counted as in flight until its last completion has been taken.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

// Tests put their own queues between the server and the kernel, to fail, delay and reorder what
// comes back.
#[cfg(any(test, feature = "simulation"))]
pub(crate) use crate::io_uring::faults::Queues;
#[cfg(not(any(test, feature = "simulation")))]
pub(crate) use ::io_uring::IoUring as Queues;
use ::io_uring::{IoUring, opcode, squeue, types};

use crate::backend::EngineOptions;
use crate::counters::{Counters, SystemCall, SystemCalls};
use crate::error::{BackendError, ErrorKind};
pub(crate) use crate::io_uring::completion::Completion;
use crate::io_uring::recv_slab::Loan;
use crate::io_uring::restriction::{OPERATIONS, prove_and_restrict};
use crate::io_uring::techniques::Waits;
use crate::io_uring::techniques::direct_descriptors::Name;
use crate::kernel;
use crate::server::TICK;
// Tests put a simulated kernel in the place of the real one.
#[cfg(any(test, feature = "simulation"))]
use crate::simulation::calls as libc;
use crate::socket::check;
use crate::token::{Operation, Token};
use crate::unsent::Unsent;

/// The kernel reads it when the tick is submitted, not when it is pushed: it must stay.
static TICK_LENGTH: types::Timespec = types::Timespec::new().sec(TICK.as_secs());

pub(crate) struct Ring {
    /// Before the ring, since it may have the ring's descriptor registered.
    waits: Waits,
    ring: Queues,
    /// Completions taken from the kernel and not yet looked at: all that have come are taken
    /// before the first is answered, so that an answer may push and submit as it likes.
    reaped: VecDeque<(Token, Completion)>,
    /// Entries for which there was no room in the submission queue, each with how many must go
    /// into it together: a chain that is submitted in two parts is broken. Never dropped.
    waiting: VecDeque<(squeue::Entry, usize)>,
    /// Whether what an ACCEPT makes is an index of the ring's table and no descriptor.
    pub(crate) accepts_directly: bool,
    in_flight: usize,
    /// The ring does not do it, and shutdown(2) does.
    shutdown_by_call: bool,
    counts: SystemCalls,
    overflows: u64,
    found_full: u64,
    put_off: u64,
    cancels: u64,
    /// A ring belongs to the thread that made it.
    _not_send: PhantomData<*const ()>,
}

impl Ring {
    /// Sets a ring up, proves that it can do all that the server will ask, and restricts it to
    /// that.
    pub(crate) fn new(options: &EngineOptions) -> Result<Self, BackendError> {
        let refused = |call| move |error| kernel::refusal(call, error);
        let mut builder = IoUring::builder();
        builder.dontfork().setup_r_disabled().setup_cqsize(options.completions());
        let entries = options.submission_queue_entries;
        let ring = match builder.clone().setup_submit_all().build(entries) {
            // Before Linux 5.18 a bad entry ends the batch; the rest stays queued all the same.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => builder.build(entries),
            result => result,
        }
        .map_err(refused("io_uring_setup"))?;
        let shutdown_by_call = !prove_and_restrict(&ring, OPERATIONS, Vec::new())?;
        // With nothing to submit and nothing to wait for: a sandbox may allow the one call and
        // refuse the other, and this is the time to find out.
        ring.submit().map_err(refused("io_uring_enter"))?;
        Ok(Self::over_kernels(ring, Waits::default(), shutdown_by_call))
    }

    /// The same over a ring that is set up, restricted and enabled.
    pub(crate) fn over_kernels(ring: IoUring, waits: Waits, shutdown_by_call: bool) -> Self {
        let completions = ring.params().cq_entries() as usize;
        #[cfg(any(test, feature = "simulation"))]
        let ring = Queues::from(ring);
        Self { waits, shutdown_by_call, ..Self::over(ring, completions) }
    }

    /// A ring that can do all that will be asked of it, with room for so many completions.
    pub(crate) fn over(ring: Queues, completions: usize) -> Self {
        Self {
            ring,
            reaped: VecDeque::with_capacity(completions),
            waiting: VecDeque::new(),
            waits: Waits::default(),
            accepts_directly: false,
            in_flight: 0,
            shutdown_by_call: false,
            counts: SystemCalls::default(),
            overflows: 0,
            found_full: 0,
            put_off: 0,
            cancels: 0,
            _not_send: PhantomData,
        }
    }

    /// The same without IORING_OP_SHUTDOWN.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn with_shutdown_by_call(self, shutdown_by_call: bool) -> Self {
        Self { shutdown_by_call, ..self }
    }

    /// Whether the end of a direction is told by shutdown(2), the kernel having no operation
    /// for it.
    pub(crate) fn shuts_by_call(&self) -> bool {
        self.shutdown_by_call
    }

    // ── The asks ─────────────────────────────────────────────────────────────────────────────

    /// The next connection of a listener; its result is the descriptor.
    pub(crate) fn accept(&mut self, listener: RawFd, token: Token) {
        let nobody = ptr::null_mut();
        let entry = opcode::Accept::new(types::Fd(listener), nobody, ptr::null_mut());
        let entry = entry.flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: the peer's address is not asked for, so the entry has no pointers.
        unsafe { self.push(entry, token) };
    }

    /// Bytes into the buffer that was lent for it; its result is their count.
    pub(crate) fn recv(&mut self, fd: RawFd, loan: Loan, token: Token) {
        self.recv_on(Name::of_fd(fd), loan, token);
    }

    /// The same, of whichever table.
    pub(crate) fn recv_on(&mut self, name: Name, loan: Loan, token: Token) {
        let (pointer, length) = loan.into_parts();
        let entry = name.complete(opcode::Recv::new(name.number(), pointer, length).build());
        // SAFETY: the slab owns the buffer, and neither touches nor frees it until the loan is
        // taken back, which the last completion of this entry alone allows.
        unsafe { self.push(entry, token) };
    }

    /// As much of it as there is room for; its result is the count of bytes.
    ///
    /// # Safety
    /// The bytes must stay where and as they are until the last completion of this entry.
    pub(crate) unsafe fn send(&mut self, fd: RawFd, unsent: Unsent<'_>, token: Token) {
        // SAFETY: passed on to the caller.
        unsafe { self.push(Self::send_entry(Name::of_fd(fd), unsent, 0), token) };
    }

    /// The same, not yet pushed, of whichever table and with flags beside those of the bytes.
    pub(crate) fn send_entry(name: Name, unsent: Unsent<'_>, flags: i32) -> squeue::Entry {
        let Unsent { bytes, flags: of_bytes } = unsent;
        let entry = opcode::Send::new(name.number(), bytes.as_ptr(), bytes.len() as u32);
        name.complete(entry.flags(of_bytes | flags).build())
    }

    /// The end of a direction, or of both.
    pub(crate) fn shutdown(&mut self, fd: RawFd, how: i32, token: Token) {
        if self.shutdown_by_call {
            let completion = Completion::of(self.shut_now(fd, how));
            self.reaped.push_back((token, completion));
            return;
        }
        let entry = opcode::Shutdown::new(types::Fd(fd), how).build();
        // SAFETY: the entry has no pointers.
        unsafe { self.push(entry, token) };
    }

    /// shutdown(2), which never waits; its result as a completion says it.
    fn shut_now(&mut self, fd: RawFd, how: i32) -> i32 {
        self.counts.count(SystemCall::Shutdown);
        // SAFETY: shutdown takes no pointers.
        match check(unsafe { libc::shutdown(fd, how) }) {
            Ok(result) => result,
            Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        }
    }

    /// The end of the descriptor.
    pub(crate) fn close(&mut self, fd: OwnedFd, token: Token) {
        let entry = opcode::Close::new(types::Fd(fd.into_raw_fd())).build();
        // SAFETY: the entry has no pointers.
        unsafe { self.push(entry, token) };
    }

    /// The end of another operation: it completes early, unless it completes just now. What is
    /// cancelled is counted in flight until its own completion, whatever becomes of this one.
    pub(crate) fn cancel(&mut self, token: Token) {
        self.cancels += 1;
        let entry = opcode::AsyncCancel::new(token.to_bits()).build();
        // SAFETY: the entry has no pointers.
        unsafe { self.push(entry, Token::of_worker(Operation::Cancel)) };
    }

    /// A completion in a second's time.
    pub(crate) fn tick(&mut self) {
        let entry = opcode::Timeout::new(&raw const TICK_LENGTH).build();
        // SAFETY: the length of time is a static.
        unsafe { self.push(entry, Token::of_worker(Operation::Tick)) };
    }

    /// A completion when the descriptor is readable.
    pub(crate) fn watch(&mut self, fd: RawFd, token: Token) {
        let entry = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32).build();
        // SAFETY: the entry has no pointers.
        unsafe { self.push(entry, token) };
    }

    /// # Safety
    /// What the entry points to must stay valid, and untouched where the kernel writes, until
    /// its last completion.
    pub(crate) unsafe fn push(&mut self, entry: squeue::Entry, token: Token) {
        self.in_flight += 1;
        self.waiting.push_back((entry.user_data(token.to_bits()), 1));
        self.submit_if_full();
    }

    /// Operations each of which begins when the one before it has come to its end: they are
    /// submitted together. Those that succeed without saying so ([`squeue::Flags::SKIP_SUCCESS`])
    /// are not in flight, since nobody could tell when they are no longer.
    ///
    /// # Safety
    /// That of [`Ring::push`], for each of them; what a silent one needs must stay until the end
    /// of the chain.
    pub(crate) unsafe fn push_chain(&mut self, chain: &[(squeue::Entry, Token)], silent: usize) {
        self.in_flight += chain.len() - silent;
        for (index, (entry, token)) in chain.iter().enumerate() {
            let entry = entry.clone().user_data(token.to_bits());
            self.waiting.push_back((entry, chain.len() - index));
        }
        self.submit_if_full();
    }

    /// One that was to succeed without saying so has failed, and has said so; in return so many
    /// that were linked to it say nothing (io_uring_enter(2), IOSQE_CQE_SKIP_SUCCESS).
    pub(crate) fn fell_silent(&mut self, count: usize) {
        self.in_flight = (self.in_flight + 1).checked_sub(count).expect("they were in flight");
    }

    fn submit_if_full(&mut self) {
        self.move_to_queue();
        if !self.waiting.is_empty() {
            self.found_full += 1;
            // Submitting empties the queue; where the kernel puts it off, the entry waits here.
            let _ = self.enter_kernel(0, false);
            self.move_to_queue();
        }
    }

    fn move_to_queue(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut queue = self.ring.submission();
        while let Some((entry, together)) = self.waiting.front() {
            if queue.capacity() - queue.len() < *together {
                return;
            }
            // SAFETY: each entry came through `push` or `push_chain`, whose caller vouches for it.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.waiting.pop_front();
        }
    }

    /// Lends the kernel something that belongs to the ring as a whole.
    pub(crate) fn register<T>(
        &mut self,
        registration: impl FnOnce(&::io_uring::Submitter<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        registration(&self.ring.submitter())
    }

    /// Lends the kernel a ring of buffers of one group.
    ///
    /// # Safety
    /// The memory must stay until the ring of buffers has been taken back.
    pub(crate) unsafe fn lend_buffer_ring(
        &mut self,
        address: u64,
        entries: u16,
        group: u16,
    ) -> io::Result<()> {
        #[cfg(any(test, feature = "simulation"))]
        if self.ring.lends_to_the_simulation(address, entries) {
            return Ok(());
        }
        // SAFETY: passed on to the caller.
        unsafe { self.ring.submitter().register_buf_ring_with_flags(address, entries, group, 0) }
    }

    /// Takes it back.
    pub(crate) fn take_buffer_ring_back(&mut self, group: u16) -> io::Result<()> {
        #[cfg(any(test, feature = "simulation"))]
        if self.ring.lends_to_the_simulation(0, 0) {
            return Ok(());
        }
        self.ring.submitter().unregister_buf_ring(group)
    }

    // ── The answers ──────────────────────────────────────────────────────────────────────────

    /// Submits all that was pushed, waits for a completion, and takes all that have come; their
    /// number.
    pub(crate) fn wait(&mut self) -> Result<usize, BackendError> {
        self.move_to_queue();
        let nothing_to_do = self.waiting.is_empty() && self.reaped.is_empty();
        self.enter(usize::from(nothing_to_do))?;
        self.reap();
        Ok(self.reaped.len())
    }

    /// The next completion that was taken.
    pub(crate) fn next(&mut self) -> Option<(Token, Completion)> {
        self.reaped.pop_front()
    }

    fn enter(&mut self, want: usize) -> Result<(), BackendError> {
        if want > 0 && self.waits.spin_until_something_comes(&mut self.ring) {
            return self.enter_kernel(0, false);
        }
        self.enter_kernel(want, true)
    }

    fn enter_kernel(&mut self, want: usize, may_rest: bool) -> Result<(), BackendError> {
        let entered = self.waits.enter(&mut self.ring, want, may_rest, &mut self.counts);
        let Err(error) = entered else { return Ok(()) };
        match error.raw_os_error() {
            // A signal ends the wait like a tick, SA_RESTART or not; a minimum of the wait's may
            // end it too (ETIME).
            Some(libc::EINTR | libc::ETIME) => {}
            // The kernel wants its completions taken first (EBUSY), or is short of memory
            // (EAGAIN). The entries stay queued and are submitted the next time.
            Some(libc::EAGAIN | libc::EBUSY) => {
                self.put_off += 1;
                if self.ring.completion().is_empty() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            // The queue overflowed and there was no memory to keep a completion in: it is lost,
            // and what it belonged to with it (io_uring_enter(2)).
            Some(libc::EBADR) => {
                let cause = "the kernel lost a completion, having no memory to keep it in";
                return Err(BackendError::new(ErrorKind::Resources, "io_uring_enter", cause)
                    .with_source(error)
                    .with_remedy("ask for a longer completion queue"));
            }
            _ => return Err(BackendError::unexpected("io_uring_enter", error)),
        }
        Ok(())
    }

    fn reap(&mut self) {
        if self.ring.submission().cq_overflow() {
            self.overflows += 1;
        }
        for entry in self.ring.completion() {
            let completion = Completion::new(entry.result(), entry.flags());
            let token = Token::from_bits(entry.user_data());
            let token = token.expect("the kernel hands back only what it was given");
            if !completion.more() {
                self.in_flight -= 1;
            }
            self.reaped.push_back((token, completion));
        }
    }

    // ── The accounts ─────────────────────────────────────────────────────────────────────────

    /// Operations whose last completion has not been taken.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// All system calls so far.
    pub(crate) fn counts(&self) -> &SystemCalls {
        &self.counts
    }

    /// The same, for a call that is made beside the ring.
    pub(crate) fn counts_mut(&mut self) -> &mut SystemCalls {
        &mut self.counts
    }

    /// Adds what happened to the queues.
    pub(crate) fn report_to(&self, counters: &mut Counters) {
        counters.completion_queue_overflows = self.overflows;
        counters.submission_queue_full = self.found_full;
        counters.enters_put_off = self.put_off;
        counters.cancels = self.cancels;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far more asks than either queue has room for: none is lost, and each answer comes.
    #[test]
    fn queues_that_are_too_small_lose_nothing() {
        let options = EngineOptions {
            submission_queue_entries: 2,
            completion_queue_entries: Some(4),
            ..EngineOptions::default()
        };
        let mut ring = Ring::new(&options).unwrap();
        for _ in 0..1000 {
            ring.cancel(Token::of_worker(Operation::Accept));
        }
        let mut answers = 0;
        while ring.in_flight() > 0 || answers < 1000 {
            ring.wait().unwrap();
            while let Some((token, completion)) = ring.next() {
                assert_eq!(token, Token::of_worker(Operation::Cancel));
                assert_eq!(completion.result().unwrap_err().raw_os_error(), Some(libc::ENOENT));
                answers += 1;
            }
        }
        assert_eq!(answers, 1000);
        assert!(ring.found_full > 0 && ring.overflows > 0, "the queues were not too small");
    }
}
