//! The system calls of the epoll event loop and the errors that each of them can return.

use common::is_full;

/// A system call and the names of its errors.
pub(crate) struct Faults {
    pub(crate) call: &'static str,
    pub(crate) errors: &'static [&'static str],
}

/// Errors of each class: transient, of one connection, of a resource, and that of a wrong program.
const SAMPLE: [&str; 8] =
    ["EAGAIN", "EINTR", "ECONNABORTED", "ECONNRESET", "EMFILE", "ENOMEM", "ENOSPC", "EBADF"];

impl Faults {
    /// Returns all errors in the full form, and some of each class by default.
    pub(crate) fn sampled_errors(&self) -> impl Iterator<Item = &'static str> {
        let is_run = |error: &&str| is_full() || SAMPLE.contains(error);
        self.errors.iter().copied().filter(is_run)
    }
}

/// accept(2), with the pending network errors of a new connection and those of other kernels.
pub(crate) const ACCEPT4: Faults = Faults {
    call: "accept4",
    errors: &[
        "EAGAIN",
        "EBADF",
        "ECONNABORTED",
        "EFAULT",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "EINTR",
        "EINVAL",
        "EMFILE",
        "ENETDOWN",
        "ENETUNREACH",
        "ENFILE",
        "ENOBUFS",
        "ENOMEM",
        "ENONET",
        "ENOPROTOOPT",
        "ENOSR",
        "ENOTSOCK",
        "EOPNOTSUPP",
        "EPERM",
        "EPROTO",
        "EPROTONOSUPPORT",
        "ESOCKTNOSUPPORT",
        "ETIMEDOUT",
    ],
};

/// recv(2) and tcp(7).
pub(crate) const RECVFROM: Faults = Faults {
    call: "recvfrom",
    errors: &[
        "EAGAIN",
        "EBADF",
        "ECONNREFUSED",
        "ECONNRESET",
        "EFAULT",
        "EHOSTUNREACH",
        "EINTR",
        "EINVAL",
        "EIO",
        "ENETUNREACH",
        "ENOBUFS",
        "ENOMEM",
        "ENOTCONN",
        "ENOTSOCK",
        "EPIPE",
        "ETIMEDOUT",
    ],
};

/// send(2) and tcp(7).
pub(crate) const SENDTO: Faults = Faults {
    call: "sendto",
    errors: &[
        "EACCES",
        "EAGAIN",
        "EALREADY",
        "EBADF",
        "ECONNRESET",
        "EDESTADDRREQ",
        "EFAULT",
        "EHOSTUNREACH",
        "EINTR",
        "EINVAL",
        "EISCONN",
        "EMSGSIZE",
        "ENETDOWN",
        "ENETUNREACH",
        "ENOBUFS",
        "ENOMEM",
        "ENOTCONN",
        "ENOTSOCK",
        "EOPNOTSUPP",
        "EPIPE",
        "ETIMEDOUT",
    ],
};

/// shutdown(2), and the errors of a kernel without memory.
pub(crate) const SHUTDOWN: Faults = Faults {
    call: "shutdown",
    errors: &["EBADF", "EINTR", "EINVAL", "ENOBUFS", "ENOMEM", "ENOTCONN", "ENOTSOCK"],
};

/// close(2).
pub(crate) const CLOSE: Faults =
    Faults { call: "close", errors: &["EBADF", "EDQUOT", "EINTR", "EIO", "ENOSPC"] };

/// epoll_ctl(2), and the two transient errors: neither leaves a descriptor half registered.
pub(crate) const EPOLL_CTL: Faults = Faults {
    call: "epoll_ctl",
    errors: &[
        "EAGAIN", "EBADF", "EEXIST", "EINTR", "EINVAL", "ELOOP", "ENOENT", "ENOMEM", "ENOSPC",
        "EPERM",
    ],
};

/// The only error of epoll_wait(2) that a correct program gets.
pub(crate) const EPOLL_WAIT: Faults = Faults { call: "epoll_wait", errors: &["EINTR"] };

/// The errors of epoll_wait(2) after which no event loop can continue.
pub(crate) const FATAL_EPOLL_WAIT_ERRORS: [(&str, i32); 3] =
    [("EBADF", libc::EBADF), ("EFAULT", libc::EFAULT), ("EINVAL", libc::EINVAL)];

/// Every system call of the event loop with every error that the server survives.
pub(crate) const ALL: [&Faults; 7] =
    [&ACCEPT4, &RECVFROM, &SENDTO, &SHUTDOWN, &CLOSE, &EPOLL_CTL, &EPOLL_WAIT];
