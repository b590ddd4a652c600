//! Minimal servers on other libraries, with the response of ringpoll.
//!
//! | program | library | keep-alive |
//! |---|---|---|
//! | `blocking` | blocking sockets: accept, recv, send, close | no |
//! | `bare_epoll` | epoll with the system calls of the reference programs | optional |
//! | `mio_server`, `tokio_server` | mio, tokio (epoll) | optional |
//! | `monoio_server` | monoio (io_uring) | optional |
//! | `nginx_server` | nginx with a generated configuration | optional |
//!
//! `benchmark` compares these with ringpoll, and `redis` the key-value server among the examples of
//! the library with redis-server.
//!
//! Each takes a port and flags for the options that it shares with the servers in the same
//! comparison; other flags are errors. All have one thread (nginx one worker). They do not parse
//! requests: a read that ends with an empty line is a request, since the load generators send each
//! request whole and one at a time on a connection.

pub mod program;

use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use clap::Args;

/// Response of ringpoll.
pub const RESPONSE: &[u8] = b"HTTP/1.0 200 OK\r\nDate: Mon, 1 Jan 1996 01:01:01 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

/// Response of ringpoll on a keep-alive connection.
pub const KEEP_ALIVE_RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Mon, 1 Jan 1996 01:01:01 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";

/// The default backlog of ringpoll.
const BACKLOG: i32 = 4096;

/// Arguments of the listening socket.
#[derive(Args, Clone, Copy, Debug)]
pub struct ListenArguments {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Accept a connection when its first bytes arrive (TCP_DEFER_ACCEPT, 1 s).
    #[arg(long)]
    pub defer_accept: bool,
}

impl ListenArguments {
    /// Returns a listening socket.
    ///
    /// # Panics
    /// If binding the port fails.
    pub fn listen(self) -> TcpListener {
        // SAFETY: socket takes no pointers.
        let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) });
        set(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1);
        if self.defer_accept {
            set(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1);
        }
        // Connections inherit it. It has no effect, since a response is one segment.
        set(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
        let name = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: self.port.to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
            sin_zero: [0; 8],
        };
        let length = size_of::<libc::sockaddr_in>() as u32;
        // SAFETY: the address has this length and is valid during the call.
        check(unsafe { libc::bind(fd, (&raw const name).cast(), length) });
        // SAFETY: listen takes no pointers.
        check(unsafe { libc::listen(fd, BACKLOG) });
        // SAFETY: this function created the socket and has no other use of it.
        TcpListener::from(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

fn set(fd: RawFd, level: i32, name: i32, value: i32) {
    let length = size_of::<i32>() as u32;
    let value = (&raw const value).cast();
    // SAFETY: the value has this length and is valid during the call.
    check(unsafe { libc::setsockopt(fd, level, name, value, length) });
}

/// Returns the result of a system call.
///
/// # Panics
/// If the call failed.
pub fn check(result: i32) -> i32 {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result
}

/// Returns the response, with or without keep-alive.
pub const fn response(keep_alive: bool) -> &'static [u8] {
    if keep_alive { KEEP_ALIVE_RESPONSE } else { RESPONSE }
}

/// Returns true if `bytes` end with the empty line of a request head.
pub fn ends_request(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\r\n\r\n")
}

/// Calls recv(2).
pub fn receive(fd: RawFd, buffer: &mut [u8]) -> isize {
    // SAFETY: the buffer has this length and is valid during the call.
    unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) }
}

/// Calls send(2). The responses fit into any send buffer.
pub fn send(fd: RawFd, bytes: &[u8], flags: i32) -> isize {
    // SAFETY: the slice has this length and is valid during the call.
    unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags | libc::MSG_NOSIGNAL) }
}

/// Calls shutdown(2) for both directions and ignores errors.
pub fn shut_down(fd: RawFd) {
    // SAFETY: shutdown takes no pointers.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Calls close(2).
///
/// # Safety
/// The caller owns the descriptor and does not use it again.
pub unsafe fn close(fd: RawFd) {
    // SAFETY: as required of the caller.
    unsafe { libc::close(fd) };
}
