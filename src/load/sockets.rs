//! The system calls of a connection, in their order.
//!
//! # Cost of a request
//!
//! On loopback, most of the CPU time of a request is the kernel's TCP for both ends. The client
//! saves socket creation and wake-ups:
//!
//! - The request is sent directly after a non-blocking `connect`. On loopback the handshake has
//!   completed when `connect` returns EINPROGRESS. Otherwise `send` returns EAGAIN, and the client
//!   waits for EPOLLOUT.
//! - If the server closes first, and a response fits in any receive window, the client waits only
//!   for the end of the stream (EPOLLRDHUP): one wake-up per request, and one `recv`.
//! - Sockets to a local server that closes first are reused: `shutdown` sends the FIN, which the
//!   server's TCP acknowledges before the call returns, and `connect` with AF_UNSPEC disconnects
//!   the socket, which stays in the epoll instance (connect(2)). On the wire this equals `close`
//!   and `socket`: each request has its own handshake and port, and a FIN from both ends. A remote
//!   server acknowledges the FIN later, so there the socket is closed.
//!
//! # TIME_WAIT
//!
//! A server that closes first has TIME_WAIT on its side, and the client's port is free again at
//! once. A SYN from the same port is accepted as a new connection, because its sequence number is
//! higher (RFC 9293, section 3.6.1). After a failure or a stop the client resets the connection,
//! which leaves no TIME_WAIT on either side.
//!
//! An echo server closes after the client, and so does an HTTP server that leaves a connection open
//! after its response. TIME_WAIT is then on the client's side, and its ports run out sooner: Linux
//! lets a new connection on loopback take such a port after a second (`net.ipv4.tcp_tw_reuse`,
//! ip-sysctl), and other source addresses provide more.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_linger, set_tcp_nodelay};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};

use super::failures::RequestFailure;

/// Converts the error of a system call.
pub(super) fn failed(operation: &'static str) -> impl Fn(Errno) -> RequestFailure {
    move |errno| RequestFailure::SystemCall { operation, errno }
}

/// Opens a non-blocking socket.
pub(super) fn open(target: SocketAddr) -> Result<OwnedFd, RequestFailure> {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(failed("socket"))
}

/// Starts a connection. It may be established when this returns, or later.
pub(super) fn connect(socket: &OwnedFd, target: SocketAddr) -> Result<(), RequestFailure> {
    match rustix::net::connect(socket, &target) {
        Err(Errno::INPROGRESS) => Ok(()),
        result => result.map_err(failed("connect")),
    }
}

/// Disables Nagle's algorithm: each fragment leaves at once, without waiting for an ACK.
pub(super) fn set_nodelay(socket: &OwnedFd) -> Result<(), RequestFailure> {
    set_tcp_nodelay(socket, true).map_err(failed("setsockopt TCP_NODELAY"))
}

/// Closes the send side, after the server has closed its own.
pub(super) fn shutdown_send(socket: &OwnedFd) -> Result<(), Errno> {
    rustix::net::shutdown(socket, Shutdown::Write)
}

/// Disconnects a socket that both sides have closed, so that it can connect again.
pub(super) fn disconnect(socket: &OwnedFd) -> Result<(), Errno> {
    rustix::net::connect_unspec(socket)
}

/// Closes a connection with a reset, so that no state remains on either side.
pub(super) fn close_with_reset(socket: OwnedFd) {
    // If setting SO_LINGER fails, the close sends a FIN, and TIME_WAIT is on this side.
    let _ = set_socket_linger(&socket, Some(Duration::ZERO));
}

/// Returns true if connections to `target` stay on this machine. Connecting a UDP socket sends
/// nothing; it only selects the source address.
pub(super) fn is_local(target: SocketAddr) -> bool {
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

/// The source address of connections: the kernel's choice until its ports are exhausted, then
/// other loopback addresses for a loopback target.
#[derive(Debug)]
pub(super) struct SourceAddresses {
    has_others: bool,
    current: Option<Ipv4Addr>,
    /// Number of addresses used.
    used: usize,
}

impl SourceAddresses {
    /// Addresses of 127.0.0.0/8 in use before the first one is used again.
    const MAX_ADDRESSES: usize = 250;

    pub(super) fn new(target: SocketAddr) -> Self {
        let has_others = target.is_ipv4() && target.ip().is_loopback();
        Self { has_others, current: None, used: 1 }
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Selects the next address. Returns false if there is no other.
    pub(super) fn use_next(&mut self) -> bool {
        if self.has_others {
            let last = self.current.map_or(1, |address| usize::from(address.octets()[3]));
            let next = last % Self::MAX_ADDRESSES + 1;
            self.current = Some(Ipv4Addr::new(127, 0, 0, next as u8));
            self.used = self.used.max(next);
        }
        self.has_others
    }

    /// Binds a new socket to the selected address. IP_BIND_ADDRESS_NO_PORT leaves the choice of
    /// the port to `connect`, so that it has to be free for this target only (ip(7)).
    pub(super) fn bind(&self, socket: &OwnedFd) -> Result<(), RequestFailure> {
        let Some(address) = self.current else { return Ok(()) };
        setsockopt(socket, sockopt::IpBindAddressNoPort, &true)
            .map_err(|errno| Errno::from_raw_os_error(errno as i32))
            .map_err(failed("setsockopt IP_BIND_ADDRESS_NO_PORT"))?;
        rustix::net::bind(socket, &SocketAddr::from((address, 0))).map_err(failed("bind"))
    }
}

/// Opens a socket and starts its connection. If no port is free, tries other source addresses.
pub(super) fn open_and_connect(
    target: SocketAddr,
    sources: &mut SourceAddresses,
) -> Result<OwnedFd, RequestFailure> {
    /// Each search for a free port takes long if there is none.
    const ATTEMPTS: usize = 4;

    for _ in 1..ATTEMPTS {
        match try_to_connect(target, sources) {
            Err(RequestFailure::SystemCall { errno: Errno::ADDRNOTAVAIL, .. })
                if sources.use_next() => {}
            result => return result,
        }
    }
    try_to_connect(target, sources)
}

fn try_to_connect(
    target: SocketAddr,
    sources: &SourceAddresses,
) -> Result<OwnedFd, RequestFailure> {
    let socket = open(target)?;
    sources.bind(&socket)?;
    connect(&socket, target)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_has_several_source_addresses() {
        let mut sources = SourceAddresses::new(([127, 0, 0, 1], 80).into());
        assert!((0..600).all(|_| sources.use_next()));
        assert_eq!(sources.used(), SourceAddresses::MAX_ADDRESSES);
        for target in ["192.0.2.1:80", "[::1]:80"] {
            let mut sources = SourceAddresses::new(target.parse().unwrap());
            assert!(!sources.use_next());
            assert_eq!((sources.current, sources.used()), (None, 1));
        }
    }

    #[test]
    fn loopback_is_local() {
        assert!(is_local("127.0.0.1:80".parse().unwrap()));
        assert!(is_local("127.1.2.3:80".parse().unwrap()));
        // An address reserved for documentation (RFC 5737).
        assert!(!is_local("192.0.2.1:80".parse().unwrap()));
    }
}
