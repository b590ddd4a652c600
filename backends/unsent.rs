//! What is to be sent next, and how.

/// The rest of an answer, as it goes into `send(2)` or IORING_OP_SEND.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsent<'server> {
    /// Never empty while the connection is sending.
    pub(crate) bytes: &'server [u8],
    /// MSG_MORE where the end of the stream is told right behind these bytes: the kernel then
    /// keeps an incomplete segment back for it, for 200 ms at the most (tcp(7), TCP_CORK), and
    /// both leave together. What the kernel has no room for is not kept back.
    ///
    /// Whoever sets it aside and closes with bytes of the peer's unread loses the answer: the
    /// reset goes out in its place. `shutdown(2)` before the close does not.
    ///
    /// MSG_NOSIGNAL is never among them: [`crate::Worker`] insists on SIGPIPE being ignored.
    pub(crate) flags: i32,
}
