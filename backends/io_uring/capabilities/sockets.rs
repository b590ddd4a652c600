//! Sockets for trials, and calls on them that never wait for longer than they should.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::trial::PATIENCE;
use super::{Answer, Missing, require};

/// Two connected sockets.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd), Missing> {
    let (one, other) = UnixStream::pair().map_err(Missing::refused("socketpair"))?;
    Ok((one.into(), other.into()))
}

/// Where a trial connects to.
pub(super) enum Listening {
    Tcp(TcpListener),
    /// Where the loopback interface is down: only a name, which nobody else can see a file of.
    Unix(UnixListener, SocketAddr),
}

impl Listening {
    pub(super) fn new() -> Result<Self, Missing> {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) {
            let listening = Self::Tcp(listener);
            if let Ok(client) = listening.connect() {
                // Taken and thrown away: the queue must be empty.
                listening.take_one()?;
                drop(client);
                return Ok(listening);
            }
        }
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringpoll-capabilities-{}-{number}", process::id());
        let address = SocketAddr::from_abstract_name(name).map_err(Missing::refused("bind"))?;
        let listener = UnixListener::bind_addr(&address).map_err(Missing::refused("bind"))?;
        Ok(Self::Unix(listener, address))
    }

    /// The listener's number.
    pub(super) fn number(&self) -> RawFd {
        match self {
            Self::Tcp(listener) => listener.as_raw_fd(),
            Self::Unix(listener, _) => listener.as_raw_fd(),
        }
    }

    /// The client's end of a new connection.
    pub(super) fn connect(&self) -> Result<OwnedFd, Missing> {
        match self {
            Self::Tcp(listener) => tcp_connect(listener).map(Into::into),
            Self::Unix(_, address) => UnixStream::connect_addr(address)
                .map(Into::into)
                .map_err(Missing::refused("connect")),
        }
    }

    fn take_one(&self) -> Answer {
        let Self::Tcp(listener) = self else { return Ok(()) };
        tcp_accept(listener).map(drop)
    }
}

impl From<Listening> for OwnedFd {
    fn from(listening: Listening) -> Self {
        match listening {
            Listening::Tcp(listener) => listener.into(),
            Listening::Unix(listener, _) => listener.into(),
        }
    }
}

/// Two sockets that are connected by TCP over the loopback interface.
pub(super) fn tcp_pair() -> Result<(OwnedFd, OwnedFd), Missing> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Missing::refused("bind"))?;
    let client = tcp_connect(&listener)?;
    Ok((client.into(), tcp_accept(&listener)?.into()))
}

fn tcp_connect(listener: &TcpListener) -> Result<TcpStream, Missing> {
    let connected =
        listener.local_addr().and_then(|address| TcpStream::connect_timeout(&address, PATIENCE));
    connected.map_err(Missing::refused("connect over the loopback interface"))
}

fn tcp_accept(listener: &TcpListener) -> Result<TcpStream, Missing> {
    await_readable(listener.as_raw_fd(), "a connection")?;
    listener.accept().map(|(stream, _)| stream).map_err(Missing::refused("accept"))
}

/// Waits until a descriptor is readable; whether it is.
pub(super) fn wait_readable(number: RawFd, longest: Duration) -> io::Result<bool> {
    let mut watched = libc::pollfd { fd: number, events: libc::POLLIN, revents: 0 };
    let milliseconds = i32::try_from(longest.as_millis()).unwrap_or(i32::MAX).max(1);
    // SAFETY: the pointer is to one struct that lives through the call.
    match unsafe { libc::poll(&raw mut watched, 1, milliseconds) } {
        -1 => Err(io::Error::last_os_error()),
        ready => Ok(ready > 0),
    }
}

fn await_readable(number: RawFd, what: &str) -> Answer {
    let ready = loop {
        match wait_readable(number, PATIENCE) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            ready => break ready.map_err(Missing::refused("poll"))?,
        }
    };
    require(ready, format!("{what} never came"))
}

/// Sends a few bytes, for which there is room.
pub(super) fn tell(number: RawFd, bytes: &[u8]) -> Answer {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the pointer and the length are those of a slice.
    let sent = unsafe { libc::send(number, bytes.as_ptr().cast(), bytes.len(), flags) };
    if sent == -1 {
        return Err(Missing::refused("send")(io::Error::last_os_error()));
    }
    require(sent == bytes.len() as isize, format!("{sent} of {} bytes were sent", bytes.len()))
}

/// Receives so many bytes, or all until the end of the stream.
pub(super) fn hear(number: RawFd, length: usize) -> Result<Vec<u8>, Missing> {
    let mut heard = vec![0; length];
    let mut filled = 0;
    while filled < length {
        await_readable(number, "what was sent")?;
        let rest = &mut heard[filled..];
        // SAFETY: the pointer and the length are those of a slice.
        let count =
            unsafe { libc::recv(number, rest.as_mut_ptr().cast(), rest.len(), libc::MSG_DONTWAIT) };
        match count {
            -1 => return Err(Missing::refused("recv")(io::Error::last_os_error())),
            0 => break,
            count => filled += count as usize,
        }
    }
    heard.truncate(filled);
    Ok(heard)
}

/// What must have been sent has been.
pub(super) fn must_hear(number: RawFd, expected: &[u8]) -> Answer {
    let heard = hear(number, expected.len())?;
    require(heard == expected, format!("the peer received {} other bytes", heard.len()))
}

/// The peer must have ended the stream.
pub(super) fn must_end(number: RawFd) -> Answer {
    require(hear(number, 1)?.is_empty(), "the peer received bytes in place of the end")
}

/// Ends both directions, so that whatever waits on the socket waits no more.
pub(super) fn shut(number: RawFd) {
    // SAFETY: the call takes numbers alone. If it fails, nothing was connected.
    unsafe { libc::shutdown(number, libc::SHUT_RDWR) };
}

/// Another number for the same socket.
pub(super) fn duplicate(number: RawFd) -> Result<OwnedFd, Missing> {
    // SAFETY: trials pass numbers of sockets that they keep open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned().map_err(Missing::refused("dup"))
}
