//! The options of the engines.

use crate::error::{BackendError, ErrorKind};
use crate::techniques::Techniques;

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
    pub fn completions(&self) -> u32 {
        let twice = self.submission_queue_entries.saturating_mul(2);
        self.completion_queue_entries.unwrap_or(twice.max(MIN_COMPLETIONS))
    }

    /// # Errors
    /// [`ErrorKind::Usage`] if an option is invalid.
    pub(crate) fn check(&self) -> Result<(), BackendError> {
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
