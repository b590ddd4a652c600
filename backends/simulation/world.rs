//! What happens outside of the server while it waits: peers come, speak, listen, fall silent and
//! go, time passes, and the stop is requested; in any order, as long as there is chance. When
//! chance is over everybody does what is left to do and waits, the stop is requested, and the
//! server must come to its end.

use super::kernel::Kernel;
use super::life::earned;
use super::peer::Peer;
use super::script::Script;

/// So many ticks in which nothing happens, and nothing will: longer than every deadline, and than
/// the longest drain.
const TICKS_TO_BE_QUIET: u32 = 20;

impl Kernel {
    /// A few things happen, if chance wants it.
    pub(super) fn happen(&mut self) {
        for _ in 0..self.choices.below(6) {
            if !self.choices.are_over() {
                self.step();
            }
        }
    }

    /// Nothing is ready, and the server waits: either something happens, or the time passes until
    /// its wait is over. Returns whether the time is over.
    pub(super) fn nothing_is_ready(&mut self, wait_ms: u64) -> bool {
        if !self.choices.are_over() {
            self.step();
            return false;
        }
        if self.finish() {
            self.quiet_ticks = 0;
            return false;
        }
        self.quiet_ticks += 1;
        if self.quiet_ticks > TICKS_TO_BE_QUIET {
            assert!(!self.stop.is_requested(), "it was stopped and does not end");
            self.everybody_is_served();
            self.quiet_ticks = 0;
            self.stop.request();
            return false;
        }
        self.alone_ticks = if self.is_alone() { self.alone_ticks + 1 } else { 0 };
        assert!(self.alone_ticks <= 2, "nobody is left after the stop, and it does not end");
        self.pass(wait_ms);
        true
    }

    /// Whether the stop was heard, and nobody is there or comes any more.
    fn is_alone(&self) -> bool {
        self.stop_heard_ms.is_some()
            && self.queue.is_empty()
            && !self.peers.iter().any(|peer| peer.life.is_there())
    }

    fn step(&mut self) {
        self.met.steps += 1;
        self.progress += 1;
        match self.choices.below(16) {
            0..=3 => self.connect(),
            4..=7 => self.with_peer(Self::write),
            8..=9 => self.with_peer(Self::read),
            10 if self.choices.once_in(4) => {
                self.with_peer(|kernel, index, _| kernel.half_close(index))
            }
            11 if self.choices.once_in(4) => self.with_peer(|kernel, index, _| kernel.leave(index)),
            12 if self.choices.once_in(4) => self.with_peer(|kernel, index, _| kernel.reset(index)),
            13 if self.choices.once_in(8) => {
                self.tell(format_args!("the stop is requested"));
                self.met.stops += u64::from(!self.stop.is_requested());
                self.stop.request();
            }
            14 => self.time_passes(),
            _ => self.with_peer(|kernel, index, _| kernel.write(index, usize::MAX)),
        }
    }

    fn time_passes(&mut self) {
        // Who is cut off has some ticks to come to an end; the server is not held up then.
        let cut_off_ms = self.setup.drain_timeout.as_millis() as u64;
        if self.stop_heard_ms.is_some_and(|since| self.now_ms >= since + cut_off_ms) {
            return;
        }
        let ms = self.choices.of(&[1, 5, 10, 100, 100, 500, 999, 1000, 1500, 5000]);
        // No kernel takes so long over what it can do.
        self.finish_operations();
        self.pass(ms);
    }

    fn connect(&mut self) {
        // Newcomers are refused once the stop was heard; those who wait are not.
        if self.peers.len() >= self.setup.peers || self.stop_heard_ms.is_some() {
            return;
        }
        let (stream, script) = if self.setup.keep_alive {
            let (stream, script) = Script::choose(&mut self.choices, &self.setup);
            (stream, Some(script))
        } else {
            (self.stream(), None)
        };
        self.tell(format_args!("peer {} comes: {}", self.peers.len(), stream.escape_ascii()));
        self.queue.push_back(self.peers.len());
        self.peers.push(Peer::new(stream, script));
        self.epoll.changed(self.listener);
    }

    /// What a peer will say.
    fn stream(&mut self) -> Vec<u8> {
        let limit = self.setup.limits.request_head_bytes;
        match self.choices.below(10) {
            0..=2 => b"GET / HTTP/1.0\r\n\r\n".to_vec(),
            3 => b"\n\n".to_vec(),
            4 => b"GET /\n\nGET /\n\nand more that nobody reads".to_vec(),
            5 => b"never ends\r\n".to_vec(),
            6 => vec![b'x'; limit + self.choices.below(20)],
            7 => [&vec![b'x'; limit - 2][..], b"\n\n"].concat(),
            8 => Vec::new(),
            _ => (0..self.choices.below(40)).map(|_| self.choices.of(b"x\r\n")).collect(),
        }
    }

    fn with_peer(&mut self, act: impl FnOnce(&mut Self, usize, usize)) {
        let there: Vec<_> =
            (0..self.peers.len()).filter(|&index| self.peers[index].is_there()).collect();
        if !there.is_empty() {
            let index = self.choices.of(&there);
            self.tell(format_args!("peer {index} acts"));
            let count = self.choices.of(&[usize::MAX, 1, 2, 5, 20]);
            act(self, index, count);
        }
    }

    fn changed(&mut self, index: usize) {
        if let Some(fd) = self.peers[index].fd {
            self.epoll.changed(fd);
        }
    }

    fn write(&mut self, index: usize, most: usize) {
        let peer = &mut self.peers[index];
        if peer.half_closed {
            return;
        }
        let count = most.min(peer.stream.len() - peer.written);
        if count > 0 && peer.was_accepted && peer.fd.is_none() {
            // The server is gone: its kernel answers with a reset.
            peer.was_reset_by_server = true;
            peer.excuse("it wrote after the server's end");
        }
        peer.written += count;
        self.changed(index);
    }

    fn read(&mut self, index: usize, most: usize) {
        let peer = &mut self.peers[index];
        if !peer.can_read() {
            return;
        }
        let was_full = peer.room(self.setup.send_buffer_bytes) == 0;
        peer.read += most.min(peer.handed - peer.read);
        if was_full {
            self.changed(index);
        }
    }

    fn half_close(&mut self, index: usize) {
        self.peers[index].half_closed = true;
        self.changed(index);
    }

    fn leave(&mut self, index: usize) {
        let is_content = self.is_content(index);
        let peer = &mut self.peers[index];
        peer.left = true;
        peer.half_closed = true;
        if !is_content {
            peer.excuse("it left");
        }
        if peer.read < peer.handed {
            // Its kernel has bytes that it will not read.
            peer.die(libc::ECONNRESET);
        }
        self.changed(index);
    }

    fn reset(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        peer.left = true;
        peer.half_closed = true;
        peer.excuse("it reset the connection");
        peer.die(libc::ECONNRESET);
        self.changed(index);
    }

    /// Somebody does what is left to do; false if nothing is.
    fn finish(&mut self) -> bool {
        for index in 0..self.peers.len() {
            let peer = &self.peers[index];
            if !peer.is_there() {
                continue;
            }
            let has_more = peer.written < peer.stream.len() && !peer.half_closed;
            if has_more && !(peer.was_accepted && peer.fd.is_none()) {
                self.write(index, usize::MAX);
            } else if peer.can_read() {
                self.read(index, usize::MAX);
            } else if self.is_content(index) || self.would_stay_for_ever(index) {
                self.leave(index);
            } else {
                continue;
            }
            self.progress += 1;
            return true;
        }
        false
    }

    /// What a peer will have earned if the server gets all that it has said.
    pub(super) fn deserved(&self, index: usize) -> Option<usize> {
        let peer = &self.peers[index];
        if peer.script.is_some() {
            // In answers, not in bytes: the last may be told apart by what it says.
            return Some(peer.deserves(peer.written)).filter(|&answers| answers > 0);
        }
        let earned = earned(&peer.stream[..peer.written], self.setup.limits.request_head_bytes)?;
        Some(super::life::answer(&self.setup, earned).len())
    }

    /// Whether it has all that it can get.
    fn is_content(&self, index: usize) -> bool {
        let peer = &self.peers[index];
        let read = peer.answered(peer.read).map_or(peer.read, |answered| answered.whole);
        peer.sees_end() || self.deserved(index).is_some_and(|deserved| read == deserved)
    }

    fn would_stay_for_ever(&self, index: usize) -> bool {
        let peer = &self.peers[index];
        peer.was_accepted && self.deserved(index).is_none() && !self.setup.puts_out_the_silent()
    }

    /// Nothing happens any more, and the server was not told to stop by chance: nobody may be
    /// waiting for it.
    fn everybody_is_served(&self) {
        assert!(self.queue.is_empty(), "somebody waits to be accepted for ever");
        for (index, peer) in self.peers.iter().enumerate() {
            assert!(
                peer.fd.is_none(),
                "peer {index}: {:?} holds its connection for ever",
                peer.life.told
            );
        }
    }
}
