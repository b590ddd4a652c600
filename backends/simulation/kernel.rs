//! The simulated kernel: a listener's queue, connections and their descriptors, and a clock. Both
//! interfaces, [`super::calls`] and [`super::ring`], rest on the few functions here, which check
//! that the server does with them only what it may.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Arguments;
use std::os::fd::RawFd;

use super::choices::Choices;
use super::epoll::Epoll;
use super::life::answer;
use super::peer::Peer;
use super::ring::Operations;
use super::setup::Setup;
use crate::backend::Closing;
use crate::stop::Stop;

/// When the server starts.
const START_MS: u64 = 1_000_000;

/// How coarse the coarse clock is.
const GRAIN_MS: u64 = 4;

/// So many waits in a row that change nothing are a spin.
const MOST_IDLE_WAITS: u32 = 4;

/// The same of calls, for those who never get to wait.
const MOST_IDLE_CALLS: u32 = 1000;

const ACCEPT_ERRORS: &[i32] = &[
    libc::ECONNABORTED,
    libc::EMFILE,
    libc::ENFILE,
    libc::ENOBUFS,
    libc::ENOMEM,
    libc::EPERM,
    libc::EPROTO,
    libc::EINTR,
    libc::ENETDOWN,
];
const RECV_ERRORS: &[i32] =
    &[libc::EINTR, libc::ECONNRESET, libc::ETIMEDOUT, libc::ENOMEM, libc::EHOSTUNREACH];
const SEND_ERRORS: &[i32] =
    &[libc::EINTR, libc::EPIPE, libc::ECONNRESET, libc::ENOBUFS, libc::ENOMEM, libc::ETIMEDOUT];

/// What a history met; each is counted, so that a test can tell whether it met anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Met {
    /// Histories.
    pub histories: u64,
    /// Waits of the server's.
    pub waits: u64,
    /// Steps of the peers and of time.
    pub steps: u64,
    /// Connections that the server accepted.
    pub accepted: u64,
    /// Peers that have read the whole of their answer.
    pub answered: u64,
    /// Calls and operations that failed for no reason but chance.
    pub faults: u64,
    /// Connections that a deadline, or the drain, has ended.
    pub expired: u64,
    /// Events for connections that were gone.
    pub stale: u64,
    /// Stops that came in the middle.
    pub stops: u64,
}

impl Met {
    pub(super) fn fields(&mut self) -> [&mut u64; 9] {
        let Self { histories, waits, steps, accepted, answered, faults, expired, stale, stops } =
            self;
        [histories, waits, steps, accepted, answered, faults, expired, stale, stops]
    }
}

impl std::ops::AddAssign for Met {
    fn add_assign(&mut self, mut other: Self) {
        for (sum, more) in self.fields().into_iter().zip(other.fields()) {
            *sum += *more;
        }
    }
}

pub(super) struct Kernel {
    pub(super) choices: Choices,
    pub(super) setup: Setup,
    pub(super) now_ms: u64,
    /// The time of the server's turn.
    pub(super) turn_ms: u64,
    pub(super) peers: Vec<Peer>,
    pub(super) queue: VecDeque<usize>,
    pub(super) descriptors: BTreeMap<RawFd, usize>,
    /// Accepted by the kernel; the server has not said so yet.
    pub(super) unclaimed: VecDeque<usize>,
    pub(super) listener: RawFd,
    pub(super) stop: Stop,
    /// When the server was told of the stop.
    pub(super) stop_heard_ms: Option<u64>,
    pub(super) epoll: Epoll,
    pub(super) operations: Operations,
    /// Grows with everything that happens.
    pub(super) progress: u64,
    pub(super) progress_at_wait: u64,
    idle_waits: u32,
    /// How often each call was made.
    pub(super) calls: BTreeMap<&'static str, u64>,
    /// How many events or completions the server was given.
    pub(super) events: u64,
    progress_at_call: u64,
    idle_calls: u32,
    /// How many ticks have passed since something happened, once chance is over.
    pub(super) quiet_ticks: u32,
    /// The same, with nobody there and the stop heard.
    pub(super) alone_ticks: u32,
    pub(super) met: Met,
}

thread_local! {
    static KERNEL: RefCell<Option<Kernel>> = const { RefCell::new(None) };
    static TELLS: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread's histories are told on stderr as they happen.
pub fn tell_histories() {
    TELLS.set(true);
}

impl Kernel {
    pub(super) fn new(choices: Choices, setup: Setup, listener: RawFd, stop: Stop) -> Self {
        Self {
            choices,
            now_ms: START_MS,
            turn_ms: START_MS,
            peers: Vec::with_capacity(setup.peers),
            queue: VecDeque::new(),
            descriptors: BTreeMap::new(),
            unclaimed: VecDeque::new(),
            listener,
            stop,
            stop_heard_ms: None,
            epoll: Epoll::default(),
            operations: Operations::new(&setup.options),
            progress: 0,
            progress_at_wait: u64::MAX,
            idle_waits: 0,
            calls: BTreeMap::new(),
            events: 0,
            progress_at_call: 0,
            idle_calls: 0,
            quiet_ticks: 0,
            alone_ticks: 0,
            met: Met { histories: 1, ..Met::default() },
            setup,
        }
    }

    /// From now on this thread's calls come here.
    pub(super) fn install(self) {
        KERNEL.set(Some(self));
    }

    /// This thread's calls go to the real kernel again.
    pub(super) fn uninstall() -> Self {
        KERNEL.take().expect("a simulated kernel was installed")
    }

    /// The same, if one is installed.
    pub(super) fn remove() {
        KERNEL.take();
    }

    /// Whether this thread's calls come here, and what comes of one.
    pub(super) fn with<T>(call: impl FnOnce(&mut Self) -> T) -> Option<T> {
        KERNEL.with_borrow_mut(|kernel| kernel.as_mut().map(call))
    }

    /// One line of the history.
    pub(super) fn tell(&self, what: Arguments<'_>) {
        if TELLS.get() {
            eprintln!("{:>8} {what}", self.now_ms - START_MS);
        }
    }

    pub(super) fn coarse_ms(&self) -> u64 {
        self.now_ms - self.now_ms % GRAIN_MS
    }

    /// Time passes.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.progress += 1;
    }

    /// The server waits: a turn of its is over. Whoever should have been put out by now has been,
    /// and something has happened since the last few waits.
    pub(super) fn turn_ends(&mut self) {
        self.met.waits += 1;
        if std::mem::replace(&mut self.progress_at_wait, self.progress) == self.progress {
            self.idle_waits += 1;
        } else {
            self.idle_waits = 0;
        }
        assert!(self.idle_waits <= MOST_IDLE_WAITS, "it spins: its waits change nothing");
        let a_tick_ago = self.turn_ms.saturating_sub(1000);
        for (index, peer) in self.peers.iter().enumerate() {
            let life = &peer.life;
            let forgotten = life.is_there() && !life.is_closing() && life.is_overdue(a_tick_ago);
            assert!(!forgotten, "peer {index} should have been put out long ago");
        }
    }

    /// The server makes a call.
    pub(super) fn called(&mut self, name: &'static str) {
        *self.calls.entry(name).or_default() += 1;
        if std::mem::replace(&mut self.progress_at_call, self.progress) != self.progress {
            self.idle_calls = 0;
        }
        self.idle_calls += 1;
        assert!(self.idle_calls <= MOST_IDLE_CALLS, "it spins: its calls change nothing");
    }

    /// Whether this call fails for no reason but chance.
    pub(super) fn fails(&mut self, with: &[i32]) -> Option<i32> {
        if !self.choices.once_in(self.setup.fails_once_in) {
            return None;
        }
        self.met.faults += 1;
        self.progress += 1;
        Some(self.choices.of(with))
    }

    /// The peer behind a descriptor of the server's.
    pub(super) fn peer_at(&self, fd: RawFd) -> usize {
        let peer = self.descriptors.get(&fd);
        *peer.expect("a descriptor is used and not open")
    }

    pub(super) fn accept(&mut self, listener: RawFd) -> Result<RawFd, i32> {
        assert_eq!(listener, self.listener, "accepts from what is not the listener");
        if let Some(errno) = self.fails(ACCEPT_ERRORS) {
            if matches!(errno, libc::ECONNABORTED | libc::EPROTO)
                && let Some(peer) = self.queue.pop_front()
            {
                self.peers[peer].die(errno);
                self.peers[peer].excuse("it was gone before the accept");
            }
            return Err(errno);
        }
        if self.queue.is_empty() {
            return Err(libc::EAGAIN);
        }
        if self.descriptors.len() >= self.setup.descriptors {
            return Err(libc::EMFILE);
        }
        let index = self.queue.pop_front().expect("the queue is not empty");
        // A real one, of nothing in particular: its owners may ask whether it is open.
        // SAFETY: dup takes no pointers.
        let fd = unsafe { libc::dup(listener) };
        assert!(fd >= 0, "no descriptors are left");
        self.descriptors.insert(fd, index);
        self.peers[index].fd = Some(fd);
        self.peers[index].was_accepted = true;
        self.unclaimed.push_back(index);
        self.progress += 1;
        self.met.accepted += 1;
        Ok(fd)
    }

    pub(super) fn receive(&mut self, fd: RawFd, buffer: &mut [u8]) -> Result<usize, i32> {
        let index = self.peer_at(fd);
        let fault = self.fails(RECV_ERRORS);
        let peer = &mut self.peers[index];
        if let Some(errno) = fault {
            if errno != libc::EINTR {
                peer.excuse("a receive failed");
            }
            return Err(errno);
        }
        let most = peer.unread().min(buffer.len());
        if most == 0 {
            return match peer.error.take() {
                Some(errno) => Err(errno),
                None if peer.dead || peer.half_closed || peer.shut_read => Ok(0),
                None => Err(libc::EAGAIN),
            };
        }
        let count = most - self.choices.below(4).saturating_sub(1).min(most - 1);
        buffer[..count].copy_from_slice(&peer.stream[peer.delivered..][..count]);
        peer.delivered += count;
        if count < most {
            // The rest comes right behind: less than there was room for is all there was.
            self.epoll.changed(fd);
        }
        self.progress += 1;
        Ok(count)
    }

    pub(super) fn send(&mut self, fd: RawFd, bytes: &[u8]) -> Result<usize, i32> {
        let index = self.peer_at(fd);
        let fault = self.fails(SEND_ERRORS);
        let peer = &mut self.peers[index];
        assert!(!peer.shut_write, "sends after the end of its stream");
        if let Some(script) = &peer.script {
            let all = [&peer.handed_bytes[..], bytes].concat();
            let most = script.deserves(peer.delivered);
            assert!(script.answered(&all).whole <= most, "answers what has not come whole");
        } else {
            let earned = peer.life.earned.expect("sends what nobody has asked for");
            let answer = answer(&self.setup, earned);
            assert_eq!(bytes, &answer[peer.handed..], "sends what is not the rest of the answer");
        }
        if let Some(errno) = fault {
            if errno != libc::EINTR {
                peer.excuse("a send failed");
            }
            return Err(errno);
        }
        if peer.dead {
            return Err(peer.error.take().unwrap_or(libc::EPIPE));
        }
        let most = peer.room(self.setup.send_buffer_bytes).min(bytes.len());
        if most == 0 {
            return Err(libc::EAGAIN);
        }
        let count = most - self.choices.below(4).saturating_sub(1).min(most - 1);
        peer.handed += count;
        if peer.script.is_some() {
            peer.handed_bytes.extend_from_slice(&bytes[..count]);
        }
        if peer.left {
            peer.die(libc::ECONNRESET);
        }
        self.progress += 1;
        Ok(count)
    }

    pub(super) fn shutdown(&mut self, fd: RawFd, how: i32) -> Result<(), i32> {
        let index = self.peer_at(fd);
        if how == libc::SHUT_RD {
            self.hear_no_more(index);
            return Ok(());
        }
        let peer = &mut self.peers[index];
        if let Some(answered) = peer.answered(peer.handed) {
            assert!(answered.whole > 0, "shuts down before the answer");
            assert!(!answered.has_part, "shuts down in the middle of an answer");
        } else {
            let answer_length = peer.life.answer_length(&self.setup);
            assert!(answer_length > 0, "shuts down before the answer");
            assert_eq!(peer.handed, answer_length, "shuts down in the middle of the answer");
        }
        assert_eq!(how == libc::SHUT_RDWR, self.setup.closing == Closing::AtOnce);
        if peer.dead {
            return Err(libc::ENOTCONN);
        }
        peer.shut_write = true;
        peer.shut_read |= how == libc::SHUT_RDWR;
        self.progress += 1;
        Ok(())
    }

    /// Whoever has said nothing for a tick when the server stops is heard out: an end is put
    /// behind what has come, which the server may not have looked at yet.
    fn hear_no_more(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        assert!(self.stop_heard_ms.is_some(), "peer {index}: it is heard out before the stop");
        let is_silent = match &peer.script {
            None => peer.life.has_said_nothing_since(self.turn_ms - 1000),
            Some(script) => script.is_between(peer.life.received),
        };
        assert!(is_silent, "peer {index}: it is heard out in the middle");
        assert!(!peer.shut_read, "peer {index}: it is heard out twice");
        peer.shut_read = true;
        peer.is_heard_out = true;
        self.progress += 1;
    }

    /// The descriptor is free whatever the result says (close(2)).
    pub(super) fn close(&mut self, fd: RawFd) -> Result<(), i32> {
        let index = self.peer_at(fd);
        self.descriptors.remove(&fd);
        // SAFETY: `accept` has made it, and whoever owned it has given it up.
        unsafe { libc::close(fd) };
        self.progress += 1;
        let peer = &mut self.peers[index];
        peer.fd = None;
        if peer.unread() > 0 && !peer.dead {
            // The peer's kernel throws away what it has not read.
            let life = &peer.life;
            let allowed = self.setup.closing == Closing::AtOnce
                || life.has_drained_all(&self.setup)
                || life.has_expired
                || life.has_failed
                || peer.is_heard_out;
            assert!(allowed, "peer {index}: closes with bytes unread, which resets the answer");
            peer.was_reset_by_server = true;
            peer.excuse("the server closed before it had read everything");
        }
        self.fails(&[libc::EINTR, libc::EIO]).map_or(Ok(()), Err)
    }
}
