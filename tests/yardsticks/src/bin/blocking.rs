//! The floor of bare sockets: one connection after the other, each call waits.

use std::os::fd::AsRawFd;
use std::ptr;

use ringpoll_yardsticks::{Options, is_whole};

fn main() {
    let options = Options::read();
    let listener = options.listen();
    let (answer, flags) = (options.answer(), options.send_flags());
    let mut buffer = [0u8; 1024];
    loop {
        let fd = unsafe { libc::accept(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut()) };
        if fd < 0 {
            continue;
        }
        let mut length = 0;
        loop {
            let (start, room) = (buffer[length..].as_mut_ptr(), buffer.len() - length);
            let count = unsafe { libc::recv(fd, start.cast(), room, 0) };
            if count <= 0 {
                break;
            }
            length += count as usize;
            if is_whole(&buffer[..length]) || length == buffer.len() {
                unsafe { libc::send(fd, answer.as_ptr().cast(), answer.len(), flags) };
                break;
            }
        }
        if options.shutdown {
            unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
        }
        unsafe { libc::close(fd) };
    }
}
