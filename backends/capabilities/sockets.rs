//! Sockets for probes. All waits have a timeout.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{ProbeError, ProbeResult, require};

/// Longest wait for data, a connection or a completion that should arrive at once.
pub(super) const COMPLETION_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn pair() -> ProbeResult<(OwnedFd, OwnedFd)> {
    let (one, other) = UnixStream::pair().map_err(ProbeError::refused("socketpair"))?;
    Ok((one.into(), other.into()))
}

/// Connects two sockets with TCP over the loopback interface.
pub(super) fn tcp_pair() -> ProbeResult<(OwnedFd, OwnedFd)> {
    let connected = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| {
        let client = TcpStream::connect_timeout(&listener.local_addr()?, COMPLETION_TIMEOUT)?;
        Ok((client, listener))
    });
    let (client, listener) =
        connected.map_err(ProbeError::refused("connect over the loopback interface"))?;
    await_readable(listener.as_raw_fd(), "a connection")?;
    let (server, _) = listener.accept().map_err(ProbeError::refused("accept"))?;
    Ok((client.into(), server.into()))
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
