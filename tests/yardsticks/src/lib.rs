//! What all yardsticks have in common: the answer, and a listener with the socket options that the
//! server under comparison has.
//!
//! Each takes `PORT` and then any of `defer` (TCP_DEFER_ACCEPT), `more` (MSG_MORE), `shutdown`
//! (shutdown(2) before the close) and `keep-alive`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, RawFd};

/// What ringpoll answers, to the byte.
pub const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nDate: Mon, 1 Jan 1996 01:01:01 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

/// The same on a connection that persists.
pub const PERSISTENT_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

/// The command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub port: u16,
    pub defer: bool,
    pub more: bool,
    pub shutdown: bool,
    pub keep_alive: bool,
}

impl Options {
    pub fn read() -> Self {
        let mut options = Self::default();
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "defer" => options.defer = true,
                "more" => options.more = true,
                "shutdown" => options.shutdown = true,
                "keep-alive" => options.keep_alive = true,
                port => options.port = port.parse().expect("PORT, defer, more, shutdown, keep-alive"),
            }
        }
        options
    }

    pub fn answer(&self) -> &'static [u8] {
        if self.keep_alive { PERSISTENT_ANSWER } else { ANSWER }
    }

    pub fn send_flags(&self) -> i32 {
        libc::MSG_NOSIGNAL | if self.more { libc::MSG_MORE } else { 0 }
    }

    /// A socket that listens on loopback.
    pub fn listen(&self) -> TcpListener {
        let address: SocketAddr = ([127, 0, 0, 1], self.port).into();
        let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) });
        set(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1);
        if self.defer {
            set(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1);
        }
        if self.keep_alive {
            set(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
        }
        let name = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: address.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
            sin_zero: [0; 8],
        };
        let length = size_of::<libc::sockaddr_in>() as u32;
        check(unsafe { libc::bind(fd, (&raw const name).cast(), length) });
        check(unsafe { libc::listen(fd, 4096) });
        unsafe { TcpListener::from_raw_fd(fd) }
    }
}

fn set(fd: RawFd, level: i32, name: i32, value: i32) {
    let length = size_of::<i32>() as u32;
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) });
}

/// The result of a call that must succeed.
pub fn check(result: i32) -> i32 {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result
}

/// Whether a request ends here.
pub fn is_whole(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\r\n\r\n")
}
