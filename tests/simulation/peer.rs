//! One peer and its connection to the server.

use std::os::fd::RawFd;

use crate::model::{ConnectionModel, response_bytes};
use crate::script::{ResponseProgress, Script};
use crate::setup::{Service, Setup};

/// Returns the byte of RFC 864's pattern at this position: lines of 72 of the 95 printable
/// characters, each starting one character later.
fn chargen_byte(position: usize) -> u8 {
    match (position / 74, position % 74) {
        (_, 72) => b'\r',
        (_, 73) => b'\n',
        (line, column) => b' ' + ((line + column) % 95) as u8,
    }
}

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
    pub(crate) descriptor: Option<RawFd>,
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

    /// Checks bytes that the server sends.
    pub(crate) fn check_output(&self, bytes: &[u8], setup: &Setup) {
        match setup.service {
            Service::Http10 => {
                let expected = self.model.expected_response.expect("sends without a request");
                let response = response_bytes(setup, expected);
                assert_eq!(bytes, &response[self.sent..], "sends other bytes than the response");
            }
            Service::Http11 => {
                let script = self.script.as_ref().expect("it has a script");
                let all = [&self.sent_stream[..], bytes].concat();
                let is_due =
                    script.response_progress(&all).complete <= script.responses_due(self.delivered);
                assert!(is_due, "responds to an incomplete request");
            }
            Service::Echo => {
                let received = &self.stream[..self.delivered];
                assert!(received[self.sent..].starts_with(bytes), "sends other bytes back");
            }
            Service::Discard => panic!("sends {bytes:?}"),
            Service::Chargen => {
                let expected = (self.sent..).map(chargen_byte);
                // The kernel takes no more of them at a time.
                let bytes = &bytes[..bytes.len().min(5000)];
                assert!(bytes.iter().copied().zip(expected).all(|(got, due)| got == due));
            }
        }
    }

    /// Checks that the server may shut down its send side.
    pub(crate) fn check_end_of_output(&self, setup: &Setup) {
        match setup.service {
            Service::Http10 => {
                let response_length = self.model.response_length(setup);
                assert!(response_length > 0, "shuts down before the response");
                assert_eq!(self.sent, response_length, "shuts down within the response");
            }
            Service::Http11 => {
                let progress = self.response_progress(self.sent).expect("it has a script");
                assert!(progress.complete > 0, "shuts down before the response");
                assert!(!progress.has_partial, "shuts down within a response");
            }
            Service::Echo => {
                assert!(self.half_closed || self.shut_read, "shuts down before the peer");
                assert_eq!(self.sent, self.delivered, "shuts down before the end of the echo");
            }
            Service::Discard => panic!("shuts down without output"),
            Service::Chargen => assert_eq!(self.sent % 74, 0, "shuts down within a line"),
        }
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
