//! A small ring for one probe. It owns the memory that its SQEs point to and the sockets that they
//! use, and frees them only when nothing is in flight.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ::io_uring::squeue::Entry;
use ::io_uring::{Builder, IoUring, opcode, types};

use super::sockets::{self, COMPLETION_TIMEOUT};
use super::{ProbeError, ProbeResult, require, sqe};
use crate::completion::Completion;

/// Attempts before ENOMEM is final. The kernel frees a closed ring later, and its memory counts
/// towards RLIMIT_MEMLOCK until then.
const MAX_ATTEMPTS: usize = 200;

const ENTRIES: u32 = 8;

pub(super) fn retry_on_enomem<T>(mut attempt: impl FnMut() -> ProbeResult<T>) -> ProbeResult<T> {
    for _ in 1..MAX_ATTEMPTS {
        match attempt() {
            Err(error) if error.errno() == Some(libc::ENOMEM) => {
                sleep(Duration::from_millis(1));
            }
            result => return result,
        }
    }
    attempt()
}

const MEMORY_BYTES: usize = 64 * 1024;

/// I/O memory, aligned to the largest page size of the architectures that the io-uring crate
/// supports.
#[repr(C, align(65536))]
struct Memory([u8; MEMORY_BYTES]);

pub(super) struct ProbeRing {
    pub(super) ring: IoUring,
    /// Allocated with `Box`. Accessed only through the pointer, since the kernel writes to it.
    memory: *mut Memory,
    sockets: Vec<OwnedFd>,
    last_id: u64,
    in_flight: Vec<u64>,
    reaped: VecDeque<(u64, Completion)>,
}

impl ProbeRing {
    /// Sets up a ring without flags.
    pub(super) fn new() -> ProbeResult<Self> {
        Self::with_setup(|it| it)
    }

    /// Sets up a ring with the flags that `configure` sets.
    pub(super) fn with_setup(
        configure: impl Fn(&mut Builder) -> &mut Builder,
    ) -> ProbeResult<Self> {
        let mut builder = IoUring::builder();
        builder.dontfork();
        configure(&mut builder);
        let build = || builder.build(ENTRIES).map_err(ProbeError::refused("io_uring_setup"));
        let ring = retry_on_enomem(build)?;
        Ok(Self {
            ring,
            memory: Box::into_raw(Box::new(Memory([0; MEMORY_BYTES]))),
            sockets: Vec::new(),
            last_id: 0,
            in_flight: Vec::new(),
            reaped: VecDeque::new(),
        })
    }

    /// Takes ownership of a socket, which stays open while anything is in flight.
    pub(super) fn own_socket(&mut self, socket: impl Into<OwnedFd>) -> RawFd {
        let socket = socket.into();
        let fd = socket.as_raw_fd();
        self.sockets.push(socket);
        fd
    }

    pub(super) fn disown_socket(&mut self, fd: RawFd) -> Option<OwnedFd> {
        let index = self.sockets.iter().position(|socket| socket.as_raw_fd() == fd)?;
        Some(self.sockets.swap_remove(index))
    }

    pub(super) fn socket_pair(&mut self) -> ProbeResult<(RawFd, RawFd)> {
        let (one, other) = sockets::pair()?;
        Ok((self.own_socket(one), self.own_socket(other)))
    }

    /// Sets up a ring without flags, and a pair of connected sockets.
    pub(super) fn with_sockets() -> ProbeResult<(Self, RawFd, RawFd)> {
        let mut probe = Self::new()?;
        let (near, far) = probe.socket_pair()?;
        Ok((probe, near, far))
    }

    /// Returns the address of a range of the I/O memory.
    pub(super) fn address(&self, offset: usize, length: usize) -> *mut u8 {
        assert!(offset + length <= MEMORY_BYTES);
        self.memory.cast::<u8>().wrapping_add(offset)
    }

    /// Copies a range of the I/O memory.
    pub(super) fn bytes(&self, offset: usize, length: usize) -> Vec<u8> {
        let from = self.address(offset, length);
        // SAFETY: the range is within the memory, as `address` has checked, and initialized.
        (0..length).map(|index| unsafe { from.wrapping_add(index).read_volatile() }).collect()
    }

    /// Queues an SQE and returns its user_data. The SQE points only to statics and to the memory of
    /// this ring.
    pub(super) fn push(&mut self, sqe: Entry) -> ProbeResult<u64> {
        self.last_id += 1;
        // SAFETY: both stay allocated until nothing is in flight.
        let pushed = unsafe { self.ring.submission().push(&sqe.user_data(self.last_id)) };
        pushed.map_err(|_| ProbeError::unexpected("the submission queue was full"))?;
        self.in_flight.push(self.last_id);
        Ok(self.last_id)
    }

    /// Does not wait for the completion of this SQE before the memory is freed.
    pub(super) fn expects_no_completion(&mut self, id: u64) {
        self.in_flight.retain(|other| *other != id);
    }

    /// Submits the queued SQEs without waiting, and returns their number.
    pub(super) fn submit(&mut self) -> ProbeResult<usize> {
        self.ring.submit().map_err(ProbeError::refused("io_uring_enter"))
    }

    /// Returns true if no completion is visible. Does not enter the kernel.
    pub(super) fn has_no_completion(&mut self) -> bool {
        self.reap();
        self.reaped.is_empty()
    }

    /// Submits, and waits for the next completion with this user_data.
    pub(super) fn wait(&mut self, id: u64, name: &'static str) -> ProbeResult<Completion> {
        let deadline = Instant::now() + COMPLETION_TIMEOUT;
        loop {
            self.reap();
            let found = self.reaped.iter().position(|(other, _)| *other == id);
            if let Some((_, completion)) = found.and_then(|index| self.reaped.remove(index)) {
                return Ok(completion);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            require(!left.is_zero(), format!("{name} never completed"))?;
            self.submit_and_wait(left).map_err(ProbeError::refused("io_uring_enter"))?;
        }
    }

    /// Waits for the next completion with this user_data, which must not be an error.
    pub(super) fn wait_ok(&mut self, id: u64, name: &'static str) -> ProbeResult<Completion> {
        let completion = self.wait(id, name)?;
        if completion.result < 0 {
            return Err(ProbeError::Refused { operation: name, errno: -completion.result });
        }
        Ok(completion)
    }

    /// Submits an SQE and waits for its completion, which must not be an error.
    pub(super) fn run(&mut self, sqe: Entry, name: &'static str) -> ProbeResult<Completion> {
        let id = self.push(sqe)?;
        self.wait_ok(id, name)
    }

    /// Submits an SQE and waits for its completion, which must be `errno`.
    pub(super) fn run_expecting(
        &mut self,
        sqe: Entry,
        name: &'static str,
        errno: i32,
    ) -> ProbeResult {
        let id = self.push(sqe)?;
        self.wait_expecting(id, name, errno)
    }

    /// Waits for the next completion with this user_data, which must be `errno`.
    pub(super) fn wait_expecting(
        &mut self,
        id: u64,
        name: &'static str,
        errno: i32,
    ) -> ProbeResult {
        let result = self.wait(id, name)?.result;
        let expected = io::Error::from_raw_os_error(errno);
        require(result == -errno, format!("{name} completed with {result} instead of {expected}"))
    }

    pub(super) fn run_nop(&mut self) -> ProbeResult {
        self.run(sqe::nop(), "IORING_OP_NOP").map(drop)
    }

    /// Submits, and waits for a completion until the timeout.
    fn submit_and_wait(&mut self, timeout: Duration) -> io::Result<()> {
        let entered = if self.ring.params().is_feature_ext_arg() {
            let seconds = types::Timespec::new().sec(timeout.as_secs());
            let timeout = seconds.nsec(timeout.subsec_nanos());
            self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&timeout))
        } else {
            // Before Linux 5.11 io_uring_enter(2) takes no timeout.
            self.ring.submit()?;
            sockets::wait_readable(self.ring.as_raw_fd(), timeout).map(usize::from)
        };
        match entered.map_err(|error| (error.raw_os_error(), error)) {
            Err((Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY), _)) | Ok(_) => {
                Ok(())
            }
            Err((_, error)) => Err(error),
        }
    }

    fn reap(&mut self) {
        for entry in self.ring.completion() {
            let completion = Completion::new(entry.result(), entry.flags());
            let id = entry.user_data();
            if !completion.more() {
                self.in_flight.retain(|other| *other != id);
            }
            self.reaped.push_back((id, completion));
        }
    }

    /// Cancels everything in flight, and returns true if all of it has completed.
    fn cancel_all(&mut self) -> bool {
        let deadline = Instant::now() + COMPLETION_TIMEOUT;
        for id in self.in_flight.clone() {
            let entry = opcode::AsyncCancel::new(id).build();
            // SAFETY: the SQE has no pointers.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            if pushed.is_err() || self.ring.submit().is_err() {
                break;
            }
        }
        loop {
            self.reap();
            let left = deadline.saturating_duration_since(Instant::now());
            if self.in_flight.is_empty() || left.is_zero() || self.submit_and_wait(left).is_err() {
                return self.in_flight.is_empty();
            }
        }
    }
}

impl Drop for ProbeRing {
    fn drop(&mut self) {
        if self.in_flight.is_empty() || self.cancel_all() {
            // SAFETY: the pointer is from a box, only this place frees it, and nothing is in
            // flight that could write to it.
            drop(unsafe { Box::from_raw(self.memory) });
        }
        // Otherwise the memory is leaked. The sockets can be closed: the kernel holds its own
        // references to them.
    }
}
