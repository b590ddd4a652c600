//! The system calls of the documents' two programs, as strace sees them: descriptors by the order
//! of their creation (3 the listener, 4 epoll, 5 the connection), pointers and payload masked.

/// One connection with a request of 27 bytes, level triggered.
pub(crate) const LEVEL: &[&str] = &[
    "epoll_wait(4, [{events=EPOLLIN}], 1023, 1000) = 1",
    ACCEPT4,
    "epoll_ctl(4, EPOLL_CTL_ADD, 5, {events=EPOLLIN}) = 0",
    "epoll_wait(4, [{events=EPOLLIN}], 1023, 1000) = 1",
    "recvfrom(5, BYTES, 1024, 0, NULL, NULL) = 27",
    "epoll_ctl(4, EPOLL_CTL_MOD, 5, {events=EPOLLOUT}) = 0",
    "write(1, BYTES, 66) = 66",
    "write(1, BYTES, 1) = 1",
    "epoll_wait(4, [{events=EPOLLOUT}], 1023, 1000) = 1",
    "sendto(5, BYTES, 114, 0, NULL, 0) = 114",
    "epoll_ctl(4, EPOLL_CTL_MOD, 5, {events=0}) = 0",
    "shutdown(5, SHUT_RDWR) = 0",
    "epoll_wait(4, [{events=EPOLLHUP}], 1023, 1000) = 1",
    "epoll_ctl(4, EPOLL_CTL_DEL, 5, PTR) = 0",
    "close(5) = 0",
];

/// The same, edge triggered.
pub(crate) const EDGE: &[&str] = &[
    "epoll_wait(4, [{events=EPOLLIN}], 1023, 1000) = 1",
    ACCEPT4,
    "epoll_ctl(4, EPOLL_CTL_ADD, 5, {events=EPOLLIN|EPOLLET}) = 0",
    "accept4(3, PTR, [16], SOCK_CLOEXEC|SOCK_NONBLOCK) \
     = -1 EAGAIN (Resource temporarily unavailable)",
    "epoll_wait(4, [{events=EPOLLIN}], 1023, 1000) = 1",
    "recvfrom(5, BYTES, 1024, 0, NULL, NULL) = 27",
    "recvfrom(5, PTR, 1024, 0, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable)",
    "epoll_ctl(4, EPOLL_CTL_MOD, 5, {events=EPOLLOUT|EPOLLET}) = 0",
    "write(1, BYTES, 66) = 66",
    "write(1, BYTES, 1) = 1",
    "epoll_wait(4, [{events=EPOLLOUT}], 1023, 1000) = 1",
    "sendto(5, BYTES, 114, 0, NULL, 0) = 114",
    "epoll_ctl(4, EPOLL_CTL_MOD, 5, {events=EPOLLET}) = 0",
    "shutdown(5, SHUT_RDWR) = 0",
    "epoll_wait(4, [{events=EPOLLHUP}], 1023, 1000) = 1",
    "epoll_ctl(4, EPOLL_CTL_DEL, 5, PTR) = 0",
    "close(5) = 0",
];

/// The one allowed difference: the documents make the connection non-blocking with a call of its
/// own, `ioctl(5, FIONBIO, [1])`; here `SOCK_NONBLOCK` does it in the same one.
const ACCEPT4: &str = "accept4(3, {sa_family=AF_INET, sin_port=PORT, sin_addr=inet_addr(BYTES)}, \
                       [16], SOCK_CLOEXEC|SOCK_NONBLOCK) = 5";

/// What a wait looks like when a second has passed and nothing has happened. How many there are
/// depends on the clock alone.
pub(crate) const TICK: &str = "epoll_wait(4, [], 1023, 1000) = 0";

/// A call before the first connection.
pub(crate) enum SetUp {
    /// One that the documents make.
    Documents(&'static str),
    /// One that only this server makes.
    Deviation { call: &'static str, purpose: &'static str },
}

use SetUp::{Deviation, Documents};

/// All calls that make or name the listener, epoll or the stop, level triggered, up to the first
/// wait.
pub(crate) const SET_UP_LEVEL: &[SetUp] = &[
    STOP_MADE,
    Documents(SOCKET),
    Documents(REUSE_ADDRESS),
    Documents(BIND),
    Documents("listen(3, 1) = 0"),
    REAL_PORT,
    Documents("ioctl(3, FIONBIO, [1]) = 0"),
    Documents("epoll_create1(EPOLL_CLOEXEC) = 4"),
    Documents("epoll_ctl(4, EPOLL_CTL_ADD, 3, {events=EPOLLIN}) = 0"),
    Deviation { call: "epoll_ctl(4, EPOLL_CTL_ADD, stop, {events=EPOLLIN}) = 0", purpose: WAKES },
];

/// The same, edge triggered.
pub(crate) const SET_UP_EDGE: &[SetUp] = &[
    STOP_MADE,
    Documents(SOCKET),
    Documents(REUSE_ADDRESS),
    Documents(BIND),
    Documents("listen(3, 1) = 0"),
    REAL_PORT,
    Documents("ioctl(3, FIONBIO, [1]) = 0"),
    Documents("epoll_create1(EPOLL_CLOEXEC) = 4"),
    Documents("epoll_ctl(4, EPOLL_CTL_ADD, 3, {events=EPOLLIN|EPOLLET}) = 0"),
    Deviation {
        call: "epoll_ctl(4, EPOLL_CTL_ADD, stop, {events=EPOLLIN|EPOLLET}) = 0",
        purpose: WAKES,
    },
];

const STOP_MADE: SetUp = Deviation {
    call: "eventfd2(0, EFD_CLOEXEC|EFD_NONBLOCK) = stop",
    purpose: "a signal asks for the stop through it",
};
const REAL_PORT: SetUp = Deviation {
    call: "getsockname(3, {sa_family=AF_INET, sin_port=PORT, sin_addr=inet_addr(BYTES)}, \
           [128 => 16]) = 0",
    purpose: "the start line says the real port",
};
const WAKES: &str = "the stop wakes a loop that waits for nothing but quiet clients";
const SOCKET: &str = "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 3";
const REUSE_ADDRESS: &str = "setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0";
const BIND: &str = "bind(3, {sa_family=AF_INET, sin_port=PORT, sin_addr=inet_addr(BYTES)}, 16) = 0";
