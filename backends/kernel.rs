//! The kernel as a type parameter of the engines. `real_kernel.rs` is the one that ships; tests run
//! the same engines on a simulated kernel, or on a ring that injects faults.
//!
//! Everything is dispatched statically, so that an engine on the real one makes its system calls
//! directly.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use ::io_uring::{IoUring, cqueue, squeue};

use crate::engine_options::EngineOptions;
use crate::error::BackendError;
use crate::socket::check;

/// The system calls that the engines make once they run, except those on the listener. A function
/// that an implementation does not replace makes the call.
pub trait Kernel: 'static {
    /// The ring of the io_uring engines.
    type Ring: KernelRing;

    /// Sets up a ring with the requested options.
    ///
    /// # Errors
    /// [`crate::ErrorKind::BackendRefused`] if the kernel or a sandbox refuses it.
    fn set_up_ring(requested: &EngineOptions) -> Result<RingSetup<Self::Ring>, BackendError>;

    /// Returns the milliseconds since boot, with the resolution of the kernel's timer tick.
    ///
    /// CLOCK_MONOTONIC_COARSE is read from the vDSO with every clock source, so this is never a
    /// system call (clock_gettime(2), vdso(7)).
    #[inline]
    fn coarse_clock_ms() -> u64 {
        let now = clock(libc::CLOCK_MONOTONIC_COARSE);
        now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
    }

    /// Returns the time since boot (CLOCK_MONOTONIC), for busy polling.
    #[inline]
    fn clock() -> Duration {
        let now = clock(libc::CLOCK_MONOTONIC);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    /// Sleeps, for a kernel that needs a moment to make room.
    fn sleep(time: Duration) {
        std::thread::sleep(time);
    }

    /// Makes an epoll instance (epoll_create1(2)).
    ///
    /// # Errors
    /// Those of the system call, as for every function here.
    fn epoll_create1() -> io::Result<OwnedFd> {
        // SAFETY: epoll_create1 takes no pointers.
        let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just returned this descriptor; nothing else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(epoll) })
    }

    /// Calls epoll_ctl(2).
    #[inline]
    fn epoll_ctl(
        epoll: RawFd,
        operation: i32,
        fd: RawFd,
        mut event: libc::epoll_event,
    ) -> io::Result<()> {
        // SAFETY: the event lives through the call, which copies it.
        check(unsafe { libc::epoll_ctl(epoll, operation, fd, &raw mut event) })?;
        Ok(())
    }

    /// Calls epoll_wait(2), and returns the number of events.
    #[inline]
    fn epoll_wait(
        epoll: RawFd,
        events: &mut [libc::epoll_event],
        timeout_ms: i32,
    ) -> io::Result<usize> {
        let length = events.len() as i32;
        // SAFETY: the pointer is to a slice that outlives the call, and its length is passed.
        check(unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), length, timeout_ms) })
            .map(|count| count as usize)
    }

    /// Accepts a connection with accept4(2), and requests the peer's address, as the reference
    /// programs do.
    #[inline]
    fn accept4(listener: RawFd, flags: i32) -> io::Result<OwnedFd> {
        // SAFETY: all-zero bytes are a valid sockaddr_in. It is never read, so a longer address may
        // be truncated (accept(2)).
        let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_in>() as u32;
        // SAFETY: both pointers live through the call, and the length is the size of the storage.
        let fd = check(unsafe {
            libc::accept4(listener, (&raw mut address).cast(), &raw mut length, flags)
        })?;
        // SAFETY: the kernel has just returned this descriptor; nothing else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Calls recv(2), and returns the byte count; 0 is the end of the peer's stream.
    #[inline]
    fn recv(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the buffer is borrowed for the call, and its length is passed.
        let count = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Calls send(2), and returns the byte count.
    #[inline]
    fn send(fd: RawFd, bytes: &[u8], flags: i32) -> io::Result<usize> {
        // SAFETY: the bytes are borrowed for the call, and their length is passed.
        let count = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Calls shutdown(2).
    #[inline]
    fn shutdown(fd: RawFd, how: i32) -> io::Result<()> {
        // SAFETY: shutdown takes no pointers.
        check(unsafe { libc::shutdown(fd, how) })?;
        Ok(())
    }

    /// Closes a descriptor. It is closed even after an error, and a retry could close one that was
    /// reused (close(2), "Dealing with error returns from close()").
    #[inline]
    fn close(fd: OwnedFd) {
        // Not by drop, which in debug builds makes an fcntl(2) first.
        // SAFETY: the descriptor is owned, and ownership ends here.
        unsafe { libc::close(fd.into_raw_fd()) };
    }
}

#[inline]
fn clock(id: libc::clockid_t) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the timespec lives through the call.
    unsafe { libc::clock_gettime(id, &raw mut now) };
    now
}

/// A ring that is set up, restricted to the operations that the server needs, and enabled.
#[derive(Debug)]
pub struct RingSetup<R> {
    /// The ring.
    pub ring: R,
    /// The requested options without what this kernel does not support.
    pub options: EngineOptions,
    /// The kernel has no IORING_OP_SHUTDOWN, so that shutdown(2) is called.
    pub shutdown_by_call: bool,
}

/// The state that the kernel reports in the submission queue.
#[derive(Clone, Copy, Debug)]
pub struct SubmissionStatus {
    /// SQEs in the queue that the kernel has not consumed.
    pub queued: u32,
    /// The completion queue has overflowed (IORING_SQ_CQ_OVERFLOW).
    pub cq_overflow: bool,
    /// Task work waits for an entry into the kernel (IORING_SQ_TASKRUN).
    pub taskrun: bool,
}

/// A ring: its queues in shared memory, and the system calls on it.
pub trait KernelRing {
    /// Returns the length of the completion queue.
    fn cq_entries(&self) -> usize;

    /// Moves SQEs from the front of `sqes` to the submission queue until it is full.
    ///
    /// # Safety
    /// Memory that an SQE points to must stay valid until its last completion, and must not be
    /// accessed where the kernel writes.
    unsafe fn push(&mut self, sqes: &mut VecDeque<squeue::Entry>);

    /// Returns the state of the submission queue.
    fn submission_status(&mut self) -> SubmissionStatus;

    /// Returns true if the SQPOLL thread sleeps (IORING_SQ_NEED_WAKEUP). What was pushed before is
    /// then not consumed until an enter with IORING_ENTER_SQ_WAKEUP.
    fn need_wakeup(&mut self) -> bool;

    /// Returns true if a completion is available.
    fn has_completions(&mut self) -> bool;

    /// Takes all available completions out of the completion queue.
    fn completions(&mut self) -> impl Iterator<Item = cqueue::Entry>;

    /// Calls io_uring_enter(2).
    fn enter(&mut self, to_submit: u32, min_complete: u32, flags: u32) -> io::Result<usize>;

    /// Registers a provided buffer ring (io_uring_register_buf_ring(3)).
    ///
    /// # Safety
    /// The memory must stay valid until the buffer ring is unregistered.
    unsafe fn register_buffer_ring(
        &mut self,
        address: u64,
        entries: u16,
        group: u16,
    ) -> io::Result<()>;

    /// Unregisters a provided buffer ring.
    fn unregister_buffer_ring(&mut self, group: u16) -> io::Result<()>;
}

impl KernelRing for IoUring {
    fn cq_entries(&self) -> usize {
        self.params().cq_entries() as usize
    }

    // SAFETY: the caller promises what the trait requires, and `queue.push` requires the same.
    #[inline]
    unsafe fn push(&mut self, sqes: &mut VecDeque<squeue::Entry>) {
        let mut queue = self.submission();
        while let Some(sqe) = sqes.front() {
            // SAFETY: the caller's promise.
            if unsafe { queue.push(sqe) }.is_err() {
                return;
            }
            sqes.pop_front();
        }
    }

    #[inline]
    fn submission_status(&mut self) -> SubmissionStatus {
        let queue = self.submission();
        SubmissionStatus {
            queued: queue.len() as u32,
            cq_overflow: queue.cq_overflow(),
            taskrun: queue.taskrun(),
        }
    }

    #[inline]
    fn need_wakeup(&mut self) -> bool {
        self.submission().need_wakeup()
    }

    #[inline]
    fn has_completions(&mut self) -> bool {
        !self.completion().is_empty()
    }

    #[inline]
    fn completions(&mut self) -> impl Iterator<Item = cqueue::Entry> {
        self.completion()
    }

    #[inline]
    fn enter(&mut self, to_submit: u32, min_complete: u32, flags: u32) -> io::Result<usize> {
        // SAFETY: there is no argument. The callers that pushed the SQEs have promised that the
        // memory they point to is valid.
        unsafe { self.submitter().enter::<libc::sigset_t>(to_submit, min_complete, flags, None) }
    }

    unsafe fn register_buffer_ring(
        &mut self,
        address: u64,
        entries: u16,
        group: u16,
    ) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.submitter().register_buf_ring_with_flags(address, entries, group, 0) }
    }

    fn unregister_buffer_ring(&mut self, group: u16) -> io::Result<()> {
        self.submitter().unregister_buf_ring(group)
    }
}
