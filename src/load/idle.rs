//! Connections that say nothing, beside those that ask.

use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, EventData, EventFlags};

use super::failures::Failure;
use super::outcome::IdleCount;
use super::sockets::{self, SourceAddresses, failed};

/// One of them.
#[derive(Debug)]
enum Idle {
    Connecting(OwnedFd),
    Open(OwnedFd),
    /// Refused, or closed by the server.
    Gone,
}

/// All of one thread.
#[derive(Debug)]
pub(super) struct IdleCrowd {
    connections: Vec<Idle>,
    asked_for: usize,
    connecting: usize,
    opened: usize,
    lost: usize,
}

impl IdleCrowd {
    pub(super) fn new(asked_for: usize) -> Self {
        let connections = Vec::with_capacity(asked_for);
        Self { connections, asked_for, connecting: 0, opened: 0, lost: 0 }
    }

    /// Whether more are to be begun.
    pub(super) fn is_complete(&self) -> bool {
        self.connections.len() == self.asked_for
    }

    /// How many have been begun and are not there yet.
    pub(super) fn connecting(&self) -> usize {
        self.connecting
    }

    /// Begins the next one. Its events bear `data` and its number.
    pub(super) fn begin(
        &mut self,
        epoll: &OwnedFd,
        data: u64,
        target: std::net::SocketAddr,
        sources: &mut SourceAddresses,
    ) -> Result<(), Failure> {
        let number = self.connections.len() as u64;
        self.connections.push(Idle::Gone);
        let socket = sockets::open_and_connect(target, sources)?;
        let flags = EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(epoll, &socket, EventData::new_u64(data | number), flags)
            .map_err(failed("epoll_ctl"))?;
        self.connections[number as usize] = Idle::Connecting(socket);
        self.connecting += 1;
        Ok(())
    }

    /// Something happened to that one.
    pub(super) fn on_event(&mut self, number: u64, flags: EventFlags) {
        let gone = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let Some(idle) = self.connections.get_mut(number as usize) else { return };
        *idle = match std::mem::replace(idle, Idle::Gone) {
            Idle::Connecting(socket) => {
                self.connecting -= 1;
                if gone {
                    return;
                }
                self.opened += 1;
                Idle::Open(socket)
            }
            Idle::Open(_) if gone => {
                self.lost += 1;
                Idle::Gone
            }
            same => same,
        };
    }

    pub(super) fn count(&self) -> IdleCount {
        IdleCount { asked_for: self.asked_for, opened: self.opened, lost: self.lost }
    }
}

impl Drop for IdleCrowd {
    /// With a reset: closed otherwise, tens of thousands of ports would be in TIME_WAIT here.
    fn drop(&mut self) {
        for idle in self.connections.drain(..) {
            if let Idle::Connecting(socket) | Idle::Open(socket) = idle {
                sockets::reset(socket);
            }
        }
    }
}
