//! The operation that ends the stream.

use ringpoll_backends::ShutdownBy;
use serde::Deserialize;

/// The value of the keys `epoll.shutdown` and `io_uring.shutdown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShutdownChoice {
    /// IORING_OP_SHUTDOWN.
    Ring,
    /// shutdown(2).
    Call,
    /// The close ends it.
    Close,
}

impl From<ShutdownChoice> for ShutdownBy {
    fn from(choice: ShutdownChoice) -> Self {
        match choice {
            ShutdownChoice::Ring => Self::Ring,
            ShutdownChoice::Call => Self::Call,
            ShutdownChoice::Close => Self::Close,
        }
    }
}
