//! An epoll event loop with the system calls of the reference programs, and nothing else.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::{mem, ptr};

use clap::Parser;
use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLHUP, EPOLLIN, EPOLLOUT};
use ringpoll_competitors::{
    ListenArguments, check, close, ends_request, receive, response, send, shut_down,
};

/// epoll with the system calls of the reference programs.
#[derive(Clone, Copy, Parser)]
struct Arguments {
    #[command(flatten)]
    listening: ListenArguments,
    /// Edge-triggered (EPOLLET): accept and receive until EAGAIN.
    #[arg(long)]
    edge: bool,
    /// Send the response and the FIN in one segment (MSG_MORE).
    #[arg(long)]
    send_more: bool,
    /// Keep connections alive, with one request at a time.
    #[arg(long)]
    keep_alive: bool,
}

/// Maximum events per wait, as in the reference programs.
const EVENTS: usize = 1023;

struct Server {
    epoll: i32,
    listener: TcpListener,
    arguments: Arguments,
    buffer: [u8; 1024],
}

fn main() {
    let arguments = Arguments::parse();
    let listener = arguments.listening.listen();
    listener.set_nonblocking(true).expect("it is a socket");
    // SAFETY: epoll_create1 takes no pointers.
    let epoll = check(unsafe { libc::epoll_create1(0) });
    let mut server = Server { epoll, listener, arguments, buffer: [0; 1024] };
    let listening = server.listener.as_raw_fd();
    server.control(EPOLL_CTL_ADD, listening, EPOLLIN);
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    loop {
        // SAFETY: `events` has room for this number of events.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS as i32, 1000) };
        for event in &events[..count.max(0) as usize] {
            let (fd, happened) = (event.u64 as i32, event.events as i32);
            if fd == listening {
                server.accept();
            } else if happened & EPOLLIN != 0 {
                server.receive(fd);
            } else if happened & EPOLLOUT != 0 {
                server.respond(fd);
            } else if happened & EPOLLHUP != 0 {
                server.control(EPOLL_CTL_DEL, fd, 0);
                // SAFETY: the server accepted it and does not use it again.
                unsafe { close(fd) };
            }
        }
    }
}

impl Server {
    fn control(&self, what: i32, fd: i32, events: i32) {
        let trigger = if self.arguments.edge { libc::EPOLLET } else { 0 };
        let mut event = libc::epoll_event { events: (events | trigger) as u32, u64: fd as u64 };
        // SAFETY: the event is valid during the call.
        unsafe { libc::epoll_ctl(self.epoll, what, fd, &raw mut event) };
    }

    fn accept(&self) {
        loop {
            // The reference programs request the address of the peer.
            // SAFETY: all-zero bytes are a valid sockaddr_in.
            let mut name: libc::sockaddr_in = unsafe { mem::zeroed() };
            let mut length = size_of::<libc::sockaddr_in>() as u32;
            let (name, flags) = (ptr::from_mut(&mut name).cast(), libc::SOCK_NONBLOCK);
            let listener = self.listener.as_raw_fd();
            // SAFETY: `name` has `length` bytes.
            let new = unsafe { libc::accept4(listener, name, &raw mut length, flags) };
            if new < 0 {
                return;
            }
            self.control(EPOLL_CTL_ADD, new, EPOLLIN);
            if !self.arguments.edge {
                return;
            }
        }
    }

    fn receive(&mut self, fd: i32) {
        let (mut is_request, mut is_over) = (false, false);
        loop {
            let count = receive(fd, &mut self.buffer);
            is_over |= count == 0;
            if count <= 0 {
                break;
            }
            is_request |= ends_request(&self.buffer[..count as usize]);
            if !self.arguments.edge {
                break;
            }
        }
        if is_request {
            self.control(EPOLL_CTL_MOD, fd, EPOLLOUT);
        } else if is_over {
            self.end(fd);
        }
    }

    fn respond(&self, fd: i32) {
        let Arguments { keep_alive, send_more, .. } = self.arguments;
        send(fd, response(keep_alive), if send_more { libc::MSG_MORE } else { 0 });
        match keep_alive {
            true => self.control(EPOLL_CTL_MOD, fd, EPOLLIN),
            false => self.end(fd),
        }
    }

    /// Shuts the connection down; EPOLLHUP follows.
    fn end(&self, fd: i32) {
        self.control(EPOLL_CTL_MOD, fd, 0);
        shut_down(fd);
    }
}
