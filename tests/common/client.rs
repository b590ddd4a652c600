//! A TCP client that can also misbehave. Every operation has a timeout.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::{EVENT_TIMEOUT, REQUEST, wait_until};

/// End of a stream as the reading client observes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// A FIN: orderly.
    Fin,
    /// An RST.
    Reset,
}

/// Bytes received until the end of the stream.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceivedStream {
    pub bytes: Vec<u8>,
    pub end: StreamEnd,
}

impl ReceivedStream {
    /// Returns `bytes` followed by a FIN.
    pub fn with_fin(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), end: StreamEnd::Fin }
    }

    /// Returns `bytes` followed by an RST.
    pub fn with_reset(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), end: StreamEnd::Reset }
    }
}

impl std::fmt::Debug for ReceivedStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = &self.bytes[..self.bytes.len().min(300)];
        let (length, start) = (self.bytes.len(), start.escape_ascii());
        write!(formatter, "{:?} after {length} bytes: {start}", self.end)
    }
}

/// One connection, which is closed when it is dropped.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream =
            TcpStream::connect_timeout(&address, EVENT_TIMEOUT).expect("the server listens");
        Self::new(stream)
    }

    /// Connects. There is no client if the server reset the connection before `connect` returned:
    /// a fault may hit one as soon as it is accepted.
    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        Self::try_connect_by(socket.expect("a descriptor"), address)
    }

    /// Connects from an address of this host, and returns the port of the client as well. It is
    /// bound before it connects, since a socket that failed to connect has no port; no other
    /// clients should use the source, since a bound port is not shared.
    pub fn try_connect_from(source: Ipv4Addr, address: SocketAddr) -> (u16, Option<Self>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("a free port");
        let bound = socket.local_addr().expect("it is bound").as_socket().expect("an IP address");
        (bound.port(), Self::try_connect_by(socket, address))
    }

    fn try_connect_by(socket: Socket, address: SocketAddr) -> Option<Self> {
        match socket.connect_timeout(&address.into(), EVENT_TIMEOUT) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            connected => {
                connected.expect("the server listens");
                Some(Self::new(socket.into()))
            }
        }
    }

    /// Connects with a receive buffer of `bytes`, which the kernel doubles (socket(7), SO_RCVBUF).
    pub fn connect_with_receive_buffer(address: SocketAddr, bytes: usize) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.expect("a descriptor");
        // Set before connecting, since the handshake negotiates the window scale.
        socket.set_recv_buffer_size(bytes).expect("a valid size");
        socket.connect_timeout(&address.into(), EVENT_TIMEOUT).expect("the server listens");
        Self::new(socket.into())
    }

    fn new(stream: TcpStream) -> Self {
        // Each write is one segment.
        stream.set_nodelay(true).expect("a TCP stream");
        stream.set_read_timeout(Some(EVENT_TIMEOUT)).expect("a valid timeout");
        stream.set_write_timeout(Some(EVENT_TIMEOUT)).expect("a valid timeout");
        Self { stream }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server accepts the bytes");
    }

    /// Sends bytes unless the server has closed the connection; returns whether they were sent.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write_all(bytes) {
            Ok(()) => true,
            Err(error) if is_disconnect(&error) => false,
            Err(error) => panic!("sending: {error}"),
        }
    }

    /// Sends one byte as urgent data (tcp(7)), which is not part of the stream.
    pub fn send_urgent(&mut self, byte: u8) {
        let sent =
            SockRef::from(&self.stream).send_out_of_band(&[byte]).expect("room for one byte");
        assert_eq!(sent, 1);
    }

    /// Shuts down the send side and can still receive.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Shuts down the send side unless the server has reset the connection.
    pub fn try_half_close(&self) {
        match self.stream.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => panic!("half-close: {error}"),
            _ => {}
        }
    }

    /// Closes the connection with an RST instead of a FIN.
    pub fn reset(self) {
        let linger = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        linger.expect("a TCP stream");
    }

    /// Receives until the end of the stream.
    pub fn read_to_end(&mut self) -> ReceivedStream {
        self.read_at_most(usize::MAX)
    }

    /// Receives `count` bytes, or until the end of the stream. After `count` bytes the end is
    /// [`StreamEnd::Fin`].
    pub fn read_at_most(&mut self, count: usize) -> ReceivedStream {
        let mut bytes = Vec::new();
        let end = match (&self.stream).take(count as u64).read_to_end(&mut bytes) {
            Ok(_) => StreamEnd::Fin,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => StreamEnd::Reset,
            Err(error) => panic!("no end of stream after {} bytes: {error}", bytes.len()),
        };
        ReceivedStream { bytes, end }
    }

    /// Receives exactly `count` bytes.
    pub fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("more bytes before the end of the stream");
        bytes
    }

    /// Waits until `count` bytes are readable, and leaves them in the receive buffer.
    pub fn wait_until_readable(&self, count: usize) {
        let mut buffer = vec![0; count];
        wait_until("the bytes are readable", || {
            self.stream.peek(&mut buffer).expect("an open connection") == count
        });
    }

    /// Reads and discards the bytes received so far.
    pub fn discard_received(&mut self) {
        self.stream.set_nonblocking(true).expect("a TCP stream");
        let mut buffer = [0; 4096];
        while matches!(self.stream.read(&mut buffer), Ok(1..)) {}
        self.stream.set_nonblocking(false).expect("a TCP stream");
    }

    /// Sends [`REQUEST`] on a new connection and receives until the end of the stream.
    pub fn request(address: SocketAddr) -> ReceivedStream {
        let mut client = Self::connect(address);
        client.send(REQUEST);
        client.read_to_end()
    }

    /// Returns whether an RST arrived after the FIN that ended the stream.
    pub fn was_reset_after_fin(&self) -> bool {
        match self.stream.take_error().expect("SO_ERROR can be read") {
            Some(error) if is_disconnect(&error) => true,
            Some(error) => panic!("neither open nor reset: {error}"),
            None => false,
        }
    }
}

fn is_disconnect(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}
