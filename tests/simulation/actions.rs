//! Actions outside the server while it waits: peers connect, write, read, half-close and
//! disconnect, time passes, and the stop is requested. They are random until the bytes of the
//! history are exhausted. Then every peer finishes, the stop is requested, and the server must end.

use crate::model::{expected_response, response_bytes};
use crate::peer::Peer;
use crate::script::Script;
use crate::setup::Service;
use crate::state::State;

/// Ticks without any action after which nothing more can happen: longer than every deadline and
/// every drain timeout.
const MAX_IDLE_TICKS: u32 = 20;

/// Bytes after which a peer of chargen has enough.
const CHARGEN_BYTES: usize = 200;

/// Ticks in which the peers do nothing after an early stop.
const EARLY_TICKS: u32 = 3;

impl State {
    /// Performs up to five random actions.
    pub(crate) fn act_at_random(&mut self) {
        for _ in 0..self.choices.below(6) {
            if !self.choices.are_exhausted() {
                self.random_action();
            }
        }
    }

    /// Waits because nothing is ready: performs one action, or advances the clock by `wait_ms`.
    /// Returns true if the wait has timed out.
    pub(crate) fn wait_for_event(&mut self, wait_ms: u64) -> bool {
        if !self.choices.are_exhausted() {
            self.random_action();
            return false;
        }
        if self.setup.stops_early && self.early_ticks < EARLY_TICKS {
            self.stop.request();
            self.early_ticks += 1;
            self.advance_clock(wait_ms);
            return true;
        }
        if self.finish_one_peer() {
            self.idle_ticks = 0;
            return false;
        }
        self.idle_ticks += 1;
        if self.idle_ticks > MAX_IDLE_TICKS {
            assert!(!self.stop.is_requested(), "the run does not end after the stop");
            self.check_all_served();
            self.idle_ticks = 0;
            self.stop.request();
            return false;
        }
        self.empty_ticks = if self.is_empty_after_stop() { self.empty_ticks + 1 } else { 0 };
        assert!(
            self.empty_ticks <= 2,
            "all connections are closed after the stop, and the run does not end"
        );
        self.advance_clock(wait_ms);
        true
    }

    /// Returns true if the server has seen the stop and no connection is open or queued.
    fn is_empty_after_stop(&self) -> bool {
        self.stop_seen_ms.is_some()
            && self.accept_queue.is_empty()
            && !self.peers.iter().any(|peer| peer.model.is_open())
    }

    fn random_action(&mut self) {
        self.coverage.actions += 1;
        self.progress += 1;
        match self.choices.below(16) {
            0..=3 => self.connect(),
            4..=7 => self.with_random_peer(Self::write),
            8..=9 => self.with_random_peer(Self::read),
            10 if self.choices.once_in(4) => {
                self.with_random_peer(|state, index, _| state.half_close(index));
            }
            11 if self.choices.once_in(4) => {
                self.with_random_peer(|state, index, _| state.leave(index));
            }
            12 if self.choices.once_in(4) => {
                self.with_random_peer(|state, index, _| state.reset(index));
            }
            13 if self.choices.once_in(8) => {
                self.trace(format_args!("the stop is requested"));
                self.coverage.stops += u64::from(!self.stop.is_requested());
                self.stop.request();
            }
            14 => self.advance_clock_at_random(),
            _ => self.with_random_peer(|state, index, _| state.write(index, usize::MAX)),
        }
    }

    fn advance_clock_at_random(&mut self) {
        // A force-closed connection has a few ticks to end: the clock stops until then.
        let drain_timeout_ms = self.setup.drain_timeout.as_millis() as u64;
        if self.stop_seen_ms.is_some_and(|since| self.now_ms >= since + drain_timeout_ms) {
            return;
        }
        let ms = self.choices.pick(&[1, 5, 10, 100, 100, 500, 999, 1000, 1500, 5000]);
        // No kernel delays a possible completion for this long.
        self.run_sq_thread(true);
        self.complete_all();
        self.advance_clock(ms);
    }

    fn connect(&mut self) {
        // The server accepts queued connections after the stop, but no new ones.
        if self.peers.len() >= self.setup.peers || self.stop_seen_ms.is_some() {
            return;
        }
        let (stream, script) = if self.setup.service == Service::Http11 {
            let (stream, script) = Script::choose(&mut self.choices, &self.setup);
            (stream, Some(script))
        } else {
            (self.stream(), None)
        };
        self.trace(format_args!("peer {} connects: {}", self.peers.len(), stream.escape_ascii()));
        self.accept_queue.push_back(self.peers.len());
        self.peers.push(Peer::new(stream, script));
        self.epoll.mark_changed(self.listener);
    }

    fn stream(&mut self) -> Vec<u8> {
        let limit = self.setup.request_head_bytes;
        match self.choices.below(10) {
            0..=2 => b"GET / HTTP/1.0\r\n\r\n".to_vec(),
            3 => b"\n\n".to_vec(),
            4 => b"GET /\n\nGET /\n\nand more that is not read".to_vec(),
            5 => b"never ends\r\n".to_vec(),
            6 => vec![b'x'; limit + self.choices.below(20)],
            7 => [&vec![b'x'; limit - 2][..], b"\n\n"].concat(),
            8 => Vec::new(),
            _ => (0..self.choices.below(40)).map(|_| self.choices.pick(b"x\r\n")).collect(),
        }
    }

    fn with_random_peer(&mut self, act: impl FnOnce(&mut Self, usize, usize)) {
        let there: Vec<_> =
            (0..self.peers.len()).filter(|&index| self.peers[index].is_connected()).collect();
        if !there.is_empty() {
            let index = self.choices.pick(&there);
            self.trace(format_args!("peer {index} acts"));
            let count = self.choices.pick(&[usize::MAX, 1, 2, 5, 20]);
            act(self, index, count);
        }
    }

    fn mark_changed(&mut self, index: usize) {
        if let Some(fd) = self.peers[index].descriptor {
            self.epoll.mark_changed(fd);
        }
    }

    fn write(&mut self, index: usize, max: usize) {
        let peer = &mut self.peers[index];
        if peer.half_closed {
            return;
        }
        let count = max.min(peer.stream.len() - peer.written);
        if count > 0 && peer.was_accepted && peer.descriptor.is_none() {
            // The server has closed: its kernel sends a reset.
            peer.was_reset_by_server = true;
            peer.exempt("it wrote after the server had closed");
        }
        peer.written += count;
        self.mark_changed(index);
    }

    fn read(&mut self, index: usize, max: usize) {
        let peer = &mut self.peers[index];
        if !peer.can_read() {
            return;
        }
        let was_full = peer.send_room(self.setup.send_buffer_bytes) == 0;
        peer.read += max.min(peer.sent - peer.read);
        if was_full {
            self.mark_changed(index);
        }
    }

    fn half_close(&mut self, index: usize) {
        self.peers[index].half_closed = true;
        self.mark_changed(index);
    }

    fn leave(&mut self, index: usize) {
        let is_content = self.is_satisfied(index);
        let peer = &mut self.peers[index];
        peer.has_left = true;
        peer.half_closed = true;
        if !is_content || self.setup.service == Service::Chargen {
            peer.exempt("it left");
        }
        if peer.read < peer.sent {
            // Unread bytes make its kernel reset the connection.
            peer.break_connection(libc::ECONNRESET);
        }
        self.mark_changed(index);
    }

    fn reset(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        peer.has_left = true;
        peer.half_closed = true;
        peer.exempt("it reset the connection");
        peer.break_connection(libc::ECONNRESET);
        self.mark_changed(index);
    }

    /// Lets one peer do what it has left to do. Returns false if no peer has anything left.
    fn finish_one_peer(&mut self) -> bool {
        for index in 0..self.peers.len() {
            let peer = &self.peers[index];
            if !peer.is_connected() {
                continue;
            }
            let has_more = peer.written < peer.stream.len() && !peer.half_closed;
            if has_more && !(peer.was_accepted && peer.descriptor.is_none()) {
                self.write(index, usize::MAX);
            } else if peer.can_read() && !self.has_enough_of_chargen(index) {
                self.read(index, usize::MAX);
            } else if self.is_satisfied(index) || self.would_never_close(index) {
                self.leave(index);
            } else {
                continue;
            }
            self.progress += 1;
            return true;
        }
        false
    }

    /// Returns the bytes (with keep-alive: the responses) due to a peer for all that it has
    /// written.
    pub(crate) fn expected_total(&self, index: usize) -> Option<usize> {
        let peer = &self.peers[index];
        if peer.script.is_some() {
            return Some(peer.responses_due(peer.written)).filter(|&responses| responses > 0);
        }
        match self.setup.service {
            Service::Echo => return Some(peer.written).filter(|&bytes| bytes > 0),
            Service::Discard | Service::Chargen => return None,
            Service::Http10 | Service::Http11 => {}
        }
        let earned =
            expected_response(&peer.stream[..peer.written], self.setup.request_head_bytes)?;
        Some(response_bytes(&self.setup, earned).len())
    }

    /// Returns true if it has all that it can get.
    fn is_satisfied(&self, index: usize) -> bool {
        let peer = &self.peers[index];
        let read = peer.response_progress(peer.read).map_or(peer.read, |it| it.complete);
        peer.sees_end()
            || self.has_enough_of_chargen(index)
            || self.expected_total(index).is_some_and(|expected| read == expected)
    }

    fn has_enough_of_chargen(&self, index: usize) -> bool {
        self.setup.service == Service::Chargen && self.peers[index].read >= CHARGEN_BYTES
    }

    fn would_never_close(&self, index: usize) -> bool {
        let peer = &self.peers[index];
        peer.was_accepted && self.expected_total(index).is_none() && !self.setup.closes_idle_peers()
    }

    /// Checks, before the final stop, that no peer is waiting for the server.
    fn check_all_served(&self) {
        assert!(self.accept_queue.is_empty(), "a connection stays in the accept queue");
        for (index, peer) in self.peers.iter().enumerate() {
            assert!(
                peer.descriptor.is_none(),
                "peer {index}: its connection stays open, next {:?}",
                peer.model.last_next
            );
        }
    }
}
