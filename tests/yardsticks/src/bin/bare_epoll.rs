//! A bare epoll loop with the calls of the documents, and nothing else: `PORT level` or
//! `PORT edge` as the first two arguments would be too many words, so edge triggering is its own
//! flag in the environment: `EDGE=1`.

use std::os::fd::AsRawFd;
use std::ptr;

use ringpoll_yardsticks::{Options, check, is_whole};

fn main() {
    let edge = std::env::var_os("EDGE").is_some();
    let trigger = if edge { libc::EPOLLET as u32 } else { 0 };
    let (options, epoll) = (Options::read(), check(unsafe { libc::epoll_create1(0) }));
    let listener = options.listen();
    listener.set_nonblocking(true).unwrap();
    let listening = listener.as_raw_fd();
    let control = |what, fd, events: i32| {
        let mut event = libc::epoll_event { events: events as u32 | trigger, u64: fd as u64 };
        unsafe { libc::epoll_ctl(epoll, what, fd, &mut event) };
    };
    control(libc::EPOLL_CTL_ADD, listening, libc::EPOLLIN);
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 1023];
    let mut buffer = [0u8; 1024];
    loop {
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 1023, 1000) };
        for event in &events[..count.max(0) as usize] {
            let (fd, happened) = (event.u64 as i32, event.events as i32);
            if fd == listening {
                loop {
                    let mut name: libc::sockaddr_in = unsafe { std::mem::zeroed() };
                    let mut length = size_of::<libc::sockaddr_in>() as u32;
                    let (name, flags) = (ptr::from_mut(&mut name).cast(), libc::SOCK_NONBLOCK);
                    let new = unsafe { libc::accept4(listening, name, &mut length, flags) };
                    if new < 0 {
                        break;
                    }
                    control(libc::EPOLL_CTL_ADD, new, libc::EPOLLIN);
                    if !edge {
                        break;
                    }
                }
            } else if happened & libc::EPOLLIN != 0 {
                let mut whole = false;
                loop {
                    let got = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), 1024, 0) };
                    if got <= 0 {
                        break;
                    }
                    whole |= is_whole(&buffer[..got as usize]);
                    if !edge {
                        break;
                    }
                }
                if whole {
                    control(libc::EPOLL_CTL_MOD, fd, libc::EPOLLOUT);
                }
            } else if happened & libc::EPOLLOUT != 0 {
                let (answer, flags) = (options.answer(), options.send_flags());
                unsafe { libc::send(fd, answer.as_ptr().cast(), answer.len(), flags) };
                control(libc::EPOLL_CTL_MOD, fd, 0);
                unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
            } else if happened & libc::EPOLLHUP != 0 {
                control(libc::EPOLL_CTL_DEL, fd, 0);
                unsafe { libc::close(fd) };
            }
        }
    }
}
