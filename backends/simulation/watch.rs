//! Watches what the server says of its connections, step by step, and compares it with what the
//! simulated kernel knows and with the naive account of each life.

use std::collections::BTreeMap;

use crate::backend::{Recorder, Report, RequestLog, Step};
use crate::connection::Next;
use crate::counters::Counters;
use crate::slots::ConnectionId;

use super::kernel::Kernel;

/// Both ears of it.
pub(super) struct Watch;

impl Recorder for Watch {
    fn record(&mut self, id: ConnectionId, step: Step, next: Option<Next>) {
        Kernel::with(|kernel| kernel.recorded(id, step, next)).expect("a kernel is installed");
    }
}

impl RequestLog for Watch {
    fn request(&mut self, bytes: &[u8]) -> bool {
        Kernel::with(|kernel| kernel.logged(bytes)).expect("a kernel is installed")
    }
}

impl Kernel {
    /// The wait is over, and the server looks at its clock: that is the time of its turn.
    pub(super) fn turn_begins(&mut self) -> u64 {
        self.turn_ms = self.coarse_ms();
        self.turn_ms
    }

    fn recorded(&mut self, id: ConnectionId, step: Step, next: Option<Next>) {
        let index = match step {
            Step::Accepted => self.named(id),
            _ => self.peer_named(id),
        };
        self.tell(format_args!("peer {index}, {id:?}: {step:?}, {next:?}"));
        let peer = &self.peers[index];
        let life = &peer.life;
        let is_last = step == Step::Closed;
        assert_eq!(life.is_closing(), is_last, "peer {index}: only its close can follow a close");
        match step {
            Step::Sent(count) => {
                assert_eq!(life.sent + count, peer.handed, "peer {index}: not what was sent");
            }
            Step::Failed(_) => {
                assert!(peer.excuse.is_some(), "peer {index}: it was given up for no reason");
            }
            Step::Expired => {
                let is_time =
                    self.may_be_cut_off() || life.is_overdue(self.turn_ms) || self.setup.keep_alive;
                assert!(is_time, "peer {index}: it was put out before its time");
            }
            Step::Closed => {
                assert_eq!(peer.fd, None, "peer {index}: it is not closed");
            }
            Step::Accepted | Step::Received(_) | Step::Shut => {}
        }
        self.met.expired += u64::from(step == Step::Expired);
        self.step_life(index, step, next);
    }

    fn step_life(&mut self, index: usize, step: Step, next: Option<Next>) {
        let peer = &mut self.peers[index];
        let received = &peer.stream[..peer.delivered];
        let expected = match next {
            Some(next) if self.setup.keep_alive => {
                peer.life.persistent_step(step, Some(next), self.turn_ms);
                next
            }
            _ => peer.life.step(step, received, &self.setup, self.turn_ms),
        };
        match step {
            Step::Closed => {
                peer.life.is_over = true;
                assert_eq!(next, None);
                return;
            }
            Step::Expired => {
                peer.life.has_expired = true;
                peer.excuse("its time was over");
            }
            Step::Failed(_) => peer.life.has_failed = true,
            Step::Received(0) if peer.is_heard_out => peer.excuse("it was silent at the stop"),
            _ => {}
        }
        assert_eq!(next, Some(expected), "peer {index} after {step:?}");
    }

    /// A new name: no two connections have the same slot, and no name comes twice.
    fn named(&mut self, id: ConnectionId) -> usize {
        let lives = self.peers.iter().map(|peer| &peer.life);
        let there = lives.clone().filter(|life| life.is_there());
        assert!(there.count() < self.setup.limits.connections, "more than the limit");
        for life in lives {
            assert_ne!(life.id, Some(id), "the name was given before");
            let same_slot = life.is_there() && life.id.is_some_and(|it| it.slot == id.slot);
            assert!(!same_slot, "the slot is in use");
        }
        let index = self.unclaimed.pop_front().expect("nobody was accepted");
        self.peers[index].life.id = Some(id);
        index
    }

    fn peer_named(&self, id: ConnectionId) -> usize {
        let found = self.peers.iter().position(|peer| peer.life.id == Some(id));
        let index = found.expect("a step of a connection that was never accepted");
        assert!(!self.peers[index].life.is_over, "peer {index}: a step after its last");
        index
    }

    /// A whole request is logged: some peer's who is being answered, with all that has come.
    fn logged(&mut self, bytes: &[u8]) -> bool {
        let limits = &self.setup.limits;
        let longest = limits.request_head_bytes + limits.turn_bytes;
        let found = self.peers.iter().any(|peer| {
            if peer.script.is_some() {
                let received = &peer.stream[..peer.delivered];
                return received.windows(bytes.len().max(1)).any(|some| some == bytes);
            }
            let received = &peer.stream[..peer.delivered.min(longest)];
            peer.life.earned == Some(super::life::Earned::Response) && received == bytes
        });
        assert!(found, "logs what nobody has asked for: {}", bytes.escape_ascii());
        self.choices.below(4) != 3
    }

    /// The run is over: everything has been given back, and everybody got what they deserve.
    pub(super) fn ended(&mut self, report: &Report) {
        assert!(self.stop.is_requested(), "it ended, and nobody has told it to");
        let open: Vec<_> = self.descriptors.values().collect();
        assert!(open.is_empty(), "descriptors left open: those of the peers {open:?}");
        assert_eq!(self.operations.left(), 0, "operations left in flight");
        for index in 0..self.peers.len() {
            self.got_what_it_deserves(index);
        }
        self.counters_agree(&report.counters);
    }

    fn got_what_it_deserves(&mut self, index: usize) {
        let deserved = self.deserved(index).unwrap_or(0);
        let peer = &mut self.peers[index];
        let life = &peer.life;
        assert_eq!(life.id.is_some(), life.is_over, "peer {index}: it was never closed");
        let whole = |bytes: usize| peer.answered(bytes).map_or(bytes, |it| it.whole);
        let (read, handed) = (whole(peer.read), whole(peer.handed));
        let has_ended = peer.answered(peer.handed).is_some_and(|it| it.has_ended);
        self.met.answered += u64::from(deserved > 0 && read == deserved);
        if peer.excuse.is_some() || !peer.was_accepted && self.stop_heard_ms.is_some() {
            // Whoever waits when everybody is cut off goes with them.
            let may_wait = self.may_be_cut_off() || self.peers[index].excuse.is_some();
            assert!(may_wait, "peer {index}: it was left waiting at the stop");
            return;
        }
        assert!(peer.was_accepted, "peer {index}: it was never accepted");
        let got_all = handed == deserved || has_ended && handed > 0;
        assert!(got_all, "peer {index}: {handed} and not {deserved}: it did not get its answer");
        let silent = deserved == 0 && !peer.half_closed && !peer.shut_read;
        assert!(!silent, "peer {index}: it was closed for no reason");
    }

    fn may_be_cut_off(&self) -> bool {
        let heard = self.stop_heard_ms.unwrap_or(u64::MAX);
        let drained_ms = self.turn_ms.saturating_sub(heard);
        u128::from(drained_ms) >= self.setup.drain_timeout.as_millis()
    }

    fn counters_agree(&self, counters: &Counters) {
        let sum = |of: fn(&super::peer::Peer) -> u64| self.peers.iter().map(of).sum::<u64>();
        assert_eq!(counters.accepted, self.met.accepted);
        assert_eq!(counters.closed, self.met.accepted);
        assert_eq!(counters.received_bytes, sum(|peer| peer.delivered as u64));
        assert_eq!(counters.sent_bytes, sum(|peer| peer.handed as u64));
        assert_eq!(counters.not_given_back, 0);
        self.calls_agree(counters);
        if self.setup.keep_alive {
            let answers = sum(|peer| peer.answered(peer.life.sent).map_or(0, |it| it.whole as u64));
            assert_eq!(counters.answered, answers);
            assert!(answers <= counters.requests + counters.heads_too_large);
            return;
        }
        assert_eq!(counters.answered, sum(|peer| peer.life.was_answered.into()));
        assert_eq!(counters.connection_errors, sum(|peer| peer.life.has_failed.into()));
        let earned = sum(|peer| peer.life.earned.is_some().into());
        assert_eq!(counters.requests + counters.heads_too_large, earned);
        let expired = counters.expired_receiving
            + counters.expired_sending
            + counters.expired_lingering
            + counters.expired_life;
        let unheard = sum(|peer| peer.life.ended_early.into());
        let ended = expired + counters.cut_off + counters.ended_early;
        assert_eq!(ended, self.met.expired + unheard);
        assert!(counters.drained <= counters.closed);
    }

    /// Each call that was counted was made, and each that was made was counted.
    fn calls_agree(&self, counters: &Counters) {
        // The instance itself is a real one.
        let simulated = |&(name, _): &(&str, u64)| name != "epoll_create1";
        let counted: BTreeMap<_, _> = counters.system_calls.iter().filter(simulated).collect();
        assert_eq!(counted, self.calls);
        if let Some(&waits) = self.calls.get("epoll_wait") {
            assert_eq!((counters.waits, counters.events), (waits, self.events));
            assert_eq!(counters.stale_events, self.met.stale);
        }
    }
}
