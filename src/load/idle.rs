//! Idle connections, which are open during the load and send nothing.

use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, EventData, EventFlags};

use super::failures::RequestFailure;
use super::outcome::IdleCount;
use super::sockets::{self, SourceAddresses, failed};

#[derive(Debug)]
enum IdleConnection {
    Connecting(OwnedFd),
    Open(OwnedFd),
    /// Not opened, refused, or closed by the server.
    Closed,
}

/// The idle connections of one thread.
#[derive(Debug)]
pub(super) struct IdleConnections {
    connections: Vec<IdleConnection>,
    requested: usize,
    connecting: usize,
    opened: usize,
    closed_by_server: usize,
}

impl IdleConnections {
    pub(super) fn new(requested: usize) -> Self {
        let connections = Vec::with_capacity(requested);
        Self { connections, requested, connecting: 0, opened: 0, closed_by_server: 0 }
    }

    /// Returns true if all connections have been started.
    pub(super) fn all_started(&self) -> bool {
        self.connections.len() == self.requested
    }

    /// Returns the number of connections being opened.
    pub(super) fn connecting(&self) -> usize {
        self.connecting
    }

    /// Starts the next connection. The `epoll_data` of its events is `data` and its number.
    pub(super) fn start_connect(
        &mut self,
        epoll: &OwnedFd,
        data: u64,
        target: std::net::SocketAddr,
        sources: &mut SourceAddresses,
    ) -> Result<(), RequestFailure> {
        let number = self.connections.len() as u64;
        self.connections.push(IdleConnection::Closed);
        let socket = sockets::open_and_connect(target, sources)?;
        let flags = EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(epoll, &socket, EventData::new_u64(data | number), flags)
            .map_err(failed("epoll_ctl"))?;
        self.connections[number as usize] = IdleConnection::Connecting(socket);
        self.connecting += 1;
        Ok(())
    }

    /// Handles an event of connection `number`.
    pub(super) fn on_event(&mut self, number: u64, flags: EventFlags) {
        let is_closed = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let Some(idle) = self.connections.get_mut(number as usize) else { return };
        *idle = match std::mem::replace(idle, IdleConnection::Closed) {
            IdleConnection::Connecting(socket) => {
                self.connecting -= 1;
                if is_closed {
                    return;
                }
                self.opened += 1;
                IdleConnection::Open(socket)
            }
            IdleConnection::Open(_) if is_closed => {
                self.closed_by_server += 1;
                IdleConnection::Closed
            }
            unchanged => unchanged,
        };
    }

    pub(super) fn count(&self) -> IdleCount {
        let Self { requested, opened, closed_by_server, .. } = *self;
        IdleCount { requested, opened, closed_by_server }
    }
}

impl Drop for IdleConnections {
    /// Closes with a reset: a FIN would leave one port in TIME_WAIT per connection.
    fn drop(&mut self) {
        for idle in self.connections.drain(..) {
            if let IdleConnection::Connecting(socket) | IdleConnection::Open(socket) = idle {
                sockets::close_with_reset(socket);
            }
        }
    }
}
