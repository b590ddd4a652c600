//! A peer of the server: well behaved unless it is asked not to be. Nothing waits for ever.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::{PATIENCE, REQUEST, wait_until};

/// How a stream ended, as the client that reads it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a FIN.
    Finished,
    /// With an RST.
    Reset,
}

/// Everything that came, and how it ended.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
}

impl Exchange {
    /// These bytes, and then a FIN.
    pub(crate) fn finished(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), end: End::Finished }
    }

    /// These bytes, and then an RST.
    pub(crate) fn reset(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), end: End::Reset }
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let beginning = &self.bytes[..self.bytes.len().min(300)];
        let (length, beginning) = (self.bytes.len(), beginning.escape_ascii());
        write!(formatter, "{:?} after {length} bytes: {beginning}", self.end)
    }
}

/// One connection. Dropped, it is closed.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens");
        Self::new(stream)
    }

    /// A client whose kernel takes only so many bytes that it does not read (about twice as many:
    /// the kernel doubles what it is told).
    pub(crate) fn connect_with_receive_buffer(address: SocketAddr, bytes: usize) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.expect("a descriptor");
        // Before connecting: the window that it allows is told in the handshake.
        socket.set_recv_buffer_size(bytes).expect("a size");
        socket.connect_timeout(&address.into(), PATIENCE).expect("the server listens");
        Self::new(socket.into())
    }

    fn new(stream: TcpStream) -> Self {
        // Every piece goes out as it is.
        stream.set_nodelay(true).expect("a TCP stream");
        stream.set_read_timeout(Some(PATIENCE)).expect("a length of time");
        stream.set_write_timeout(Some(PATIENCE)).expect("a length of time");
        Self { stream }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes it");
    }

    /// Sends what nobody need be there for any more, and says whether somebody was.
    pub(crate) fn sends_if_taken(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write_all(bytes) {
            Ok(()) => true,
            Err(error) if is_gone(&error) => false,
            Err(error) => panic!("sending: {error}"),
        }
    }

    /// Sends one byte as urgent data (tcp(7)): it stands beside the stream, not in it.
    pub(crate) fn send_urgent(&mut self, byte: u8) {
        let sent = SockRef::from(&self.stream).send_out_of_band(&[byte]).expect("it is taken");
        assert_eq!(sent, 1);
    }

    /// Says that nothing follows, and still listens.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the server is still there");
    }

    /// The same where the server may be gone already.
    pub(crate) fn half_close_if_open(&self) {
        match self.stream.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => panic!("half-close: {error}"),
            _ => {}
        }
    }

    /// Ends with an RST instead of a FIN.
    pub(crate) fn reset(self) {
        let linger = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        linger.expect("a TCP stream");
    }

    /// Everything until the end of the stream.
    pub(crate) fn read_to_end(&mut self) -> Exchange {
        let mut bytes = Vec::new();
        let end = match self.stream.read_to_end(&mut bytes) {
            Ok(_) => End::Finished,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
            Err(error) => {
                panic!("no end within {PATIENCE:?}, after {} bytes: {error}", bytes.len())
            }
        };
        Exchange { bytes, end }
    }

    /// Exactly so many bytes, which must come before the end.
    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("so many bytes");
        bytes
    }

    /// Waits until so many bytes have come, and leaves them there.
    pub(crate) fn wait_for(&self, count: usize) {
        let mut buffer = vec![0; count];
        wait_until("so many bytes have come", || {
            self.stream.peek(&mut buffer).expect("bytes") == count
        });
    }

    /// Throws away what has come so far.
    pub(crate) fn take_what_is_there(&mut self) {
        self.stream.set_nonblocking(true).expect("a TCP stream");
        let mut buffer = [0; 4096];
        while matches!(self.stream.read(&mut buffer), Ok(1..)) {}
        self.stream.set_nonblocking(false).expect("a TCP stream");
    }

    /// One whole request, and everything that answers it.
    pub(crate) fn request(address: SocketAddr) -> Exchange {
        let mut client = Self::connect(address);
        client.send(REQUEST);
        client.read_to_end()
    }

    /// Whether an RST has come behind the FIN that ended the stream.
    pub(crate) fn was_reset_after_its_end(&self) -> bool {
        match self.stream.take_error().expect("SO_ERROR can be asked for") {
            Some(error) if is_gone(&error) => true,
            Some(error) => panic!("neither open nor reset: {error}"),
            None => false,
        }
    }
}

/// Whether the peer has gone away.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}
