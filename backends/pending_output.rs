//! The bytes to send next.

/// The rest of a response, as arguments of send(2) or IORING_OP_SEND.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingOutput<'server> {
    /// Never empty while the connection is sending.
    pub(crate) bytes: &'server [u8],
    /// MSG_MORE if the end of the stream follows these bytes: the kernel holds a partial segment
    /// back, for at most 200 ms (tcp(7), TCP_CORK), and sends it together with the FIN.
    ///
    /// A close(2) with unread bytes of the peer sends a reset instead, and loses the held-back
    /// response; a shutdown(2) before the close does not.
    ///
    /// MSG_NOSIGNAL is not needed: [`crate::Worker`] requires SIGPIPE to be ignored.
    pub(crate) flags: i32,
}
