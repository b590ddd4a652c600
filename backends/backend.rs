//! The input of an engine ([`Worker`]), its result ([`Report`]), and its selection ([`open`]).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::connection::Next;
use crate::counters::Counters;
use crate::deadlines::DeadlineLengths;
use crate::epoll::{EpollBackend, EpollEngine};
use crate::error::{BackendError, ErrorKind};
use crate::io_uring::{IoUringBackend, Techniques};
use crate::responses::Responses;
use crate::slab::{ConnectionId, MAX_SLOTS};
use crate::socket::Listener;
use crate::stop::Stop;

/// A server engine: it accepts connections, receives requests, sends responses and closes, until
/// its [`Stop`] is requested.
///
/// Dyn-compatible: the one dynamic call is [`Backend::run`], once in a worker's lifetime.
pub trait Backend {
    /// Returns the name in words, such as `epoll, level-triggered`.
    fn name(&self) -> &'static str;

    /// Returns the names of the techniques in force: those requested, without those that this
    /// kernel does not support or that have no effect. Empty for an engine without techniques.
    fn techniques(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Serves until [`Worker::stop`] is requested and every connection is drained or closed.
    ///
    /// Must be called on the thread that called [`open`], since a ring belongs to one thread
    /// (IORING_SETUP_SINGLE_ISSUER). SIGPIPE must be ignored, as Rust's runtime does.
    ///
    /// # Errors
    /// Returns an error only before the first connection, or if the kernel breaks its contract.
    /// Neither a peer nor an error on a connection ends the run.
    fn run(&mut self, worker: Worker) -> Result<Report, BackendError>;
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
pub fn open(variant: Variant, options: &EngineOptions) -> Result<Box<dyn Backend>, BackendError> {
    options.check()?;
    Ok(match variant {
        Variant::EpollLevel => Box::new(EpollBackend::new(EpollEngine::Level, options)),
        Variant::EpollEdge => Box::new(EpollBackend::new(EpollEngine::Edge, options)),
        Variant::EpollTuned => Box::new(EpollBackend::new(EpollEngine::Tuned, options)),
        Variant::IoUringSingleShot => Box::new(IoUringBackend::single_shot(options)?),
        Variant::IoUringTuned => Box::new(IoUringBackend::tuned(options)?),
    })
}

/// Limits of everything that a peer can make grow. The memory is allocated at startup.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most open connections; further ones wait in the accept queue.
    pub connections: usize,
    /// Longest request head, in bytes; a longer one is refused with 431.
    pub request_head_bytes: usize,
    /// Size of a receive buffer, in bytes; at most [`Limits::read_budget_bytes`].
    pub receive_buffer_bytes: usize,
    /// Most bytes received from one connection in one iteration of the event loop, so that others
    /// are not starved.
    pub read_budget_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            request_head_bytes: 8 * 1024,
            receive_buffer_bytes: 1024,
            read_budget_bytes: 16 * 1024,
        }
    }
}

impl Limits {
    /// Returns the size of a receive buffer.
    pub(crate) fn receive_bytes(&self) -> usize {
        self.receive_buffer_bytes.min(self.read_budget_bytes)
    }
}

/// The way to close a connection after its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closing {
    /// Shuts down both directions and closes. If bytes of the peer are unread, the kernel sends a
    /// reset, which can destroy the response (RFC 1122, 4.2.2.13).
    AtOnce,
    /// Shuts down the send side, and discards what the peer still sends until it closes,
    /// [`DeadlineLengths::linger`] passes, or the limit is reached. With that timeout disabled, a
    /// peer that never closes holds its slot.
    Lingering {
        /// Most bytes to discard.
        bytes: usize,
    },
}

/// Keep-alive connections: HTTP/1.1 with pipelining.
#[derive(Clone, Debug)]
pub struct KeepAlive {
    /// The responses, used instead of [`Worker::response`].
    pub responses: Arc<Responses>,
    /// Most requests on a connection: the last response has `Connection: close`; 0 is no limit.
    pub requests_per_connection: u64,
    /// Longest request body, which is skipped, in bytes; a longer one is refused with 413.
    pub request_body_bytes: u64,
}

impl KeepAlive {
    /// Makes the defaults: no limit of requests, and bodies of up to 1 MiB.
    pub fn new(responses: Arc<Responses>) -> Self {
        Self { responses, requests_per_connection: 0, request_body_bytes: 1024 * 1024 }
    }
}

/// The input of one engine: a listener, the response, limits and timeouts. Made by [`Worker::new`].
#[non_exhaustive]
pub struct Worker {
    /// The listener, which belongs to this worker only.
    pub listener: Listener,
    /// Ends the run when it is requested.
    pub stop: Stop,
    /// The response to every request.
    pub response: Arc<[u8]>,
    /// Keep-alive connections; `None` closes after each response (HTTP/1.0).
    pub keep_alive: Option<KeepAlive>,
    /// Limits of connections and requests.
    pub limits: Limits,
    /// Timeouts of connections.
    pub deadlines: DeadlineLengths,
    /// The way to close a connection.
    pub closing: Closing,
    /// Sends the FIN in the segment of the response's last bytes (MSG_MORE, send(2)), which saves
    /// segments.
    pub send_more: bool,
    /// Time for open connections to end after the stop, with the resolution of the tick of one
    /// second.
    pub drain_timeout: Duration,
    /// Receives each event of each connection; for tests and for tracing.
    pub recorder: Option<Box<dyn Recorder>>,
    /// Receives each complete request; the reference programs print it.
    pub request_log: Option<Box<dyn RequestLog>>,
}

impl Worker {
    /// Makes a worker with the default limits and timeouts, and [`Closing::AtOnce`].
    pub fn new(listener: impl Into<Listener>, stop: Stop, response: impl Into<Arc<[u8]>>) -> Self {
        Self {
            listener: listener.into(),
            stop,
            response: response.into(),
            keep_alive: None,
            limits: Limits::default(),
            deadlines: DeadlineLengths::default(),
            closing: Closing::AtOnce,
            send_more: false,
            drain_timeout: Duration::from_secs(10),
            recorder: None,
            request_log: None,
        }
    }

    fn max_response_bytes(&self) -> usize {
        let keep_alive = self.keep_alive.as_ref().map_or(0, |it| it.responses.max_bytes());
        keep_alive.max(self.response.len())
    }

    /// # Errors
    /// [`ErrorKind::Usage`] if a limit is invalid, or SIGPIPE is not ignored.
    pub(crate) fn check(&self) -> Result<(), BackendError> {
        let limits = &self.limits;
        let longest_head = limits.request_head_bytes.checked_add(limits.read_budget_bytes);
        let room = longest_head.and_then(|longest| longest.checked_mul(limits.connections));
        let problem = if !(1..=MAX_SLOTS).contains(&limits.connections) {
            "limits.connections must be from 1 to 16,777,216"
        } else if limits.request_head_bytes < 2 {
            "limits.request_head_bytes must be at least 2, the length of the shortest end"
        } else if limits.receive_buffer_bytes == 0 || limits.read_budget_bytes == 0 {
            "limits.receive_buffer_bytes and limits.read_budget_bytes must not be 0"
        } else if self.response.is_empty() {
            "the response must not be empty"
        } else if self.max_response_bytes().max(limits.receive_bytes()) > i32::MAX as usize {
            "the response and the receive buffer must be shorter than 2 GiB"
        } else if room.is_none_or(|bytes| bytes > isize::MAX as usize) {
            "limits.connections × limits.request_head_bytes exceeds the address space"
        } else if sigpipe_terminates() {
            "SIGPIPE must be ignored, since a send to a closed connection raises it"
        } else {
            return Ok(());
        };
        Err(BackendError::new(ErrorKind::Usage, "worker", problem))
    }
}

/// Returns true if SIGPIPE would end the process. Rust's runtime ignores it before `main`; a
/// program in another language must do so itself.
fn sigpipe_terminates() -> bool {
    // SAFETY: all-zero bytes are a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: no action is set, and the current one is written to a struct that outlives the call.
    let result = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action) };
    result == 0 && action.sa_sigaction == libc::SIG_DFL
}

/// An event in the lifecycle of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LifecycleEvent {
    /// The connection was accepted.
    Accepted,
    /// This many bytes were received; 0 is the end of the peer's stream.
    Received(usize),
    /// The kernel accepted this many bytes of the response.
    Sent(usize),
    /// The shutdown ended, with success or an error.
    Shutdown,
    /// A step failed with this errno. A close follows.
    Failed(i32),
    /// A deadline passed, of the connection or of the drain. A close follows.
    Expired,
    /// The descriptor is closed and the slot is free.
    Closed,
}

/// Receives each event of each connection, in order.
pub trait Recorder: Send {
    /// Records an event; `next` is the step that follows, `None` after the last event.
    fn record(&mut self, id: ConnectionId, event: LifecycleEvent, next: Option<Next>);
}

/// Receives each complete request, with the bytes that arrived after it in the same piece.
pub trait RequestLog: Send {
    /// Logs a request. Must not block, since the event loop waits for it. Returns false if it
    /// dropped the request.
    fn request(&mut self, bytes: &[u8]) -> bool;
}

/// The result of a run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The counters.
    pub counters: Counters,
}
