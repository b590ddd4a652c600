//! The listening socket, set up with the reference programs' system calls in their order.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::time::{Duration, Instant};

use crate::error::{BackendError, ErrorKind};

/// Options of a listener.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Address to listen on; with port 0 the kernel chooses a free port.
    pub address: SocketAddr,
    /// Longest accept queue; the kernel limits it to `net.core.somaxconn` (listen(2)).
    pub backlog: u32,
    /// Lets other workers listen on the same address (`SO_REUSEPORT`, Linux 3.9).
    pub reuse_port: bool,
    /// Send buffer of each accepted connection, in bytes; `None` leaves it to the kernel's
    /// autotuning. The kernel doubles the value, and has a minimum (`SO_SNDBUF`, socket(7)).
    pub send_buffer_bytes: Option<u32>,
    /// Sends small segments at once, without Nagle's algorithm (`TCP_NODELAY`, tcp(7)).
    pub no_delay: bool,
    /// Defers the accept of a connection until its first bytes, for at most this many seconds; zero
    /// disables it (`TCP_DEFER_ACCEPT`, tcp(7)). The kernel rounds it up to a number of
    /// retransmissions. A deferred connection uses no descriptor and no slot; a stop drops it.
    pub defer_accept_s: u32,
    /// Acknowledges the first bytes of a connection at once, which is the kernel's default
    /// (`TCP_QUICKACK`, tcp(7)). Otherwise the response acknowledges them, which saves a segment. A
    /// peer that sends its request in small pieces (Nagle's algorithm) is then delayed by up to
    /// 40 ms, the kernel's delayed acknowledgement.
    pub quick_ack: bool,
    /// Retries bind(2) for this long after EADDRINUSE: the ring of a killed process keeps its
    /// listener open until the kernel has torn it down.
    pub address_in_use_retry: Duration,
}

impl ListenOptions {
    /// Returns the defaults: a backlog of 4096, the kernel's socket options, and two seconds of
    /// retries.
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

/// A listening TCP socket, closed on drop.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self { socket: listener }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Listener {
    /// Makes a listening socket: `socket`, `setsockopt`, `bind`, `listen`.
    ///
    /// # Errors
    /// [`ErrorKind::Address`] if the address is in use, not local, or forbidden;
    /// [`ErrorKind::Resources`] if the process has no descriptor left.
    pub fn bind(options: &ListenOptions) -> Result<Self, BackendError> {
        retrying(options, || Self::try_listen(options))
    }

    /// Checks that the address can be bound, without listening, so that no client can connect. With
    /// `SO_REUSEPORT` this distinguishes another server on the address from our own workers.
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
            // Accepted connections inherit it. listen(2) resets what was set before it.
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
        // SAFETY: the kernel has just returned this descriptor; nothing else owns it.
        let listener = Self { socket: unsafe { TcpListener::from_raw_fd(socket) } };
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

    /// Sets options that accepted connections inherit, so that they need no system call each.
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

    fn set_option<T>(&self, level: i32, name: i32, value: T) -> io::Result<()> {
        set_option(self.as_raw_fd(), level, name, value)
    }

    fn bind_to(&self, address: SocketAddr) -> io::Result<()> {
        match address {
            SocketAddr::V4(address) => self.bind_to_raw(&libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(address) => self.bind_to_raw(&libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as u16,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            }),
        }
    }

    fn bind_to_raw<T>(&self, address: &T) -> io::Result<()> {
        let (address, length) = (std::ptr::from_ref(address).cast(), size_of::<T>() as u32);
        // SAFETY: the address lives through the call, and its size is passed.
        check(unsafe { libc::bind(self.as_raw_fd(), address, length) }).map(drop)
    }

    /// Returns the bound address, with the port that the kernel chose for port 0.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sets O_NONBLOCK by `ioctl(FIONBIO)`. epoll needs it; on io_uring an ACCEPT on a nonblocking
    /// listener completes with EAGAIN instead of waiting (axboe/liburing 364).
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    /// Refuses new connections and keeps the accept queue; closing the listener would reset the
    /// queued connections.
    ///
    /// A classic BPF filter drops every packet for the listener, the last one of a handshake
    /// included (socket(7), SO_ATTACH_FILTER).
    pub(crate) fn refuse_new_connections(&self) -> io::Result<()> {
        let mut drop_all = libc::sock_filter { code: libc::BPF_RET as u16, jt: 0, jf: 0, k: 0 };
        let program = libc::sock_fprog { len: 1, filter: &raw mut drop_all };
        // The call copies the instruction that the program points to.
        self.set_option(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program)
    }
}

/// Calls setsockopt(2).
pub(crate) fn set_option<T>(socket: RawFd, level: i32, name: i32, value: T) -> io::Result<()> {
    let length = size_of::<T>() as u32;
    let value = (&raw const value).cast();
    // SAFETY: the pointer is to a value that lives through the call, and its size is passed.
    check(unsafe { libc::setsockopt(socket, level, name, value, length) }).map(drop)
}

/// Converts the result of a system call: -1 is the errno.
pub(crate) fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Makes a listener, and retries while its address is in use.
fn retrying(
    options: &ListenOptions,
    make: impl Fn() -> io::Result<Listener>,
) -> Result<Listener, BackendError> {
    let deadline = Instant::now().checked_add(options.address_in_use_retry);
    loop {
        match make() {
            Err(error)
                if error.raw_os_error() == Some(libc::EADDRINUSE)
                    && deadline.is_none_or(|end| Instant::now() < end) =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result.map_err(|error| address_error(options.address, error)),
        }
    }
}

fn address_error(address: SocketAddr, error: io::Error) -> BackendError {
    let (cause, remedy) = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            ("another process listens on it", "stop it, or listen on another port")
        }
        Some(libc::EADDRNOTAVAIL) => (
            "this machine does not have that address",
            "choose one that `ip address` lists, or 0.0.0.0 for all",
        ),
        Some(libc::EACCES) => (
            "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE",
            "choose a port from 1024 on, or grant the capability",
        ),
        Some(libc::EAFNOSUPPORT) => {
            ("this address family is disabled in the kernel", "listen on an IPv4 address")
        }
        _ => return BackendError::unexpected(&format!("listen on {address}"), error),
    };
    BackendError::new(ErrorKind::Address, format!("listen on {address}"), cause)
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
    fn listener_reports_its_port_and_does_not_share_it() {
        let listener = Listener::bind(&loopback()).unwrap();
        let address = listener.local_address().unwrap();
        assert_ne!(address.port(), 0);
        TcpStream::connect(address).unwrap();
        let error = Listener::bind(&ListenOptions { address, ..loopback() }).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Address);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }

    #[test]
    fn foreign_address_has_its_own_cause() {
        let address = "192.0.2.1:8080".parse().unwrap();
        let error = Listener::bind(&ListenOptions { address, ..loopback() }).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Address);
        assert!(error.cause.contains("does not have that address"), "{error}");
    }

    #[test]
    fn new_connections_are_refused_and_queued_ones_stay() {
        let listener = Listener::bind(&loopback()).unwrap();
        let address = listener.local_address().unwrap();
        let _queued = TcpStream::connect(address).unwrap();
        listener.refuse_new_connections().unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(200));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let listener = listener.socket;
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_ok(), "the queued connection is accepted");
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
