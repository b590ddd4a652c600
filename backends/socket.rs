//! The listener: made, bound and closed here, with the calls of the documents in their order.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use crate::error::{BackendError, ErrorKind};
// Tests put a simulated kernel in the place of the real one.
#[cfg(any(test, feature = "simulation"))]
use crate::simulation::calls as libc;

/// How a listener is made.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Where; port 0 lets the kernel choose one.
    pub address: SocketAddr,
    /// How many connections may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
    pub backlog: u32,
    /// Whether other workers listen on the same address, each with a listener of its own
    /// (`SO_REUSEPORT`, Linux 3.9).
    pub reuse_port: bool,
    /// The send buffer of every accepted connection, in bytes; `None` leaves it to the kernel,
    /// which then adapts it. The kernel doubles what it is told, and has a least value.
    pub send_buffer_bytes: Option<u32>,
    /// Whether small answers leave at once, also when earlier ones have not been acknowledged
    /// (`TCP_NODELAY`, tcp(7)).
    pub no_delay: bool,
    /// For how many seconds a connection may keep silent before it is there to be accepted; zero
    /// does not wait for its first bytes (`TCP_DEFER_ACCEPT`, tcp(7)). The kernel rounds it up to
    /// a number of retransmissions. Meanwhile it costs no descriptor and no slot, and a stop does
    /// not know of it.
    pub defer_accept_s: u32,
    /// Whether the first bytes of a connection are acknowledged at once, as the kernel does of
    /// itself (`TCP_QUICKACK`, tcp(7)). If not, the answer acknowledges them, which saves a
    /// segment; a peer that sends its request in small pieces and waits for each to be
    /// acknowledged (Nagle's algorithm) may lose up to 40 ms by it.
    pub quick_ack: bool,
    /// How long to try again while the address is in use: the ring of a killed process holds its
    /// listener for some milliseconds more.
    pub address_in_use_retry: Duration,
}

impl ListenOptions {
    /// A backlog of 4096, nothing shared, the kernel's buffers and habits, two seconds of trying
    /// again.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            backlog: 4096,
            reuse_port: false,
            send_buffer_bytes: None,
            no_delay: false,
            defer_accept_s: 0,
            quick_ack: true,
            address_in_use_retry: Duration::from_secs(2),
        }
    }
}

/// A listening TCP socket. It is closed when dropped.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self { socket: listener.into() }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Listener {
    /// Makes a socket that listens: `socket`, `setsockopt`, `bind`, `listen`.
    ///
    /// # Errors
    /// [`ErrorKind::Address`] when the address is in use, not this machine's, or forbidden.
    pub fn bind(options: &ListenOptions) -> Result<Self, BackendError> {
        retrying(options, || Self::try_listen(options))
    }

    /// Whether that address can be listened on, found out without listening: nobody can connect
    /// meanwhile. Where `SO_REUSEPORT` shares an address between workers, this is what tells
    /// another server on it from one of them.
    ///
    /// # Errors
    /// Those of [`Listener::bind`].
    pub fn check_address(options: &ListenOptions) -> Result<(), BackendError> {
        retrying(options, || Self::try_bind(options)).map(drop)
    }

    fn try_listen(options: &ListenOptions) -> io::Result<Self> {
        let listener = Self::try_bind(options)?;
        let backlog = options.backlog.min(i32::MAX as u32) as i32;
        // SAFETY: listen takes no pointers.
        check(unsafe { libc::listen(listener.as_raw_fd(), backlog) })?;
        if !options.quick_ack {
            // Accepted connections inherit it; set before listen(2), it would be forgotten there.
            listener.set_option(libc::IPPROTO_TCP, libc::TCP_QUICKACK, 0)?;
        }
        Ok(listener)
    }

    fn try_bind(options: &ListenOptions) -> io::Result<Self> {
        let family = match options.address {
            SocketAddr::V4(_) => libc::AF_INET,
            SocketAddr::V6(_) => libc::AF_INET6,
        };
        // SAFETY: socket takes no pointers.
        let socket =
            check(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
        // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let listener = Self { socket };
        listener.set_option(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        if options.reuse_port {
            listener.set_option(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        }
        listener.set_inherited_options(options)?;
        if options.defer_accept_s > 0 {
            let seconds = options.defer_accept_s.min(i32::MAX as u32) as i32;
            listener.set_option(libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)?;
        }
        listener.bind_to(options.address)?;
        Ok(listener)
    }

    /// What is set here holds for each accepted connection, at no call of its own.
    fn set_inherited_options(&self, options: &ListenOptions) -> io::Result<()> {
        if let Some(bytes) = options.send_buffer_bytes {
            let bytes = bytes.min(i32::MAX as u32) as i32;
            self.set_option(libc::SOL_SOCKET, libc::SO_SNDBUF, bytes)?;
        }
        if options.no_delay {
            self.set_option(libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
        }
        Ok(())
    }

    fn set_option(&self, level: i32, name: i32, value: i32) -> io::Result<()> {
        // SAFETY: the pointer is to an int that lives through the call, and its size is said.
        check(unsafe {
            libc::setsockopt(
                self.as_raw_fd(),
                level,
                name,
                (&raw const value).cast(),
                size_of::<i32>() as u32,
            )
        })?;
        Ok(())
    }

    fn bind_to(&self, address: SocketAddr) -> io::Result<()> {
        let socket = self.as_raw_fd();
        match address {
            SocketAddr::V4(address) => {
                let raw = libc::sockaddr_in {
                    sin_family: libc::AF_INET as u16,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                    sin_zero: [0; 8],
                };
                let length = size_of::<libc::sockaddr_in>() as u32;
                // SAFETY: the address lives through the call, and its size is said.
                check(unsafe { libc::bind(socket, (&raw const raw).cast(), length) })?;
            }
            SocketAddr::V6(address) => {
                let raw = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as u16,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                let length = size_of::<libc::sockaddr_in6>() as u32;
                // SAFETY: the address lives through the call, and its size is said.
                check(unsafe { libc::bind(socket, (&raw const raw).cast(), length) })?;
            }
        }
        Ok(())
    }

    /// The address in force: the port is the real one where 0 was asked for.
    ///
    /// # Errors
    /// Those of getsockname(2); a listener gives it no reason to fail.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        // SAFETY: all-zero bytes are a valid sockaddr_storage.
        let mut raw: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_storage>() as u32;
        // SAFETY: both pointers live through the call, and the length says how much room there is.
        check(unsafe {
            libc::getsockname(self.as_raw_fd(), (&raw mut raw).cast(), &raw mut length)
        })?;
        match i32::from(raw.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says which of its forms the storage, made for all, holds.
                let raw = unsafe { &*(&raw const raw).cast::<libc::sockaddr_in>() };
                let address = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
                Ok(SocketAddrV4::new(address, u16::from_be(raw.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let raw = unsafe { &*(&raw const raw).cast::<libc::sockaddr_in6>() };
                let address = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                let port = u16::from_be(raw.sin6_port);
                Ok(SocketAddrV6::new(address, port, raw.sin6_flowinfo, raw.sin6_scope_id).into())
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// `ioctl(FIONBIO)`: whether accept4(2) waits. epoll wants it not to; io_uring must leave it
    /// waiting, since on a descriptor that does not wait an ACCEPT ends with EAGAIN.
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        let flag = i32::from(nonblocking);
        // SAFETY: FIONBIO reads one int, which lives through the call.
        check(unsafe { libc::ioctl(self.as_raw_fd(), libc::FIONBIO, &raw const flag) })?;
        Ok(())
    }

    /// Shuts the door without emptying the hall: connections that wait to be accepted stay,
    /// no new one gets in. Closing the listener instead would reset those that wait.
    ///
    /// A classic socket filter that drops everything does it: the kernel asks it of each packet
    /// for the listener, the last one of a handshake included (socket(7), SO_ATTACH_FILTER).
    pub(crate) fn refuse_newcomers(&self) -> io::Result<()> {
        let mut drop_all = libc::sock_filter { code: libc::BPF_RET as u16, jt: 0, jf: 0, k: 0 };
        let program = libc::sock_fprog { len: 1, filter: &raw mut drop_all };
        // SAFETY: the program and its one instruction live through the call, which copies them.
        check(unsafe {
            libc::setsockopt(
                self.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size_of::<libc::sock_fprog>() as u32,
            )
        })?;
        Ok(())
    }
}

/// Puts an end of the stream behind what has come on a connection so far: that can still be
/// received, and whoever waits for more is woken (shutdown(2), SHUT_RD). Unlike a close it loses
/// nothing that the kernel has taken, even if nobody has looked at it yet.
pub(crate) fn hear_no_more(connection: RawFd) {
    // SAFETY: shutdown takes no pointers. It fails only where the connection has come to its end,
    // and whoever waits is woken by that.
    unsafe { libc::shutdown(connection, libc::SHUT_RD) };
}

/// Turns the -1 of a system call into its errno.
pub(crate) fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Makes a listener, again and again while its address is in use and there is patience left.
fn retrying(
    options: &ListenOptions,
    make: impl Fn() -> io::Result<Listener>,
) -> Result<Listener, BackendError> {
    let patience = Instant::now().checked_add(options.address_in_use_retry);
    loop {
        match make() {
            Err(error)
                if error.raw_os_error() == Some(libc::EADDRINUSE)
                    && patience.is_none_or(|end| Instant::now() < end) =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result.map_err(|error| address_error(options.address, error)),
        }
    }
}

fn address_error(address: SocketAddr, error: io::Error) -> BackendError {
    let (kind, cause, remedy) = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => (
            ErrorKind::Address,
            "another process listens there",
            "stop it, or listen on another port",
        ),
        Some(libc::EADDRNOTAVAIL) => (
            ErrorKind::Address,
            "this machine does not have that address",
            "choose one that `ip address` lists, or 0.0.0.0 for all",
        ),
        Some(libc::EACCES) => (
            ErrorKind::Address,
            "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE",
            "choose a port from 1024 on, or grant the capability",
        ),
        Some(libc::EAFNOSUPPORT) => (
            ErrorKind::Address,
            "this kernel has that address family switched off",
            "listen on an IPv4 address",
        ),
        _ => {
            let operation = format!("listen on {address}");
            return BackendError::unexpected(&operation, error);
        }
    };
    BackendError::new(kind, format!("listen on {address}"), cause)
        .with_source(error)
        .with_remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn loopback() -> ListenOptions {
        ListenOptions {
            address_in_use_retry: Duration::ZERO,
            ..ListenOptions::new("127.0.0.1:0".parse().unwrap())
        }
    }

    #[test]
    fn a_listener_says_its_real_port_and_refuses_to_share_it() {
        let listener = Listener::bind(&loopback()).unwrap();
        let address = listener.local_address().unwrap();
        assert_ne!(address.port(), 0);
        TcpStream::connect(address).unwrap();
        let error = Listener::bind(&ListenOptions { address, ..loopback() }).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Address);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }

    #[test]
    fn an_address_of_another_machine_is_told_apart() {
        let address = "192.0.2.1:8080".parse().unwrap();
        let error = Listener::bind(&ListenOptions { address, ..loopback() }).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Address);
        assert!(error.cause.contains("does not have that address"), "{error}");
    }

    #[test]
    fn newcomers_are_refused_and_those_who_wait_stay() {
        let listener = Listener::bind(&loopback()).unwrap();
        let address = listener.local_address().unwrap();
        let _waiting = TcpStream::connect(address).unwrap();
        listener.refuse_newcomers().unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(200));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let listener = TcpListener::from(listener.socket);
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_ok(), "who waited is served");
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
