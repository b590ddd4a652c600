//! What an engine is given ([`Worker`]), what it gives back ([`Report`]), and how one is chosen
//! ([`open`]).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::connection::Next;
use crate::counters::Counters;
use crate::deadlines::DeadlineLengths;
use crate::epoll::{EpollBackend, Style};
use crate::error::{BackendError, ErrorKind};
use crate::io_uring::{IoUringBackend, Techniques};
use crate::replies::Replies;
use crate::slots::{ConnectionId, MOST_SLOTS};
use crate::socket::Listener;
use crate::stop::Stop;

/// A server engine: it takes connections from a listener, reads a request from each, answers it
/// and closes, until it is told to stop.
///
/// Object safe on purpose: the one dynamic call is [`Backend::run`], once in a worker's lifetime.
pub trait Backend {
    /// How the start line names it, such as `epoll, level triggered`.
    fn name(&self) -> &'static str;

    /// The techniques in force, by name, where there are any to choose from: those that were asked
    /// for less those that this kernel does not have.
    fn techniques(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Serves until [`Worker::stop`] is requested and the connections have come to their end.
    ///
    /// It must be called on the thread that called [`open`]. SIGPIPE must be ignored, as Rust's
    /// runtime does.
    ///
    /// # Errors
    /// Only for what fails before the first connection, or for a kernel that does what it cannot
    /// do. No peer, and no error on a connection, ends it.
    fn run(&mut self, worker: Worker) -> Result<Report, BackendError>;
}

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Variant {
    /// `epoll:level`: the first of the documents.
    EpollLevel,
    /// `epoll:edge`: the second of the documents.
    EpollEdge,
    /// `epoll:tuned`: the same life without a step taken in vain.
    EpollTuned,
    /// `io_uring:single_shot`: the same life, one submission for each step.
    IoUringSingleShot,
    /// `io_uring:tuned`: the same life with all that pays of what io_uring has.
    IoUringTuned,
}

impl Variant {
    /// All of them, in the order in which one reads them.
    pub const ALL: &[Self] = &[
        Self::EpollLevel,
        Self::EpollEdge,
        Self::EpollTuned,
        Self::IoUringSingleShot,
        Self::IoUringTuned,
    ];

    /// How it is asked for: `epoll:level`, `io_uring:tuned`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EpollLevel => "epoll:level",
            Self::EpollEdge => "epoll:edge",
            Self::EpollTuned => "epoll:tuned",
            Self::IoUringSingleShot => "io_uring:single_shot",
            Self::IoUringTuned => "io_uring:tuned",
        }
    }

    /// Whether it needs a kernel and a sandbox that allow io_uring.
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
    type Err = BackendError;

    /// Takes the full names, and `epoll`, `io_uring` and `io-uring` for the best of each.
    fn from_str(name: &str) -> Result<Self, BackendError> {
        let full = name.replacen("io-uring", "io_uring", 1);
        match full.as_str() {
            "epoll" => Ok(Self::EpollTuned),
            "io_uring" => Ok(Self::IoUringTuned),
            full => {
                Self::ALL.iter().copied().find(|variant| variant.name() == full).ok_or_else(|| {
                    let names: Vec<_> = Self::ALL.iter().map(|variant| variant.name()).collect();
                    BackendError::new(
                        ErrorKind::Usage,
                        format!("backend `{name}`"),
                        "no such backend",
                    )
                    .with_remedy(format!("choose one of {}, epoll, io_uring", names.join(", ")))
                })
            }
        }
    }
}

/// What an engine needs to know before it has a worker.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// epoll: how many events one wait can bring.
    pub events_per_wait: usize,
    /// io_uring: how many submissions can stand in the queue, from 1 to 32,768; the kernel rounds
    /// up to a power of two.
    pub submission_queue_entries: u32,
    /// io_uring: how many completions can stand in theirs, not fewer than submissions and up to
    /// 65,536; `None` is 2,048 or twice the submissions, whichever is more. Where more come at
    /// once the kernel has to find memory for them.
    pub completion_queue_entries: Option<u32>,
    /// The tuned engines: for how many microseconds they look again and again before they sleep;
    /// 0 is not at all. It burns the processor it is on.
    pub busy_poll_us: u32,
    /// The tuned engines: who tells the peer that nothing follows its answer.
    pub shutdown: ShutdownBy,
    /// io_uring:tuned: what it does differently from `io_uring:single_shot`.
    pub techniques: Techniques,
}

/// Who tells the peer that nothing follows. It says the same in each case, as long as the peer
/// has said no more than its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownBy {
    /// IORING_OP_SHUTDOWN (Linux 5.11), which the kernel always hands to a worker thread. epoll
    /// has no ring, and takes it for [`ShutdownBy::Call`].
    Ring,
    /// shutdown(2), on both interfaces.
    Call,
    /// Nobody but the close, where it follows at once and all that has come has been read. Bytes
    /// that come in between turn it into a reset, which can overtake the answer.
    Close,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            // What the documents ask for, by CPython's default.
            events_per_wait: 1023,
            submission_queue_entries: 256,
            completion_queue_entries: None,
            busy_poll_us: 0,
            shutdown: ShutdownBy::Call,
            techniques: Techniques::default(),
        }
    }
}

/// Room for more completions at once than epoll is asked for events; with 256 submissions it still
/// fits into the 64 KiB that an unprivileged process may lock by default.
const COMPLETIONS_AT_LEAST: u32 = 2048;

impl EngineOptions {
    /// The length of the completion queue in force.
    pub(crate) fn completions(&self) -> u32 {
        let twice = self.submission_queue_entries.saturating_mul(2);
        self.completion_queue_entries.unwrap_or(twice.max(COMPLETIONS_AT_LEAST))
    }

    fn check(&self) -> Result<(), BackendError> {
        let (submissions, completions) = (self.submission_queue_entries, self.completions());
        let wrong = if self.events_per_wait == 0 {
            "events_per_wait must not be 0"
        } else if !(1..=32_768).contains(&submissions) {
            "submission_queue_entries must be from 1 to 32,768"
        } else if !(submissions..=65_536).contains(&completions) {
            "completion_queue_entries must be from submission_queue_entries to 65,536"
        } else {
            return Ok(());
        };
        Err(BackendError::new(ErrorKind::Usage, "engine options", wrong))
    }
}

/// Makes an engine ready, on the thread that will run it: a ring belongs to its thread.
///
/// # Errors
/// [`ErrorKind::BackendRefused`] when the kernel does not let this process have it. Nothing else
/// is used in its place: falling back is the caller's decision, never this crate's.
/// [`ErrorKind::Usage`] when the options make no sense.
pub fn open(variant: Variant, options: &EngineOptions) -> Result<Box<dyn Backend>, BackendError> {
    options.check()?;
    Ok(match variant {
        Variant::EpollLevel => Box::new(EpollBackend::new(Style::Level, options)),
        Variant::EpollEdge => Box::new(EpollBackend::new(Style::Edge, options)),
        Variant::EpollTuned => Box::new(EpollBackend::new(Style::Tuned, options)),
        Variant::IoUringSingleShot => Box::new(IoUringBackend::single_shot(options)?),
        Variant::IoUringTuned => Box::new(IoUringBackend::tuned(options)?),
    })
}

/// Bounds on everything that could grow. All that they bound is allocated at startup.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at the same time; the others wait in the listener's queue.
    pub connections: usize,
    /// The longest request head, in bytes; a longer one is answered with 431.
    pub request_head_bytes: usize,
    /// How much one receive can bring, in bytes; cut to [`Limits::turn_bytes`].
    pub receive_buffer_bytes: usize,
    /// How much is taken from one connection before the others have their turn, in bytes.
    pub turn_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            request_head_bytes: 8 * 1024,
            receive_buffer_bytes: 1024,
            turn_bytes: 16 * 1024,
        }
    }
}

impl Limits {
    /// What a receive buffer needs to hold.
    pub(crate) fn receive_bytes(&self) -> usize {
        self.receive_buffer_bytes.min(self.turn_bytes)
    }
}

/// How a connection that has been answered is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Both directions are shut down at once. Bytes of the peer's that nobody has read turn into
    /// a reset, which can destroy the answer on its way.
    AtOnce,
    /// Only the sending direction is shut down; what the peer still sends is read and thrown
    /// away until it closes, [`DeadlineLengths::linger`] passes, or this many bytes have come.
    /// Where that deadline is zero, a peer that does neither is waited for without end.
    Lingering {
        /// How many bytes are thrown away at the most.
        bytes: usize,
    },
}

/// What is served on connections that persist: HTTP/1.1, with requests one behind the other.
#[derive(Clone, Debug)]
pub struct KeepAlive {
    /// All answers; they take the place of [`Worker::response`].
    pub replies: Arc<Replies>,
    /// The answer to the last of so many requests says that nothing follows; 0 is no limit.
    pub requests_per_connection: u64,
    /// The longest body of a request, which is skipped, in bytes; a longer one is answered with
    /// 413.
    pub request_body_bytes: u64,
}

impl KeepAlive {
    /// No limit of requests, and bodies of up to 1 MiB.
    pub fn new(replies: Arc<Replies>) -> Self {
        Self { replies, requests_per_connection: 0, request_body_bytes: 1024 * 1024 }
    }
}

/// One worker: one thread, one listener, one engine.
pub struct Worker {
    /// Where connections come from. It belongs to this worker alone.
    pub listener: Listener,
    /// What ends the run.
    pub stop: Stop,
    /// The bytes that answer every request.
    pub response: Arc<[u8]>,
    /// Connections that persist, if they do; `None` closes behind each answer, whatever was asked.
    pub keep_alive: Option<KeepAlive>,
    /// What nobody may exceed.
    pub limits: Limits,
    /// How long each may take.
    pub deadlines: DeadlineLengths,
    /// How connections are closed.
    pub closing: Closing,
    /// Whether the end of the stream leaves in the segment of the answer's last bytes, at no call
    /// of its own (MSG_MORE in `send(2)`); it saves two segments of ten.
    pub send_more: bool,
    /// How long those who are being served at the stop may take to come to their end; as coarse
    /// as the one-second tick.
    pub drain_timeout: Duration,
    /// Told each step of each connection; for tests and for the curious.
    pub recorder: Option<Box<dyn Recorder>>,
    /// Given each request that came whole; this is where the documents print.
    pub request_log: Option<Box<dyn RequestLog>>,
}

impl Worker {
    /// A worker with the default limits and deadlines, and a close at once.
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

    fn longest_answer(&self) -> usize {
        let replies = self.keep_alive.as_ref().map_or(0, |it| it.replies.longest());
        replies.max(self.response.len())
    }

    /// # Errors
    /// [`ErrorKind::Usage`] where a limit leaves no room to work in, or the process would die of
    /// a peer that goes away.
    pub(crate) fn check(&self) -> Result<(), BackendError> {
        let limits = &self.limits;
        let longest_head = limits.request_head_bytes.checked_add(limits.turn_bytes);
        let room = longest_head.and_then(|longest| longest.checked_mul(limits.connections));
        let wrong = if !(1..=MOST_SLOTS).contains(&limits.connections) {
            "limits.connections must be from 1 to 16,777,216"
        } else if limits.request_head_bytes < 2 {
            "limits.request_head_bytes must be 2 at least, the length of the shortest end"
        } else if limits.receive_buffer_bytes == 0 || limits.turn_bytes == 0 {
            "limits.receive_buffer_bytes and limits.turn_bytes must not be 0"
        } else if self.response.is_empty() {
            "the response must not be empty"
        } else if self.longest_answer().max(limits.receive_bytes()) > i32::MAX as usize {
            "the response and the receive buffer must be shorter than 2 GiB"
        } else if room.is_none_or(|bytes| bytes > isize::MAX as usize) {
            "so many connections with so long requests do not fit into the address space"
        } else if sigpipe_kills() {
            "SIGPIPE must be ignored, since sending to a peer that has gone raises it"
        } else {
            return Ok(());
        };
        Err(BackendError::new(ErrorKind::Usage, "worker", wrong))
    }
}

/// Whether SIGPIPE still ends the process. Rust's runtime ignores it before `main`; a program
/// that is not Rust's must do so itself.
fn sigpipe_kills() -> bool {
    // SAFETY: all-zero bytes are a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is changed, and the old action is written to a struct that lives through
    // the call.
    let asked = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_DFL
}

/// A participle of the life: what has just been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A connection was taken from the listener.
    Accepted,
    /// So many bytes came; 0 is the end of the peer's stream.
    Received(usize),
    /// So many bytes of the answer were handed over.
    Sent(usize),
    /// The end of the stream was told, or could not be told any more.
    Shut,
    /// The step failed: this errno. A close follows.
    Failed(i32),
    /// A deadline passed, or the drain did. A close follows, and nothing else.
    Expired,
    /// Everything has been given back.
    Closed,
}

/// Is told each step of each connection, in order.
pub trait Recorder: Send {
    /// `next` is what the connection wants after it; `None` after the last step.
    fn record(&mut self, id: ConnectionId, step: Step, next: Option<Next>);
}

/// Is given each request that came whole, with whatever came behind it in the same piece.
pub trait RequestLog: Send {
    /// Must not wait: the loop stands still meanwhile. Returns false if it dropped the request.
    fn request(&mut self, bytes: &[u8]) -> bool;
}

/// What a worker did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Everything that was counted.
    pub counters: Counters,
}
