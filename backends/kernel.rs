//! The kernel as a type parameter of the engines. `real_kernel.rs` is the one that ships; tests run
//! the same engines on a simulated kernel, or on a ring that injects faults.
//!
//! Everything is dispatched statically, so that an engine on the real one makes its system calls
//! directly.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
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

    /// Returns the most descriptors that the process can open (RLIMIT_NOFILE, getrlimit(2)).
    fn max_descriptors() -> usize {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer is to a struct that lives through the call.
        let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
        if known { usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX) } else { 1024 }
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
    /// The index of the ring if its descriptor is registered.
    pub registered: Option<RawFd>,
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

/// `struct io_uring_getevents_arg`, the argument of a wait with IORING_ENTER_EXT_ARG.
#[repr(C)]
#[derive(Debug, Default)]
pub struct GeteventsArg {
    /// Address of a signal mask; 0 for none.
    pub sigmask: u64,
    /// Size of the signal mask.
    pub sigmask_bytes: u32,
    /// Time for which the wait collects completions.
    pub min_wait_us: u32,
    /// Address of a timeout, a `struct __kernel_timespec`; 0 for none.
    pub timeout: u64,
}

/// A ring: its queues in shared memory, and the system calls on it.
pub trait KernelRing {
    /// Returns the descriptor of the ring.
    fn fd(&self) -> RawFd;

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

    /// Calls io_uring_enter(2). `ring` is the descriptor, or the registered index with
    /// IORING_ENTER_REGISTERED_RING; an argument needs IORING_ENTER_EXT_ARG.
    ///
    /// # Safety
    /// The timeout of the argument must be a valid address, or 0.
    unsafe fn enter(
        &mut self,
        ring: RawFd,
        to_submit: u32,
        min_complete: u32,
        flags: u32,
        argument: Option<&GeteventsArg>,
    ) -> io::Result<usize>;

    /// Registers the ring's descriptor with this thread, and returns its index
    /// (IORING_REGISTER_RING_FDS). The registration keeps the ring open until the thread ends.
    fn register_ring_fd(&mut self) -> io::Result<RawFd>;

    /// Unregisters the index.
    fn unregister_ring_fd(&mut self, index: RawFd);

    /// Registers a direct descriptor table of empty slots.
    fn register_direct_descriptors(&mut self, slots: u32) -> io::Result<()>;

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

const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;

/// `struct io_uring_rsrc_update`
#[repr(C)]
struct RsrcUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

impl RsrcUpdate {
    /// Calls io_uring_register(2) with this one update, and returns the number of updates made.
    fn register(&mut self, ring: RawFd, operation: u32) -> i64 {
        // SAFETY: the update lives through the call, which may write the index to it.
        unsafe {
            libc::syscall(libc::SYS_io_uring_register, ring, operation, std::ptr::from_mut(self), 1)
        }
    }
}

impl KernelRing for IoUring {
    fn fd(&self) -> RawFd {
        self.as_raw_fd()
    }

    fn cq_entries(&self) -> usize {
        self.params().cq_entries() as usize
    }

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
    unsafe fn enter(
        &mut self,
        ring: RawFd,
        to_submit: u32,
        min_complete: u32,
        flags: u32,
        argument: Option<&GeteventsArg>,
    ) -> io::Result<usize> {
        let bytes = if argument.is_some() { size_of::<GeteventsArg>() } else { 0 };
        let argument = argument.map_or(std::ptr::null(), std::ptr::from_ref);
        let call = libc::SYS_io_uring_enter;
        // SAFETY: the argument lives through the call, and `bytes` is its size. The callers that
        // pushed the SQEs have promised that the memory they point to is valid.
        let entered =
            unsafe { libc::syscall(call, ring, to_submit, min_complete, flags, argument, bytes) };
        usize::try_from(entered).map_err(|_| io::Error::last_os_error())
    }

    fn register_ring_fd(&mut self) -> io::Result<RawFd> {
        let ring = self.as_raw_fd();
        let mut update = RsrcUpdate { offset: u32::MAX, reserved: 0, data: ring as u64 };
        match update.register(ring, REGISTER_RING_FDS) {
            1 => Ok(update.offset as RawFd),
            0 => Err(io::ErrorKind::Unsupported.into()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn unregister_ring_fd(&mut self, index: RawFd) {
        let mut update = RsrcUpdate { offset: index as u32, reserved: 0, data: 0 };
        // It fails only for an index that is not registered.
        let _ = update.register(self.as_raw_fd(), UNREGISTER_RING_FDS);
    }

    fn register_direct_descriptors(&mut self, slots: u32) -> io::Result<()> {
        self.submitter().register_files_sparse(slots)
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
