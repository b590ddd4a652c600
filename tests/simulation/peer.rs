//! One peer and its connection to the server.

use crate::descriptor::Descriptor;
use crate::model::ConnectionModel;
use crate::script::{ResponseProgress, Script};

/// State of a peer, and of the server's use of its connection.
pub(crate) struct Peer {
    /// All bytes that it will write.
    pub(crate) stream: Vec<u8>,
    /// Bytes of `stream` that it has written.
    pub(crate) written: usize,
    /// It has shut down its sending side.
    pub(crate) half_closed: bool,
    /// It has closed its socket: data sent to it causes a reset.
    pub(crate) has_left: bool,
    /// Bytes of the response that it has read.
    pub(crate) read: usize,
    /// The connection was reset; the server's next call returns `error`.
    pub(crate) is_broken: bool,
    pub(crate) error: Option<i32>,

    /// The server's descriptor, between accept and close.
    pub(crate) descriptor: Option<Descriptor>,
    pub(crate) was_accepted: bool,
    /// Bytes of `stream` that the server has received.
    pub(crate) delivered: usize,
    /// Bytes that the kernel has accepted from the server.
    pub(crate) sent: usize,
    /// With keep-alive: all bytes that the kernel has accepted from the server.
    pub(crate) sent_stream: Vec<u8>,
    pub(crate) script: Option<Script>,
    pub(crate) shut_read: bool,
    pub(crate) shut_write: bool,
    /// The server has shut down its receiving side, because the peer was idle at the stop.
    pub(crate) receive_closed: bool,
    /// The server closed with unread bytes, so its kernel reset the connection and the peer lost
    /// what it had not read.
    pub(crate) was_reset_by_server: bool,

    /// Reason why it may get no response.
    pub(crate) exemption: Option<&'static str>,
    /// Model of the connection, advanced by the lifecycle events that the server reports.
    pub(crate) model: ConnectionModel,
}

impl Peer {
    pub(crate) fn new(stream: Vec<u8>, script: Option<Script>) -> Self {
        Self {
            stream,
            written: 0,
            half_closed: false,
            has_left: false,
            read: 0,
            is_broken: false,
            error: None,
            descriptor: None,
            was_accepted: false,
            delivered: 0,
            sent: 0,
            sent_stream: Vec::new(),
            script,
            shut_read: false,
            shut_write: false,
            receive_closed: false,
            was_reset_by_server: false,
            exemption: None,
            model: ConnectionModel::default(),
        }
    }

    /// With keep-alive: parses the first `bytes` bytes from the server.
    pub(crate) fn response_progress(&self, bytes: usize) -> Option<ResponseProgress> {
        Some(self.script.as_ref()?.response_progress(&self.sent_stream[..bytes]))
    }

    /// With keep-alive: the number of responses due after `bytes` bytes of its stream.
    pub(crate) fn responses_due(&self, bytes: usize) -> usize {
        self.script.as_ref().map_or(0, |script| script.responses_due(bytes))
    }

    pub(crate) fn exempt(&mut self, why: &'static str) {
        self.exemption.get_or_insert(why);
    }

    /// Returns the number of bytes that the server has not received yet.
    pub(crate) fn unread(&self) -> usize {
        self.written - self.delivered
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.unread() > 0 || self.half_closed || self.is_broken || self.shut_read
    }

    /// Returns the number of bytes that a send can take.
    pub(crate) fn send_room(&self, send_buffer_bytes: usize) -> usize {
        send_buffer_bytes.saturating_sub(self.sent - self.read)
    }

    pub(crate) fn is_writable(&self, send_buffer_bytes: usize) -> bool {
        self.send_room(send_buffer_bytes) > 0 || self.is_broken || self.shut_write
    }

    /// Returns true if both directions are shut down, which epoll reports as EPOLLHUP.
    pub(crate) fn is_hung_up(&self) -> bool {
        self.is_broken || self.shut_write && (self.shut_read || self.half_closed)
    }

    pub(crate) fn is_connected(&self) -> bool {
        !self.has_left && !self.is_broken
    }

    pub(crate) fn can_read(&self) -> bool {
        self.is_connected() && !self.was_reset_by_server && self.read < self.sent
    }

    /// Returns true if it has read everything up to the end of the server's stream.
    pub(crate) fn sees_end(&self) -> bool {
        self.was_accepted
            && self.read == self.sent
            && (self.shut_write || self.descriptor.is_none())
    }

    /// Resets the connection: the server's next call fails with `errno`.
    pub(crate) fn break_connection(&mut self, errno: i32) {
        self.is_broken = true;
        self.error = Some(errno);
    }
}
