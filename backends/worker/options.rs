//! The input of a worker ([`WorkerOptions`]), its observers, and its result ([`Report`]).

use std::time::Duration;

use crate::counters::Counters;
use crate::deadlines::DeadlineLengths;
use crate::error::{BackendError, ErrorKind};
use crate::protocol::Next;
use crate::slab::{ConnectionId, MAX_SLOTS};
use crate::socket::Listener;
use crate::stop::Stop;

/// Limits of everything that a peer can make grow. The memory is allocated at startup.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most open connections; further ones wait in the accept queue. 1,000 by default.
    pub connections: usize,
    /// Most bytes of output that wait on a connection before it is no longer received from.
    /// 64 KiB by default.
    pub message_bytes: usize,
    /// Size of a receive buffer, in bytes; at most [`Limits::read_budget_bytes`]. 1,024 by default.
    /// Messages that are longer are received in pieces, which costs system calls.
    pub receive_buffer_bytes: usize,
    /// Most bytes received from one connection in one iteration of the event loop, so that others
    /// are not starved. 16 KiB by default.
    pub read_budget_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            message_bytes: 64 * 1024,
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

    /// Returns the bytes of a connection that are kept for the request log.
    pub(super) fn max_request_bytes(&self) -> Option<usize> {
        self.message_bytes.checked_add(self.read_budget_bytes)
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

/// The input of one engine: a listener, limits and timeouts. Made by [`WorkerOptions::new`].
#[non_exhaustive]
pub struct WorkerOptions {
    /// The listener, which belongs to this worker only.
    pub listener: Listener,
    /// Ends the run when it is requested.
    pub stop: Stop,
    /// Limits of connections and buffers.
    pub limits: Limits,
    /// Timeouts of connections.
    pub deadlines: DeadlineLengths,
    /// The way to close a connection.
    pub closing: Closing,
    /// Sends the FIN in the segment of the last bytes (MSG_MORE, send(2)), which saves segments.
    pub send_more: bool,
    /// Time for open connections to end after the stop, with the resolution of the tick of one
    /// second.
    pub drain_timeout: Duration,
    /// Receives each event of each connection; for tests and for tracing.
    pub recorder: Option<Box<dyn Recorder>>,
    /// Receives each complete request; the reference programs print it.
    pub request_log: Option<Box<dyn RequestLog>>,
}

impl WorkerOptions {
    /// Makes a worker with the default limits and timeouts, and [`Closing::AtOnce`].
    pub fn new(listener: impl Into<Listener>, stop: Stop) -> Self {
        Self {
            listener: listener.into(),
            stop,
            limits: Limits::default(),
            deadlines: DeadlineLengths::default(),
            closing: Closing::AtOnce,
            send_more: false,
            drain_timeout: Duration::from_secs(10),
            recorder: None,
            request_log: None,
        }
    }

    /// # Errors
    /// [`ErrorKind::Usage`] if a limit is invalid, or SIGPIPE is not ignored.
    pub(crate) fn check(&self) -> Result<(), BackendError> {
        let limits = &self.limits;
        let room = limits.max_request_bytes().and_then(|it| it.checked_mul(limits.connections));
        let problem = if !(1..=MAX_SLOTS).contains(&limits.connections) {
            "limits.connections must be from 1 to 16,777,216"
        } else if limits.receive_buffer_bytes == 0 || limits.read_budget_bytes == 0 {
            "limits.receive_buffer_bytes and limits.read_budget_bytes must not be 0"
        } else if limits.receive_bytes() > i32::MAX as usize {
            "the receive buffer must be shorter than 2 GiB"
        } else if room.is_none_or(|bytes| bytes > isize::MAX as usize) {
            "limits.connections × limits.message_bytes exceeds the address space"
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
