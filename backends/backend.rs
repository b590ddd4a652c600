//! The engines by name, their options, and their selection ([`open`]).

use std::fmt;
use std::str::FromStr;

use crate::epoll::{EpollBackend, EpollEngine};
use crate::error::{BackendError, ErrorKind};
use crate::io_uring::{IoUringBackend, IoUringEngine, Techniques};
use crate::kernel::{Kernel, RealKernel};
use crate::protocol::Protocol;
use crate::worker::{Report, WorkerOptions};

/// A server engine: it accepts connections, moves the bytes of a [`Protocol`] and closes, until its
/// [`crate::Stop`] is requested.
///
/// Each engine is compiled for each protocol that it runs, without dynamic calls.
pub trait Backend {
    /// Returns the name in words, such as `epoll, level-triggered`.
    fn name(&self) -> &'static str;

    /// Returns the names of the techniques in force: those requested, without those that this
    /// kernel does not support or that have no effect. Empty for an engine without techniques.
    fn techniques(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Serves until [`WorkerOptions::stop`] is requested and every connection is drained or closed.
    ///
    /// Must be called on the thread that called [`open`], since a ring belongs to one thread
    /// (IORING_SETUP_SINGLE_ISSUER). SIGPIPE must be ignored, as Rust's runtime does.
    ///
    /// # Errors
    /// Returns an error only before the first connection, or if the kernel breaks its contract.
    /// Neither a peer nor an error on a connection ends the run.
    fn run<P: Protocol>(
        &mut self,
        options: WorkerOptions,
        protocol: P,
    ) -> Result<Report, BackendError>;
}

/// An engine that was chosen at run time. Made by [`open`].
pub struct AnyBackend<K: Kernel = RealKernel>(Chosen<K>);

enum Chosen<K: Kernel> {
    Epoll(EpollBackend<K>),
    IoUring(Box<IoUringBackend<K>>),
}

impl<K: Kernel> Backend for AnyBackend<K> {
    fn name(&self) -> &'static str {
        match &self.0 {
            Chosen::Epoll(backend) => backend.name(),
            Chosen::IoUring(backend) => backend.name(),
        }
    }

    fn techniques(&self) -> Vec<&'static str> {
        match &self.0 {
            Chosen::Epoll(backend) => backend.techniques(),
            Chosen::IoUring(backend) => backend.techniques(),
        }
    }

    fn run<P: Protocol>(
        &mut self,
        options: WorkerOptions,
        protocol: P,
    ) -> Result<Report, BackendError> {
        options.check()?;
        match &mut self.0 {
            Chosen::Epoll(backend) => backend.run(options, protocol),
            Chosen::IoUring(backend) => backend.run(options, protocol),
        }
    }
}

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Variant {
    /// `epoll:level`: level-triggered epoll, as the first reference program.
    EpollLevel,
    /// `epoll:edge`: edge-triggered epoll, as the second reference program.
    EpollEdge,
    /// `epoll:tuned`: system calls are tried first, and epoll is used after EAGAIN.
    EpollTuned,
    /// `io_uring:single_shot`: one SQE for each step.
    IoUringSingleShot,
    /// `io_uring:tuned`: with the [`Techniques`] of io_uring.
    IoUringTuned,
}

impl Variant {
    /// Every engine, in reading order.
    pub const ALL: &[Self] = &[
        Self::EpollLevel,
        Self::EpollEdge,
        Self::EpollTuned,
        Self::IoUringSingleShot,
        Self::IoUringTuned,
    ];

    /// Returns the name in options, such as `epoll:level`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EpollLevel => "epoll:level",
            Self::EpollEdge => "epoll:edge",
            Self::EpollTuned => "epoll:tuned",
            Self::IoUringSingleShot => "io_uring:single_shot",
            Self::IoUringTuned => "io_uring:tuned",
        }
    }

    /// Returns true if the engine needs a kernel and a sandbox that allow io_uring.
    pub const fn is_io_uring(self) -> bool {
        matches!(self, Self::IoUringSingleShot | Self::IoUringTuned)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = ParseVariantError;

    /// Parses a full name, or `epoll`, `io_uring` or `io-uring` for the tuned engine of each.
    fn from_str(name: &str) -> Result<Self, ParseVariantError> {
        match name.replacen("io-uring", "io_uring", 1).as_str() {
            "epoll" => Ok(Self::EpollTuned),
            "io_uring" => Ok(Self::IoUringTuned),
            full => Self::ALL
                .iter()
                .copied()
                .find(|variant| variant.name() == full)
                .ok_or_else(|| ParseVariantError { name: name.to_owned() }),
        }
    }
}

/// The error of parsing a [`Variant`]: no engine has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseVariantError {
    name: String,
}

impl fmt::Display for ParseVariantError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Variant::ALL.iter().map(|variant| variant.name()).collect();
        let (name, names) = (&self.name, names.join(", "));
        write!(formatter, "unknown backend `{name}`; choose one of {names}, epoll, io_uring")
    }
}

impl std::error::Error for ParseVariantError {}

/// Options of the engines.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// epoll: most events that one wait returns (`maxevents` of epoll_wait(2)).
    pub events_per_wait: usize,
    /// io_uring: entries of the submission queue, from 1 to 32,768; the kernel rounds up to a power
    /// of two (io_uring_setup(2)).
    pub submission_queue_entries: u32,
    /// io_uring: entries of the completion queue, from the number of submissions to 65,536; `None`
    /// is the larger of 2,048 and twice the submissions. Further completions are kept in kernel
    /// memory until there is room (IORING_FEAT_NODROP).
    pub completion_queue_entries: Option<u32>,
    /// The tuned engines: microseconds of busy polling before they sleep; 0 disables it. It keeps
    /// a CPU busy.
    pub busy_poll_us: u32,
    /// The tuned engines: the way to shut down the send side after a response.
    pub shutdown: ShutdownBy,
    /// `io_uring:tuned`: its techniques.
    pub techniques: Techniques,
}

/// The way to shut down the send side. The peer sees no difference unless it sends more than its
/// request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownBy {
    /// IORING_OP_SHUTDOWN (Linux 5.11), which the kernel always runs on an io-wq worker thread. On
    /// epoll the same as [`ShutdownBy::Call`].
    Ring,
    /// shutdown(2), on both interfaces.
    Call,
    /// Left to the close, if that follows at once and no byte is unread. Bytes that arrive in
    /// between make the close send a reset, which can destroy the response.
    Close,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            // The reference programs', which is CPython's default.
            events_per_wait: 1023,
            submission_queue_entries: 256,
            completion_queue_entries: None,
            busy_poll_us: 0,
            shutdown: ShutdownBy::Call,
            techniques: Techniques::default(),
        }
    }
}

/// More than the default of events in one wait. With 256 submissions the ring still fits into the
/// default RLIMIT_MEMLOCK of 64 KiB.
const MIN_COMPLETIONS: u32 = 2048;

impl EngineOptions {
    /// Returns the entries of the completion queue.
    pub(crate) fn completions(&self) -> u32 {
        let twice = self.submission_queue_entries.saturating_mul(2);
        self.completion_queue_entries.unwrap_or(twice.max(MIN_COMPLETIONS))
    }

    fn check(&self) -> Result<(), BackendError> {
        let (submissions, completions) = (self.submission_queue_entries, self.completions());
        let problem = if self.events_per_wait == 0 {
            "events_per_wait must not be 0"
        } else if !(1..=32_768).contains(&submissions) {
            "submission_queue_entries must be from 1 to 32,768"
        } else if !(submissions..=65_536).contains(&completions) {
            "completion_queue_entries must be from submission_queue_entries to 65,536"
        } else {
            return Ok(());
        };
        Err(BackendError::new(ErrorKind::Usage, "engine options", problem))
    }
}

/// Sets up an engine, on the thread that will run it: a ring belongs to its thread.
///
/// # Errors
/// [`ErrorKind::BackendRefused`] if the kernel or a sandbox refuses it. There is no fallback to
/// another engine: that is the caller's decision. [`ErrorKind::Usage`] if an option is invalid.
pub fn open(variant: Variant, options: &EngineOptions) -> Result<AnyBackend, BackendError> {
    open_on(variant, options)
}

/// Sets up an engine as [`open`] does, on another kernel.
///
/// # Errors
/// Those of [`open`].
pub fn open_on<K: Kernel>(
    variant: Variant,
    options: &EngineOptions,
) -> Result<AnyBackend<K>, BackendError> {
    options.check()?;
    let epoll = |engine| Ok(AnyBackend(Chosen::Epoll(EpollBackend::new(engine, options))));
    let io_uring = |engine| {
        let backend = IoUringBackend::open(engine, options)?;
        Ok(AnyBackend(Chosen::IoUring(Box::new(backend))))
    };
    match variant {
        Variant::EpollLevel => epoll(EpollEngine::Level),
        Variant::EpollEdge => epoll(EpollEngine::Edge),
        Variant::EpollTuned => epoll(EpollEngine::Tuned),
        Variant::IoUringSingleShot => io_uring(IoUringEngine::SingleShot),
        Variant::IoUringTuned => io_uring(IoUringEngine::Tuned),
    }
}
