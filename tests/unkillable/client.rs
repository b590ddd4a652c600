//! The peers: well behaved, slow, silent, and those that never stop.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use crate::common::{PATIENCE, REQUEST, RESPONSE, wait_until};

/// A connection on which nothing waits for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a length of time");
    stream.set_write_timeout(Some(PATIENCE)).expect("a length of time");
    stream
}

/// A connection that has sent these bytes.
pub(crate) fn connect_and_send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(bytes).expect("room for so little");
    stream
}

/// Everything that comes until the end of the stream.
pub(crate) fn read_to_end(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A whole request that gets exactly the response, and the end of the stream after it.
pub(crate) fn is_served(address: SocketAddr) {
    let stream = connect_and_send(address, REQUEST);
    let answer = read_to_end(&stream).expect("an answer");
    assert_eq!(answer, RESPONSE, "got {}", answer.escape_ascii());
}

/// Waits until the other side ends the stream, however it does that.
pub(crate) fn is_ended(mut stream: &TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("no end within {PATIENCE:?}: {error}"),
        }
    }
}

/// How many of the bytes written have not been acknowledged by the server's kernel, even if the
/// connection has been reset meanwhile: at 0 all of them have been received (tcp(7), SIOCOUTQ).
pub(crate) fn unacknowledged(stream: &TcpStream) -> usize {
    let mut count = 0;
    // SAFETY: TIOCOUTQ, which is SIOCOUTQ, writes one int, which lives through the call.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    assert_eq!(result, 0, "SIOCOUTQ: {}", io::Error::last_os_error());
    count as usize
}

/// Waits until the server's kernel has received every byte that was written.
pub(crate) fn wait_until_received(stream: &TcpStream) {
    wait_until("the kernel acknowledges what was sent", || unacknowledged(stream) == 0);
}

/// How many bytes come until the end of the stream.
pub(crate) fn count_to_end(mut peer: &TcpStream) -> usize {
    let (mut got, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match peer.read(&mut buffer).expect("an end of the stream") {
            0 => return got,
            count => got += count,
        }
    }
}
