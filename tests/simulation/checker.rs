//! Checks each lifecycle event that the server reports against the simulated kernel and the
//! reference model of the connection, and the final state at the end.

use std::collections::BTreeMap;

use ringpoll_backends::{
    ConnectionId, Counters, LifecycleEvent, Next, Recorder, Report, RequestLog,
};

use crate::model::ExpectedResponse;
use crate::peer::Peer;
use crate::setup::Service;
use crate::state::{State, inode};

pub(crate) struct Checker;

impl Recorder for Checker {
    fn record(&mut self, id: ConnectionId, event: LifecycleEvent, next: Option<Next>) {
        State::with(|state| state.check_event(id, event, next));
    }
}

impl RequestLog for Checker {
    fn request(&mut self, bytes: &[u8]) -> bool {
        State::with(|state| state.check_logged(bytes))
    }
}

impl State {
    fn check_event(&mut self, id: ConnectionId, event: LifecycleEvent, next: Option<Next>) {
        let index = match event {
            LifecycleEvent::Accepted => self.claim(id),
            _ => self.peer_with_id(id),
        };
        self.trace(format_args!("peer {index}, {id:?}: {event:?}, {next:?}"));
        let peer = &self.peers[index];
        let model = &peer.model;
        let is_last = event == LifecycleEvent::Closed;
        assert_eq!(model.is_closing(), is_last, "peer {index}: only Closed can follow Next::Close");
        match event {
            LifecycleEvent::Sent(count) => {
                assert_eq!(
                    model.sent + count,
                    peer.sent,
                    "peer {index}: reports other bytes than it sent"
                );
            }
            LifecycleEvent::Failed(_) => {
                assert!(peer.exemption.is_some(), "peer {index}: failed without an error");
            }
            LifecycleEvent::Expired => {
                let is_time = self.may_force_close()
                    || model.is_overdue(self.iteration_ms)
                    || self.setup.service != Service::Http10;
                assert!(is_time, "peer {index}: expired before its deadline");
            }
            LifecycleEvent::Closed => {
                assert_eq!(peer.descriptor, None, "peer {index}: its descriptor is open");
            }
            _ => {}
        }
        self.coverage.expired += u64::from(event == LifecycleEvent::Expired);
        self.advance_model(index, event, next);
    }

    fn advance_model(&mut self, index: usize, event: LifecycleEvent, next: Option<Next>) {
        let peer = &mut self.peers[index];
        let received = &peer.stream[..peer.delivered];
        let expected = match next {
            Some(next) if self.setup.service != Service::Http10 => {
                peer.model.unmodelled_event(event, Some(next), self.iteration_ms);
                next
            }
            _ => peer.model.on_event(event, received, &self.setup, self.iteration_ms),
        };
        match event {
            LifecycleEvent::Closed => {
                peer.model.is_closed = true;
                assert_eq!(next, None);
                return;
            }
            LifecycleEvent::Expired => {
                peer.model.has_expired = true;
                peer.exempt("its deadline expired");
            }
            LifecycleEvent::Failed(_) => peer.model.has_failed = true,
            LifecycleEvent::Received(0) if peer.receive_closed => {
                peer.exempt("it was idle at the stop");
            }
            _ => {}
        }
        assert_eq!(next, Some(expected), "peer {index} after {event:?}");
    }

    /// Assigns a new ID to a peer. No two connections share a slot, and no ID is used twice.
    fn claim(&mut self, id: ConnectionId) -> usize {
        let models = self.peers.iter().map(|peer| &peer.model);
        let open = models.clone().filter(|model| model.is_open());
        assert!(open.count() < self.setup.limits.connections, "more connections than the limit");
        for model in models {
            assert_ne!(model.id, Some(id), "the ID was used before");
            let same_slot = model.is_open() && model.id.is_some_and(|it| it.slot == id.slot);
            assert!(!same_slot, "the slot is in use");
        }
        let index = self.unreported.pop_front().expect("no accepted connection is unreported");
        self.peers[index].model.id = Some(id);
        index
    }

    fn peer_with_id(&self, id: ConnectionId) -> usize {
        let found = self.peers.iter().position(|peer| peer.model.id == Some(id));
        let index = found.expect("an event of a connection that was never accepted");
        assert!(!self.peers[index].model.is_closed, "peer {index}: an event after Closed");
        index
    }

    /// Checks a log entry: it is a request of a peer that gets a response.
    fn check_logged(&mut self, bytes: &[u8]) -> bool {
        let limits = &self.setup.limits;
        let longest = limits.message_bytes + limits.read_budget_bytes;
        let found = self.peers.iter().any(|peer| {
            if self.setup.service != Service::Http10 {
                let received = &peer.stream[..peer.delivered];
                return received.windows(bytes.len().max(1)).any(|some| some == bytes);
            }
            let received = &peer.stream[..peer.delivered.min(longest)];
            peer.model.expected_response == Some(ExpectedResponse::Response) && received == bytes
        });
        assert!(found, "logs bytes that are no request: {}", bytes.escape_ascii());
        self.choices.below(4) != 3
    }

    /// Checks the end of the run: all resources are released, and every peer has its response.
    pub(crate) fn check_end(&mut self, report: &Report) {
        assert!(self.stop.is_requested(), "the run ended without a stop");
        self.check_unreported();
        let open: Vec<_> = self.descriptors.values().collect();
        assert!(open.is_empty(), "descriptors of these peers are open: {open:?}");
        assert_eq!(self.ring.outstanding(), 0, "operations are in flight");
        for index in 0..self.peers.len() {
            self.check_peer(index);
        }
        self.check_counters(&report.counters);
    }

    /// Checks connections that the kernel had accepted and the server has not reported: at the end
    /// of a stop that force-closes, it closes them without a system call of the engine.
    fn check_unreported(&mut self) {
        for index in std::mem::take(&mut self.unreported) {
            assert!(self.may_force_close(), "peer {index}: accepted and not reported");
            let peer = &mut self.peers[index];
            peer.exempt("the server ended when it was accepted");
            if let Some(fd) = peer.descriptor {
                assert_ne!(inode(fd), Some(self.listener_inode), "peer {index}: not closed");
                self.descriptors.remove(&fd);
            }
            self.coverage.accepted -= 1;
        }
    }

    fn check_peer(&mut self, index: usize) {
        let expected = self.expected_total(index).unwrap_or(0);
        let peer = &mut self.peers[index];
        let model = &peer.model;
        assert_eq!(model.id.is_some(), model.is_closed, "peer {index}: never closed");
        let progress = |bytes: usize| peer.response_progress(bytes).map_or(bytes, |it| it.complete);
        let (read, sent) = (progress(peer.read), progress(peer.sent));
        let has_closed = peer.response_progress(peer.sent).is_some_and(|it| it.is_last);
        self.coverage.responses += u64::from(expected > 0 && read == expected);
        if peer.exemption.is_some() || !peer.was_accepted && self.stop_seen_ms.is_some() {
            // Connections in the accept queue are lost when the drain timeout force-closes all.
            let may_wait = self.may_force_close() || self.peers[index].exemption.is_some();
            assert!(may_wait, "peer {index}: not accepted before the stop");
            return;
        }
        assert!(peer.was_accepted, "peer {index}: never accepted");
        if self.setup.service == Service::Chargen {
            return;
        }
        let got_all = sent == expected || has_closed && sent > 0;
        assert!(got_all, "peer {index}: got {sent} of {expected}");
        let is_waiting = expected == 0 && !peer.half_closed && !peer.shut_read;
        assert!(!is_waiting, "peer {index}: closed without a reason");
    }

    fn may_force_close(&self) -> bool {
        let stop_ms = self.stop_seen_ms.unwrap_or(u64::MAX);
        let drained_ms = self.iteration_ms.saturating_sub(stop_ms);
        u128::from(drained_ms) >= self.setup.drain_timeout.as_millis()
    }

    fn check_counters(&self, counters: &Counters) {
        let sum = |of: fn(&Peer) -> u64| self.peers.iter().map(of).sum::<u64>();
        assert_eq!(counters.accepted, self.coverage.accepted);
        assert_eq!(counters.closed, self.coverage.accepted);
        assert_eq!(counters.received_bytes, sum(|peer| peer.delivered as u64));
        assert_eq!(counters.sent_bytes, sum(|peer| peer.sent as u64));
        assert_eq!(counters.leaked, 0);
        self.check_system_calls(counters);
        if self.setup.service.is_stream() {
            assert!(counters.responses <= counters.requests || counters.requests == 0);
            assert_eq!(counters.premature_eof, 0);
            return;
        }
        if self.setup.service == Service::Http11 {
            let responses = sum(|peer| {
                peer.response_progress(peer.model.sent).map_or(0, |it| it.complete as u64)
            });
            assert_eq!(counters.responses, responses);
            assert!(responses <= counters.requests + counters.request_heads_too_large);
            return;
        }
        assert_eq!(counters.responses, sum(|peer| peer.model.has_responded.into()));
        assert_eq!(counters.connection_errors, sum(|peer| peer.model.has_failed.into()));
        let decided = sum(|peer| peer.model.expected_response.is_some().into());
        assert_eq!(counters.requests + counters.request_heads_too_large, decided);
        let expired = counters.expired_receiving
            + counters.expired_sending
            + counters.expired_lingering
            + counters.expired_lifetime;
        let premature = sum(|peer| peer.model.premature_eof.into());
        let ended = expired + counters.force_closed + counters.premature_eof;
        assert_eq!(ended, self.coverage.expired + premature);
        assert!(counters.drained <= counters.closed);
    }

    /// Checks that the server counts exactly the calls that it makes.
    fn check_system_calls(&self, counters: &Counters) {
        let counted: BTreeMap<_, _> = counters.system_calls.iter().collect();
        assert_eq!(counted, self.calls);
        if let Some(&waits) = self.calls.get("epoll_wait") {
            // Busy polling makes several calls for one wait.
            let is_exact = self.coverage.busy_polls == 0;
            assert!(counters.waits == waits || !is_exact && counters.waits < waits);
            assert_eq!(counters.events, self.events);
            assert_eq!(counters.stale_events, self.coverage.stale_events);
        }
    }
}
