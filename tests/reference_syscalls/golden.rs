//! The system calls of the two reference programs, as traced by strace: descriptors numbered in
//! order of creation (3 the listener, 4 epoll, 5 the connection), pointers and payload masked.

/// One connection with a request of 27 bytes, level-triggered.
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

/// One connection with a request of 27 bytes, edge-triggered.
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

/// The only allowed difference: the reference programs make the connection non-blocking with
/// `ioctl(5, FIONBIO, [1])`; the server passes `SOCK_NONBLOCK` to accept4.
const ACCEPT4: &str = "accept4(3, {sa_family=AF_INET, sin_port=PORT, sin_addr=inet_addr(BYTES)}, \
                       [16], SOCK_CLOEXEC|SOCK_NONBLOCK) = 5";

/// A wait that timed out after a second. Their number depends only on the clock.
pub(crate) const IDLE_WAIT: &str = "epoll_wait(4, [], 1023, 1000) = 0";

/// A system call before the first connection.
pub(crate) enum ExpectedSetup {
    /// A call of the reference programs.
    Reference(&'static str),
    /// A call that only this server makes.
    Deviation { call: &'static str, purpose: &'static str },
}

use ExpectedSetup::{Deviation, Reference};

/// All calls up to the first wait that create or use the listener, epoll or the stop eventfd,
/// level-triggered.
pub(crate) const SETUP_LEVEL: &[ExpectedSetup] = &[
    STOP_EVENTFD,
    Reference(SOCKET),
    Reference(REUSE_ADDRESS),
    Reference(BIND),
    Reference("listen(3, 1) = 0"),
    BOUND_PORT,
    Reference("ioctl(3, FIONBIO, [1]) = 0"),
    Reference("epoll_create1(EPOLL_CLOEXEC) = 4"),
    Reference("epoll_ctl(4, EPOLL_CTL_ADD, 3, {events=EPOLLIN}) = 0"),
    Deviation {
        call: "epoll_ctl(4, EPOLL_CTL_ADD, stop, {events=EPOLLIN}) = 0",
        purpose: WAKE_PURPOSE,
    },
];

/// All calls up to the first wait that create or use the listener, epoll or the stop eventfd,
/// edge-triggered.
pub(crate) const SETUP_EDGE: &[ExpectedSetup] = &[
    STOP_EVENTFD,
    Reference(SOCKET),
    Reference(REUSE_ADDRESS),
    Reference(BIND),
    Reference("listen(3, 1) = 0"),
    BOUND_PORT,
    Reference("ioctl(3, FIONBIO, [1]) = 0"),
    Reference("epoll_create1(EPOLL_CLOEXEC) = 4"),
    Reference("epoll_ctl(4, EPOLL_CTL_ADD, 3, {events=EPOLLIN|EPOLLET}) = 0"),
    Deviation {
        call: "epoll_ctl(4, EPOLL_CTL_ADD, stop, {events=EPOLLIN|EPOLLET}) = 0",
        purpose: WAKE_PURPOSE,
    },
];

const STOP_EVENTFD: ExpectedSetup = Deviation {
    call: "eventfd2(0, EFD_CLOEXEC|EFD_NONBLOCK) = stop",
    purpose: "signals request a stop through it",
};
const BOUND_PORT: ExpectedSetup = Deviation {
    call: "getsockname(3, {sa_family=AF_INET, sin_port=PORT, sin_addr=inet_addr(BYTES)}, \
           [128 => 16]) = 0",
    purpose: "the start line shows the bound port",
};
const WAKE_PURPOSE: &str = "a stop wakes the event loop while all clients are idle";
const SOCKET: &str = "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 3";
const REUSE_ADDRESS: &str = "setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0";
const BIND: &str = "bind(3, {sa_family=AF_INET, sin_port=PORT, sin_addr=inet_addr(BYTES)}, 16) = 0";
