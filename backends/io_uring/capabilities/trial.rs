//! A small ring to try things on. It owns all memory that it ever shows to the kernel and all
//! sockets that it uses, and gives them back only when nothing is in flight.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ::io_uring::{Builder, IoUring, opcode, types};

use super::ask::Ask;
use super::{Answer, Missing, require, sockets};
pub(super) use crate::io_uring::completion::Completion;

/// How long anything may take that is bound to happen at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How often a ring is asked for again where memory is short: what the rings before it held is
/// given back some time after they were closed, and counts until then.
const ATTEMPTS: usize = 200;

const ENTRIES: u32 = 8;

/// Tries again for a while where memory that may be locked is short.
pub(super) fn patiently<T>(mut attempt: impl FnMut() -> Result<T, Missing>) -> Result<T, Missing> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(missing) if missing.errno() == Some(libc::ENOMEM) => {
                sleep(Duration::from_millis(1));
            }
            done => return done,
        }
    }
    attempt()
}

/// How much memory a trial has to show to the kernel.
const MEMORY_BYTES: usize = 64 * 1024;

/// Aligned to the largest page that Linux has on any of the architectures of the io-uring crate.
#[repr(C, align(65536))]
struct Memory([u8; MEMORY_BYTES]);

pub(super) struct Trial {
    pub(super) ring: IoUring,
    /// Made with `Box`; read and written through the pointer alone, since the kernel does so too.
    memory: *mut Memory,
    sockets: Vec<OwnedFd>,
    last_id: u64,
    in_flight: Vec<u64>,
    reaped: VecDeque<(u64, Completion)>,
}

impl Trial {
    /// A ring without any flag.
    pub(super) fn plain() -> Result<Self, Missing> {
        Self::with(|it| it)
    }

    /// A ring with flags.
    pub(super) fn with(configure: impl Fn(&mut Builder) -> &mut Builder) -> Result<Self, Missing> {
        let mut builder = IoUring::builder();
        builder.dontfork();
        configure(&mut builder);
        let made = || builder.build(ENTRIES).map_err(Missing::refused("io_uring_setup"));
        let ring = patiently(made)?;
        Ok(Self {
            ring,
            memory: Box::into_raw(Box::new(Memory([0; MEMORY_BYTES]))),
            sockets: Vec::new(),
            last_id: 0,
            in_flight: Vec::new(),
            reaped: VecDeque::new(),
        })
    }

    // ── What it owns ─────────────────────────────────────────────────────────────────────────

    /// Keeps a socket open as long as anything is in flight.
    pub(super) fn keep(&mut self, socket: impl Into<OwnedFd>) -> RawFd {
        let socket = socket.into();
        let number = socket.as_raw_fd();
        self.sockets.push(socket);
        number
    }

    /// Gives a kept socket back.
    pub(super) fn release(&mut self, number: RawFd) -> Option<OwnedFd> {
        let index = self.sockets.iter().position(|socket| socket.as_raw_fd() == number)?;
        Some(self.sockets.swap_remove(index))
    }

    /// Two connected sockets.
    pub(super) fn pair(&mut self) -> Result<(RawFd, RawFd), Missing> {
        let (one, other) = sockets::pair()?;
        Ok((self.keep(one), self.keep(other)))
    }

    /// An address in the memory.
    pub(super) fn address(&self, offset: usize, length: usize) -> *mut u8 {
        assert!(offset + length <= MEMORY_BYTES);
        self.memory.cast::<u8>().wrapping_add(offset)
    }

    /// What stands in the memory now.
    pub(super) fn bytes(&self, offset: usize, length: usize) -> Vec<u8> {
        let from = self.address(offset, length);
        // SAFETY: the range is within the memory, as `address` has checked, and initialized.
        (0..length).map(|index| unsafe { from.wrapping_add(index).read_volatile() }).collect()
    }

    // ── Asks and answers ─────────────────────────────────────────────────────────────────────

    /// Pushes an ask; its id.
    pub(super) fn push(&mut self, ask: Ask) -> Result<u64, Missing> {
        self.last_id += 1;
        let skips = ask.skips_success();
        let entry = ask.into_entry().user_data(self.last_id);
        // SAFETY: an ask points to nothing but statics and the memory of this trial, which
        // stays until nothing is in flight.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.map_err(|_| Missing::otherwise("the submission queue was full"))?;
        if !skips {
            self.in_flight.push(self.last_id);
        }
        Ok(self.last_id)
    }

    /// Submits what was pushed, and waits for nothing.
    pub(super) fn submit(&mut self) -> Answer {
        self.ring.submit().map(drop).map_err(Missing::refused("io_uring_enter"))
    }

    /// Whether a completion can be seen, without asking the kernel for it.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.take();
        self.reaped.is_empty()
    }

    /// The next completion of that ask, good or bad.
    pub(super) fn answer(&mut self, id: u64, name: &'static str) -> Result<Completion, Missing> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.take();
            let found = self.reaped.iter().position(|(other, _)| *other == id);
            if let Some((_, completion)) = found.and_then(|index| self.reaped.remove(index)) {
                return Ok(completion);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            require(!left.is_zero(), format!("{name} never completed"))?;
            self.enter(left).map_err(Missing::refused("io_uring_enter"))?;
        }
    }

    /// The same, and it must be good.
    pub(super) fn done(&mut self, id: u64, name: &'static str) -> Result<Completion, Missing> {
        let completion = self.answer(id, name)?;
        if completion.result < 0 {
            return Err(Missing::Refused { operation: name, errno: -completion.result });
        }
        Ok(completion)
    }

    /// Pushes an ask, and its completion must be good.
    pub(super) fn does(&mut self, ask: Ask, name: &'static str) -> Result<Completion, Missing> {
        let id = self.push(ask)?;
        self.done(id, name)
    }

    /// Pushes an ask, and its completion must be this errno.
    pub(super) fn fails(&mut self, ask: Ask, name: &'static str, errno: i32) -> Answer {
        let id = self.push(ask)?;
        self.ended_with(id, name, errno)
    }

    /// The completion of that ask must be this errno.
    pub(super) fn ended_with(&mut self, id: u64, name: &'static str, errno: i32) -> Answer {
        let result = self.answer(id, name)?.result;
        let word = io::Error::from_raw_os_error(errno);
        require(result == -errno, format!("{name} ended with {result} in place of {word}"))
    }

    /// The ring does something.
    pub(super) fn works(&mut self) -> Answer {
        self.does(Ask::nop(), "IORING_OP_NOP").map(drop)
    }

    /// Submits, and waits for a completion, but no longer than that.
    fn enter(&mut self, longest: Duration) -> io::Result<()> {
        let entered = if self.ring.params().is_feature_ext_arg() {
            let seconds = types::Timespec::new().sec(longest.as_secs());
            let longest = seconds.nsec(longest.subsec_nanos());
            self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&longest))
        } else {
            // Before Linux 5.11 a wait in io_uring_enter(2) has no end of its own.
            self.ring.submit()?;
            sockets::wait_readable(self.ring.as_raw_fd(), longest).map(usize::from)
        };
        match entered.map_err(|error| (error.raw_os_error(), error)) {
            Err((Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY), _)) | Ok(_) => {
                Ok(())
            }
            Err((_, error)) => Err(error),
        }
    }

    fn take(&mut self) {
        for entry in self.ring.completion() {
            let completion = Completion::new(entry.result(), entry.flags());
            let id = entry.user_data();
            if !completion.more() {
                self.in_flight.retain(|other| *other != id);
            }
            self.reaped.push_back((id, completion));
        }
    }

    /// Ends everything that is in flight; whether it did.
    fn end_all(&mut self) -> bool {
        for socket in self.sockets.iter() {
            sockets::shut(socket.as_raw_fd());
        }
        let deadline = Instant::now() + PATIENCE;
        for id in self.in_flight.clone() {
            let entry = opcode::AsyncCancel::new(id).build();
            // SAFETY: the entry has no pointers.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            if pushed.is_err() || self.ring.submit().is_err() {
                break;
            }
        }
        loop {
            self.take();
            let left = deadline.saturating_duration_since(Instant::now());
            if self.in_flight.is_empty() || left.is_zero() || self.enter(left).is_err() {
                return self.in_flight.is_empty();
            }
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if self.in_flight.is_empty() || self.end_all() {
            // SAFETY: the pointer came from a box, this is the only place that frees it, and
            // nothing in flight can write to it any more.
            drop(unsafe { Box::from_raw(self.memory) });
        }
        // Otherwise it is leaked. Of the sockets the kernel holds references of its own.
    }
}
