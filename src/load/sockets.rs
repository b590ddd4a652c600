//! The system calls of a connection's life, in its order.
//!
//! # What a request costs, and why these calls
//!
//! On loopback nearly all of a request's CPU time is the kernel's TCP, of both ends, so what is
//! left to save is sockets and wake-ups:
//!
//! - A request is sent right behind `connect`: on loopback the handshake is over when a connect
//!   that does not wait comes back (EINPROGRESS). Where it is not, `send` says EAGAIN, and the
//!   event that the socket is writable is waited for.
//! - Only the *end* of the stream is waited for (RDHUP) where an answer fits into any receive
//!   window: one wake-up a request, and one `recv`, which finds the whole answer.
//! - To a server on this machine a socket is used again: `shutdown` sends the FIN, the server's
//!   TCP acknowledges it before the call returns, and `connect` to no address makes the socket a
//!   new one, which keeps its place in the epoll instance. On the wire nothing differs from
//!   `close` and `socket`: each request has its own handshake, its own port, and a FIN from both
//!   sides. To other machines the FIN is acknowledged later, so there it *is* close and socket.
//!
//! # Who closes first
//!
//! The server does: its side is left in TIME_WAIT, ours is not, and our ports are free again at
//! once. A SYN from a port whose last connection the server remembers so is taken as a new one (its
//! sequence number is later). Where a connection ends otherwise (a failure, a stop), it ends with
//! a reset, which leaves nothing behind either.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_linger, set_tcp_nodelay};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};

use super::failures::Failure;

/// A system call that failed.
pub(super) fn failed(operation: &'static str) -> impl Fn(Errno) -> Failure {
    move |errno| Failure::SystemCall { operation, errno }
}

/// A new socket that never waits.
pub(super) fn open(target: SocketAddr) -> Result<OwnedFd, Failure> {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(failed("socket"))
}

/// Begins a connection, which may or may not be there when this returns.
pub(super) fn connect(socket: &OwnedFd, target: SocketAddr) -> Result<(), Failure> {
    match rustix::net::connect(socket, &target) {
        Err(Errno::INPROGRESS) => Ok(()),
        result => result.map_err(failed("connect")),
    }
}

/// Sends each piece when it is handed over, whatever of the last one is on its way.
pub(super) fn send_at_once(socket: &OwnedFd) -> Result<(), Failure> {
    set_tcp_nodelay(socket, true).map_err(failed("setsockopt TCP_NODELAY"))
}

/// Ends our side of a stream whose other side has ended.
pub(super) fn end(socket: &OwnedFd) -> Result<(), Errno> {
    rustix::net::shutdown(socket, Shutdown::Write)
}

/// Makes a socket whose stream has ended on both sides a new one.
pub(super) fn make_new(socket: &OwnedFd) -> Result<(), Errno> {
    rustix::net::connect_unspec(socket)
}

/// Ends a connection with a reset: nothing of it is left behind on either side.
pub(super) fn reset(socket: OwnedFd) {
    // If it fails the connection ends with a FIN, and our side has the TIME_WAIT.
    let _ = set_socket_linger(&socket, Some(Duration::ZERO));
}

/// Whether connections to there stay on this machine. Nothing is sent for it: the kernel is asked
/// which address it would connect from.
pub(super) fn is_this_machine(target: SocketAddr) -> bool {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    let source = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(target)?;
        socket.local_addr()
    });
    target.ip().is_loopback() || source.is_ok_and(|source| source.ip() == target.ip())
}

/// The address to connect from: the kernel's choice, until that one's ports are used up and there
/// are others. On loopback there are.
#[derive(Debug)]
pub(super) struct SourceAddresses {
    has_others: bool,
    chosen: Option<Ipv4Addr>,
    /// How many have been used.
    used: usize,
}

impl SourceAddresses {
    /// How many of 127.0.0.0/8 are used before it starts over: seven million connections at once.
    const MOST: usize = 250;

    pub(super) fn new(target: SocketAddr) -> Self {
        let has_others = target.is_ipv4() && target.ip().is_loopback();
        Self { has_others, chosen: None, used: 1 }
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Goes on to the next one, if there is one.
    pub(super) fn advance(&mut self) -> bool {
        if self.has_others {
            let last = self.chosen.map_or(1, |address| usize::from(address.octets()[3]));
            let next = last % Self::MOST + 1;
            self.chosen = Some(Ipv4Addr::new(127, 0, 0, next as u8));
            self.used = self.used.max(next);
        }
        self.has_others
    }

    /// Lets a new socket connect from the address that has been chosen, if one has. Its port is
    /// chosen when it connects, when the kernel knows that it need be free only for that target.
    pub(super) fn bind(&self, socket: &OwnedFd) -> Result<(), Failure> {
        let Some(address) = self.chosen else { return Ok(()) };
        setsockopt(socket, sockopt::IpBindAddressNoPort, &true)
            .map_err(|errno| Errno::from_raw_os_error(errno as i32))
            .map_err(failed("setsockopt IP_BIND_ADDRESS_NO_PORT"))?;
        rustix::net::bind(socket, &SocketAddr::from((address, 0))).map_err(failed("bind"))
    }
}

/// Opens a socket and begins its connection, from another address if one has no ports left.
pub(super) fn open_and_connect(
    target: SocketAddr,
    sources: &mut SourceAddresses,
) -> Result<OwnedFd, Failure> {
    /// To look for a port where there is none takes milliseconds.
    const ATTEMPTS: usize = 4;

    for _ in 1..ATTEMPTS {
        match try_to_connect(target, sources) {
            Err(Failure::SystemCall { errno: Errno::ADDRNOTAVAIL, .. }) if sources.advance() => {}
            result => return result,
        }
    }
    try_to_connect(target, sources)
}

fn try_to_connect(target: SocketAddr, sources: &SourceAddresses) -> Result<OwnedFd, Failure> {
    let socket = open(target)?;
    sources.bind(&socket)?;
    connect(&socket, target)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_many_addresses_and_others_have_one() {
        let mut sources = SourceAddresses::new(([127, 0, 0, 1], 80).into());
        assert!((0..600).all(|_| sources.advance()));
        assert_eq!(sources.used(), SourceAddresses::MOST);
        for target in ["192.0.2.1:80", "[::1]:80"] {
            let mut sources = SourceAddresses::new(target.parse().unwrap());
            assert!(!sources.advance());
            assert_eq!((sources.chosen, sources.used()), (None, 1));
        }
    }

    #[test]
    fn this_machine_is_told_from_others() {
        assert!(is_this_machine("127.0.0.1:80".parse().unwrap()));
        assert!(is_this_machine("127.1.2.3:80".parse().unwrap()));
        // An address that is kept for documentation.
        assert!(!is_this_machine("192.0.2.1:80".parse().unwrap()));
    }
}
