//! Servers on other foundations, as small as they can be, with ringpoll's answer and its life.
//!
//! | program | foundation | lives |
//! |---|---|---|
//! | `blocking` | the bare-socket floor: accept, recv, send, close, each call waits | one connection a request |
//! | `bare_epoll` | epoll with the calls of the documents, level or edge triggered | both |
//! | `mio_server`, `tokio_server` | those libraries, on epoll | both |
//! | `monoio_server` | that library, on io_uring | both |
//! | `nginx_server` | nginx, with a configuration made for it | both |
//!
//! Each takes the port to listen on, and flags for what it shares with the servers that it is
//! compared with; a flag that means nothing to a program is refused. All have one thread (nginx one
//! worker), and take a piece that ends like a request for one: they are asked by load generators
//! that send requests whole, one at a time on a connection.

pub mod program;

use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use clap::Args;

/// What ringpoll answers, to the byte.
pub const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nDate: Mon, 1 Jan 1996 01:01:01 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

/// What ringpoll answers on a connection that persists, to the byte.
pub const PERSISTENT_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Mon, 1 Jan 1996 01:01:01 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

/// Connections that may wait to be accepted, as ringpoll's by default.
const BACKLOG: i32 = 4096;

/// Where to listen, and how.
#[derive(Args, Clone, Copy, Debug)]
pub struct Listening {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// A connection is there to be accepted when its first bytes are (TCP_DEFER_ACCEPT, 1 s).
    #[arg(long)]
    pub defer_accept: bool,
}

impl Listening {
    /// A socket that listens.
    ///
    /// # Panics
    /// When the port cannot be had.
    pub fn listen(self) -> TcpListener {
        // SAFETY: socket takes no pointers.
        let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) });
        set(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1);
        if self.defer_accept {
            set(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1);
        }
        // Connections inherit it. An answer is one segment, and so is sent at once in any case.
        set(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
        let name = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: self.port.to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
            sin_zero: [0; 8],
        };
        let length = size_of::<libc::sockaddr_in>() as u32;
        // SAFETY: the address has this length and lives through the call.
        check(unsafe { libc::bind(fd, (&raw const name).cast(), length) });
        // SAFETY: listen takes no pointers.
        check(unsafe { libc::listen(fd, BACKLOG) });
        // SAFETY: the socket was made here, and nobody else knows it.
        TcpListener::from(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

fn set(fd: RawFd, level: i32, name: i32, value: i32) {
    let length = size_of::<i32>() as u32;
    let value = (&raw const value).cast();
    // SAFETY: the value has this length and lives through the call.
    check(unsafe { libc::setsockopt(fd, level, name, value, length) });
}

/// The result of a call that must succeed.
///
/// # Panics
/// When it has not.
pub fn check(result: i32) -> i32 {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result
}

/// The answer on a connection of either life.
pub const fn answer(keep_alive: bool) -> &'static [u8] {
    if keep_alive { PERSISTENT_ANSWER } else { ANSWER }
}

/// Whether a request ends here.
pub fn is_whole(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\r\n\r\n")
}

/// recv(2) into this buffer.
pub fn receive(fd: RawFd, buffer: &mut [u8]) -> isize {
    // SAFETY: the buffer has this length and lives through the call.
    unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) }
}

/// send(2) of these bytes. The answers are far shorter than what a socket takes at once.
pub fn send(fd: RawFd, bytes: &[u8], flags: i32) -> isize {
    // SAFETY: the bytes have this length and live through the call.
    unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags | libc::MSG_NOSIGNAL) }
}

/// shutdown(2) of both directions. A peer that has gone is no concern of ours.
pub fn shut_down(fd: RawFd) {
    // SAFETY: shutdown takes no pointers.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// close(2).
///
/// # Safety
/// The descriptor belongs to the caller, who does not use it any more.
pub unsafe fn close(fd: RawFd) {
    // SAFETY: the caller vouches for it.
    unsafe { libc::close(fd) };
}
