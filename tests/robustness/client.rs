//! Operations of well-behaved peers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use common::{EVENT_TIMEOUT, REQUEST, RESPONSE, wait_until};

/// Connects with timeouts for reads and writes.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, EVENT_TIMEOUT).expect("the server listens");
    stream.set_read_timeout(Some(EVENT_TIMEOUT)).expect("a valid timeout");
    stream.set_write_timeout(Some(EVENT_TIMEOUT)).expect("a valid timeout");
    stream
}

/// Connects and sends `bytes`.
pub(crate) fn connect_and_send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(bytes).expect("room in the send buffer");
    stream
}

/// Receives until the end of the stream.
pub(crate) fn read_to_end(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Sends a request on a new connection and checks the response and the end of the stream.
pub(crate) fn check_served(address: SocketAddr) {
    let stream = connect_and_send(address, REQUEST);
    let got = read_to_end(&stream).expect("a response");
    assert_eq!(got, RESPONSE, "got {}", got.escape_ascii());
}

/// Receives until the server ends the stream with a FIN or an RST.
pub(crate) fn wait_until_closed(mut stream: &TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("no end of stream: {error}"),
        }
    }
}

/// Returns how many written bytes the server's kernel has not acknowledged, also after a reset
/// (tcp(7), SIOCOUTQ).
pub(crate) fn unacknowledged_bytes(stream: &TcpStream) -> usize {
    let mut count = 0;
    // SAFETY: TIOCOUTQ, which is SIOCOUTQ, writes one int, which is valid during the call.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    assert_eq!(result, 0, "SIOCOUTQ: {}", io::Error::last_os_error());
    count as usize
}

/// Waits until the server's kernel has acknowledged every written byte.
pub(crate) fn wait_until_acknowledged(stream: &TcpStream) {
    wait_until("the kernel acknowledges the bytes", || unacknowledged_bytes(stream) == 0);
}

/// Counts the bytes received until the end of the stream.
pub(crate) fn count_to_end(mut peer: &TcpStream) -> usize {
    let (mut got, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match peer.read(&mut buffer).expect("an end of the stream") {
            0 => return got,
            count => got += count,
        }
    }
}
