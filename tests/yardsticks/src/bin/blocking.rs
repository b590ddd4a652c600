//! The floor of bare sockets: one connection after the other, each call waits.
//!
//! Connections that persist are not for it: it would serve one of them and nobody else.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::ptr;

use clap::Parser;
use ringpoll_yardsticks::{Listening, answer, close, is_whole, receive, send, shut_down};

/// A loop of accept, recv, send and close.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    listening: Listening,
    /// The end of the stream leaves with the answer (MSG_MORE).
    #[arg(long)]
    send_more: bool,
    /// shutdown(2) before the close.
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
            if is_whole(&buffer[..length]) {
                send(fd, answer(false), flags);
                break;
            }
        }
        if arguments.shutdown {
            shut_down(fd);
        }
        // SAFETY: it was accepted here, and is forgotten now.
        unsafe { close(fd) };
    }
}

fn accept(listener: &TcpListener) -> Option<i32> {
    // SAFETY: the peer's address is not asked for.
    let fd = unsafe { libc::accept(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut()) };
    (fd >= 0).then_some(fd)
}
