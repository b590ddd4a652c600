//! The simulated epoll instance, level-triggered and edge-triggered as in epoll(7).

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use libc::epoll_event;
use ringpoll_backends::testing::Token;

use crate::state::State;

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ERR: u32 = libc::EPOLLERR as u32;
const HUP: u32 = libc::EPOLLHUP as u32;
const EDGE: u32 = libc::EPOLLET as u32;

struct Registration {
    events: u32,
    data: u64,
    /// The descriptor has changed since its last event.
    changed: bool,
}

#[derive(Default)]
pub(crate) struct Epoll {
    registrations: BTreeMap<RawFd, Registration>,
    /// User data of removed registrations.
    removed: Vec<u64>,
}

impl Epoll {
    pub(crate) fn mark_changed(&mut self, fd: RawFd) {
        if let Some(registration) = self.registrations.get_mut(&fd) {
            registration.changed = true;
        }
    }

    /// Removes a registration, as closing the descriptor does.
    pub(crate) fn forget(&mut self, fd: RawFd) {
        self.removed.extend(self.registrations.remove(&fd).map(|it| it.data));
    }
}

impl State {
    pub(crate) fn epoll_ctl(
        &mut self,
        what: i32,
        fd: RawFd,
        event: epoll_event,
    ) -> Result<(), i32> {
        let is_connection = self.descriptors.contains_key(&fd);
        let stop = self.stop.fd();
        assert!(
            is_connection || fd == self.listener || fd == stop,
            "epoll_ctl of a closed descriptor"
        );
        let registered = self.epoll.registrations.contains_key(&fd);
        match what {
            libc::EPOLL_CTL_ADD => assert!(!registered, "registered twice"),
            libc::EPOLL_CTL_MOD => assert!(registered, "modified before it was registered"),
            _ if !registered => return Err(libc::ENOENT),
            _ => {
                self.epoll.forget(fd);
                return Ok(());
            }
        }
        // Adding the worker's own descriptors does not fail: without them it does not start.
        let may_fail = is_connection || what == libc::EPOLL_CTL_MOD;
        if may_fail && let Some(errno) = self.inject_fault(&[libc::ENOMEM, libc::ENOSPC]) {
            if let Some(&peer) = self.descriptors.get(&fd) {
                self.peers[peer].exempt("registering it failed");
            }
            return Err(errno);
        }
        let epoll_event { events, u64: data } = event;
        self.epoll.registrations.insert(fd, Registration { events, data, changed: true });
        Ok(())
    }

    pub(crate) fn epoll_wait(
        &mut self,
        max: usize,
        timeout_ms: u64,
    ) -> Result<Vec<(u32, u64)>, i32> {
        self.end_iteration();
        assert!(self.unreported.is_empty(), "an accepted connection was not reported");
        self.act_at_random();
        if let Some(errno) = self.inject_fault(&[libc::EINTR]) {
            return Err(errno);
        }
        loop {
            let ready = self.ready(max);
            if !ready.is_empty() || timeout_ms == 0 || self.wait_for_event(timeout_ms) {
                return Ok(ready);
            }
        }
    }

    /// Returns some of the ready events, in random order.
    fn ready(&mut self, max: usize) -> Vec<(u32, u64)> {
        let mut ready: Vec<_> = self
            .epoll
            .registrations
            .iter()
            .filter_map(|(&fd, registration)| {
                let wanted = registration.events | ERR | HUP;
                let events = self.state(fd) & wanted;
                let is_new = registration.events & EDGE == 0 || registration.changed;
                (events != 0 && is_new).then_some((fd, events))
            })
            .collect();
        for end in (1..ready.len()).rev() {
            let keep_order = self.choices.below(end + 1);
            ready.swap(end, end - keep_order);
        }
        let leave_out = self.choices.below(3).min(ready.len().saturating_sub(1));
        ready.truncate((ready.len() - leave_out).min(max));
        let stop = self.stop.fd();
        let mut events = Vec::with_capacity(max);
        for (fd, happened) in ready {
            if fd == stop {
                self.stop_seen_ms.get_or_insert(self.coarse_ms());
            }
            let registration =
                self.epoll.registrations.get_mut(&fd).expect("it has just been looked up");
            registration.changed = false;
            // An edge is reported once, so that its events cannot spin.
            self.progress += u64::from(registration.events & EDGE != 0);
            events.push((happened, registration.data));
        }
        self.add_stale_event(&mut events, max);
        self.events += events.len() as u64;
        events
    }

    /// Sometimes adds an event of a closed connection. epoll(7) warns of them: an open file
    /// description that another process shares is still reported.
    fn add_stale_event(&mut self, events: &mut Vec<(u32, u64)>, max: usize) {
        if events.len() < max && !self.epoll.removed.is_empty() && self.choices.once_in(30) {
            let data = self.epoll.removed[self.choices.below(self.epoll.removed.len())];
            events.push((IN | OUT | HUP, data));
            let token = Token::from_bits(data).expect("the server registered it");
            self.coverage.stale_events += u64::from(!token.operation.is_of_worker());
            self.progress += 1;
        }
    }

    fn state(&self, fd: RawFd) -> u32 {
        if fd == self.listener {
            return if self.accept_queue.is_empty() { 0 } else { IN };
        }
        let Some(&index) = self.descriptors.get(&fd) else {
            return if self.stop.is_requested() { IN } else { 0 };
        };
        let peer = &self.peers[index];
        let mut state = 0;
        if peer.is_readable() {
            state |= IN;
        }
        if peer.is_writable(self.setup.send_buffer_bytes) {
            state |= OUT;
        }
        if peer.is_hung_up() {
            state |= HUP;
        }
        if peer.error.is_some() {
            state |= ERR;
        }
        state
    }
}
