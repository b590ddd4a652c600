//! The simulated epoll instance: level and edge triggered, as epoll(7) has it.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use super::kernel::Kernel;
use crate::token::Token;

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ERR: u32 = libc::EPOLLERR as u32;
const HUP: u32 = libc::EPOLLHUP as u32;
const EDGE: u32 = libc::EPOLLET as u32;

struct Registration {
    events: u32,
    data: u64,
    /// Something has changed since it was reported.
    changed: bool,
}

#[derive(Default)]
pub(super) struct Epoll {
    registrations: BTreeMap<RawFd, Registration>,
    /// The data of those that are gone.
    gone: Vec<u64>,
}

impl Epoll {
    /// Something has happened at that descriptor.
    pub(super) fn changed(&mut self, fd: RawFd) {
        if let Some(registration) = self.registrations.get_mut(&fd) {
            registration.changed = true;
        }
    }

    /// The last descriptor of it is closed.
    pub(super) fn forget(&mut self, fd: RawFd) {
        self.gone.extend(self.registrations.remove(&fd).map(|it| it.data));
    }
}

impl Kernel {
    pub(super) fn epoll_ctl(
        &mut self,
        what: i32,
        fd: RawFd,
        event: Option<(u32, u64)>,
    ) -> Result<(), i32> {
        let is_connection = self.descriptors.contains_key(&fd);
        let stop = self.stop.fd();
        assert!(
            is_connection || fd == self.listener || fd == stop,
            "epoll_ctl of a descriptor that is not open"
        );
        let registered = self.epoll.registrations.contains_key(&fd);
        match what {
            libc::EPOLL_CTL_ADD => assert!(!registered, "registered twice"),
            libc::EPOLL_CTL_MOD => assert!(registered, "changed before it was registered"),
            _ if !registered => return Err(libc::ENOENT),
            _ => {
                self.epoll.forget(fd);
                return Ok(());
            }
        }
        // Where the worker's own cannot be registered at all, it does not begin.
        let may_fail = is_connection || what == libc::EPOLL_CTL_MOD;
        if may_fail && let Some(errno) = self.fails(&[libc::ENOMEM, libc::ENOSPC]) {
            if let Some(&peer) = self.descriptors.get(&fd) {
                self.peers[peer].excuse("it could not be registered");
            }
            return Err(errno);
        }
        let (events, data) = event.expect("a registration has an event");
        self.epoll.registrations.insert(fd, Registration { events, data, changed: true });
        Ok(())
    }

    pub(super) fn epoll_wait(
        &mut self,
        most: usize,
        timeout_ms: u64,
    ) -> Result<Vec<(u32, u64)>, i32> {
        self.turn_ends();
        assert!(self.unclaimed.is_empty(), "a connection was accepted and forgotten");
        self.happen();
        if let Some(errno) = self.fails(&[libc::EINTR]) {
            return Err(errno);
        }
        loop {
            let ready = self.ready(most);
            if !ready.is_empty() || timeout_ms == 0 || self.nothing_is_ready(timeout_ms) {
                return Ok(ready);
            }
        }
    }

    /// Some of what is ready, in any order.
    fn ready(&mut self, most: usize) -> Vec<(u32, u64)> {
        let mut ready: Vec<_> = self
            .epoll
            .registrations
            .iter()
            .filter_map(|(&fd, registration)| {
                let wanted = registration.events | ERR | HUP;
                let events = self.state(fd) & wanted;
                let is_news = registration.events & EDGE == 0 || registration.changed;
                (events != 0 && is_news).then_some((fd, events))
            })
            .collect();
        for end in (1..ready.len()).rev() {
            let keep_order = self.choices.below(end + 1);
            ready.swap(end, end - keep_order);
        }
        let leave_out = self.choices.below(3).min(ready.len().saturating_sub(1));
        ready.truncate((ready.len() - leave_out).min(most));
        let stop = self.stop.fd();
        let mut events = Vec::with_capacity(most);
        for (fd, happened) in ready {
            if fd == stop {
                self.stop_heard_ms.get_or_insert(self.coarse_ms());
            }
            let registration =
                self.epoll.registrations.get_mut(&fd).expect("it has just been looked up");
            registration.changed = false;
            events.push((happened, registration.data));
        }
        self.add_stale_event(&mut events, most);
        self.events += events.len() as u64;
        events
    }

    /// An event of a connection that is gone: one that shares its description with another
    /// process goes on to be reported, as epoll(7) warns.
    fn add_stale_event(&mut self, events: &mut Vec<(u32, u64)>, most: usize) {
        if events.len() < most && !self.epoll.gone.is_empty() && self.choices.once_in(30) {
            let gone = self.epoll.gone[self.choices.below(self.epoll.gone.len())];
            events.push((IN | OUT | HUP, gone));
            let token = Token::from_bits(gone).expect("it came from the server");
            self.met.stale += u64::from(!token.operation.is_of_worker());
            self.progress += 1;
        }
    }

    fn state(&self, fd: RawFd) -> u32 {
        if fd == self.listener {
            return if self.queue.is_empty() { 0 } else { IN };
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
