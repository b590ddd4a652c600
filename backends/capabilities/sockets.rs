//! Sockets for probes. All waits have a timeout.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{ProbeError, ProbeResult, require};

/// Longest wait for data, a connection or a completion that should arrive at once.
pub(super) const COMPLETION_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn pair() -> ProbeResult<(OwnedFd, OwnedFd)> {
    let (one, other) = UnixStream::pair().map_err(ProbeError::refused("socketpair"))?;
    Ok((one.into(), other.into()))
}

/// A listener that a probe can connect to.
pub(super) enum ProbeListener {
    Tcp(TcpListener),
    /// Used if the loopback interface is down. An abstract name leaves no file.
    Unix(UnixListener, SocketAddr),
}

impl ProbeListener {
    pub(super) fn new() -> ProbeResult<Self> {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) {
            let listener = Self::Tcp(listener);
            if let Ok(client) = listener.connect() {
                // The accept queue must be empty.
                listener.accept_one()?;
                drop(client);
                return Ok(listener);
            }
        }
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringpoll-capabilities-{}-{number}", process::id());
        let address = SocketAddr::from_abstract_name(name).map_err(ProbeError::refused("bind"))?;
        let listener = UnixListener::bind_addr(&address).map_err(ProbeError::refused("bind"))?;
        Ok(Self::Unix(listener, address))
    }

    pub(super) fn fd(&self) -> RawFd {
        match self {
            Self::Tcp(listener) => listener.as_raw_fd(),
            Self::Unix(listener, _) => listener.as_raw_fd(),
        }
    }

    /// Connects, and returns the client's socket.
    pub(super) fn connect(&self) -> ProbeResult<OwnedFd> {
        match self {
            Self::Tcp(listener) => tcp_connect(listener).map(Into::into),
            Self::Unix(_, address) => UnixStream::connect_addr(address)
                .map(Into::into)
                .map_err(ProbeError::refused("connect")),
        }
    }

    fn accept_one(&self) -> ProbeResult {
        let Self::Tcp(listener) = self else { return Ok(()) };
        tcp_accept(listener).map(drop)
    }
}

impl From<ProbeListener> for OwnedFd {
    fn from(listener: ProbeListener) -> Self {
        match listener {
            ProbeListener::Tcp(listener) => listener.into(),
            ProbeListener::Unix(listener, _) => listener.into(),
        }
    }
}

/// Connects two sockets with TCP over the loopback interface.
pub(super) fn tcp_pair() -> ProbeResult<(OwnedFd, OwnedFd)> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(ProbeError::refused("bind"))?;
    let client = tcp_connect(&listener)?;
    Ok((client.into(), tcp_accept(&listener)?.into()))
}

fn tcp_connect(listener: &TcpListener) -> ProbeResult<TcpStream> {
    let connected = listener
        .local_addr()
        .and_then(|address| TcpStream::connect_timeout(&address, COMPLETION_TIMEOUT));
    connected.map_err(ProbeError::refused("connect over the loopback interface"))
}

fn tcp_accept(listener: &TcpListener) -> ProbeResult<TcpStream> {
    await_readable(listener.as_raw_fd(), "a connection")?;
    listener.accept().map(|(stream, _)| stream).map_err(ProbeError::refused("accept"))
}

/// Waits until a descriptor is readable. Returns false at the timeout.
pub(super) fn wait_readable(fd: RawFd, timeout: Duration) -> io::Result<bool> {
    let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).max(1);
    // SAFETY: the pointer is to one struct that lives through the call.
    match unsafe { libc::poll(&raw mut polled, 1, milliseconds) } {
        -1 => Err(io::Error::last_os_error()),
        ready => Ok(ready > 0),
    }
}

fn await_readable(fd: RawFd, data: &str) -> ProbeResult {
    let ready = loop {
        match wait_readable(fd, COMPLETION_TIMEOUT) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            ready => break ready.map_err(ProbeError::refused("poll"))?,
        }
    };
    require(ready, format!("{data} did not arrive"))
}

/// Sends a few bytes, which fit into the send buffer.
pub(super) fn send(fd: RawFd, bytes: &[u8]) -> ProbeResult {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length are those of a slice.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    if sent == -1 {
        return Err(ProbeError::refused("send")(io::Error::last_os_error()));
    }
    require(sent == bytes.len() as isize, format!("{sent} of {} bytes were sent", bytes.len()))
}

/// Receives `length` bytes, or all up to the end of the stream.
fn receive(fd: RawFd, length: usize) -> ProbeResult<Vec<u8>> {
    let mut received = vec![0; length];
    let mut filled = 0;
    while filled < length {
        await_readable(fd, "the data")?;
        let rest = &mut received[filled..];
        // SAFETY: pointer and length are those of a slice.
        let count =
            unsafe { libc::recv(fd, rest.as_mut_ptr().cast(), rest.len(), libc::MSG_DONTWAIT) };
        match count {
            -1 => return Err(ProbeError::refused("recv")(io::Error::last_os_error())),
            0 => break,
            count => filled += count as usize,
        }
    }
    received.truncate(filled);
    Ok(received)
}

pub(super) fn expect_bytes(fd: RawFd, expected: &[u8]) -> ProbeResult {
    let received = receive(fd, expected.len())?;
    require(received == expected, format!("the peer received {} wrong bytes", received.len()))
}

pub(super) fn expect_end_of_stream(fd: RawFd) -> ProbeResult {
    require(receive(fd, 1)?.is_empty(), "the peer received data instead of the end of the stream")
}

/// Shuts down both directions, so that requests in flight on the socket complete.
pub(super) fn shutdown_both(fd: RawFd) {
    // SAFETY: the call takes no pointers. It fails only on a socket that is not connected.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}
