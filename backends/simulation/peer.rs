//! One peer, the connection between it and the server, and what has become of both.

use std::os::fd::RawFd;

use super::life::Life;
use super::script::{Answered, Script};

/// What the server is given of a connection, and what it has done with it.
pub(super) struct Peer {
    /// All that it will ever say.
    pub(super) stream: Vec<u8>,
    /// How much of it has been said, and lies in the server's receive buffer or beyond.
    pub(super) written: usize,
    /// It says nothing more, and the server's kernel knows.
    pub(super) half_closed: bool,
    /// It listens no more either: bytes sent to it bring a reset.
    pub(super) left: bool,
    /// How much of the answer it has read.
    pub(super) read: usize,
    /// The connection is no more, and the server's next call says why.
    pub(super) dead: bool,
    pub(super) error: Option<i32>,

    /// The server's descriptor, from the accept to the close.
    pub(super) fd: Option<RawFd>,
    pub(super) was_accepted: bool,
    /// How much of the stream the server has received.
    pub(super) delivered: usize,
    /// How much of the answer the server has handed over.
    pub(super) handed: usize,
    /// Where connections persist: what was handed over, and what had to be.
    pub(super) handed_bytes: Vec<u8>,
    pub(super) script: Option<Script>,
    pub(super) shut_read: bool,
    pub(super) shut_write: bool,
    /// The stop has put an end behind its silence.
    pub(super) is_heard_out: bool,
    /// The server closed while bytes were unread, so what the peer had not read is lost.
    pub(super) was_reset_by_server: bool,

    /// Why it may go without its answer.
    pub(super) excuse: Option<&'static str>,
    /// What the server has said of it.
    pub(super) life: Life,
}

impl Peer {
    pub(super) fn new(stream: Vec<u8>, script: Option<Script>) -> Self {
        Self {
            stream,
            written: 0,
            half_closed: false,
            left: false,
            read: 0,
            dead: false,
            error: None,
            fd: None,
            was_accepted: false,
            delivered: 0,
            handed: 0,
            handed_bytes: Vec::new(),
            script,
            shut_read: false,
            shut_write: false,
            is_heard_out: false,
            was_reset_by_server: false,
            excuse: None,
            life: Life::default(),
        }
    }

    /// Where connections persist: how far it has been answered, by so many bytes.
    pub(super) fn answered(&self, bytes: usize) -> Option<Answered> {
        Some(self.script.as_ref()?.answered(&self.handed_bytes[..bytes]))
    }

    /// Where connections persist: how many answers so much of its stream deserves.
    pub(super) fn deserves(&self, bytes: usize) -> usize {
        self.script.as_ref().map_or(0, |script| script.deserves(bytes))
    }

    pub(super) fn excuse(&mut self, why: &'static str) {
        self.excuse.get_or_insert(why);
    }

    /// Bytes that have come and that the server has not received.
    pub(super) fn unread(&self) -> usize {
        self.written - self.delivered
    }

    /// Whether a receive would not wait.
    pub(super) fn is_readable(&self) -> bool {
        self.unread() > 0 || self.half_closed || self.dead || self.shut_read
    }

    /// How much a send would take.
    pub(super) fn room(&self, send_buffer_bytes: usize) -> usize {
        send_buffer_bytes.saturating_sub(self.handed - self.read)
    }

    /// Whether a send would not wait.
    pub(super) fn is_writable(&self, send_buffer_bytes: usize) -> bool {
        self.room(send_buffer_bytes) > 0 || self.dead || self.shut_write
    }

    /// Neither direction is left, which epoll calls HUP.
    pub(super) fn is_hung_up(&self) -> bool {
        self.dead || self.shut_write && (self.shut_read || self.half_closed)
    }

    /// Whether it can still do anything.
    pub(super) fn is_there(&self) -> bool {
        !self.left && !self.dead
    }

    /// Whether there is something for it to read.
    pub(super) fn can_read(&self) -> bool {
        self.is_there() && !self.was_reset_by_server && self.read < self.handed
    }

    /// Whether it has seen the end of the server's stream.
    pub(super) fn sees_end(&self) -> bool {
        self.was_accepted && self.read == self.handed && (self.shut_write || self.fd.is_none())
    }

    /// The connection ends in the middle.
    pub(super) fn die(&mut self, errno: i32) {
        self.dead = true;
        self.error = Some(errno);
    }
}
