//! A minimal server with blocking sockets: one connection after the other.
//!
//! It has no keep-alive: one such connection would block all others.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::ptr;

use clap::Parser;
use ringpoll_competitors::{
    ListenArguments, close, ends_request, receive, response, send, shut_down,
};

/// A loop of accept, recv, send and close.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    listening: ListenArguments,
    /// Send the response and the FIN in one segment (MSG_MORE).
    #[arg(long)]
    send_more: bool,
    /// Call shutdown(2) before close(2).
    #[arg(long)]
    shutdown: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let listener = arguments.listening.listen();
    let flags = if arguments.send_more { libc::MSG_MORE } else { 0 };
    let mut buffer = [0; 1024];
    loop {
        let Some(fd) = accept(&listener) else { continue };
        let mut length = 0;
        loop {
            let count = receive(fd, &mut buffer[length..]);
            if count <= 0 {
                break;
            }
            length += count as usize;
            if ends_request(&buffer[..length]) {
                send(fd, response(false), flags);
                break;
            }
        }
        if arguments.shutdown {
            shut_down(fd);
        }
        // SAFETY: the server accepted it and does not use it again.
        unsafe { close(fd) };
    }
}

fn accept(listener: &TcpListener) -> Option<i32> {
    // SAFETY: null pointers mean that the address of the peer is not requested.
    let fd = unsafe { libc::accept(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut()) };
    (fd >= 0).then_some(fd)
}
