//! The system calls of the loop, and the errors that each of them can give.

/// A system call, and the names of its errors.
pub(crate) struct Faults {
    pub(crate) call: &'static str,
    pub(crate) errors: &'static [&'static str],
}

/// accept(2), those included that a new connection brings with it, and those of other kernels.
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

/// shutdown(2), and what a kernel without memory could say.
pub(crate) const SHUTDOWN: Faults = Faults {
    call: "shutdown",
    errors: &["EBADF", "EINTR", "EINVAL", "ENOBUFS", "ENOMEM", "ENOTCONN", "ENOTSOCK"],
};

/// close(2).
pub(crate) const CLOSE: Faults =
    Faults { call: "close", errors: &["EBADF", "EDQUOT", "EINTR", "EIO", "ENOSPC"] };

/// epoll_ctl(2), and the two that ask for patience: nothing is left half registered by them.
pub(crate) const EPOLL_CTL: Faults = Faults {
    call: "epoll_ctl",
    errors: &[
        "EAGAIN", "EBADF", "EEXIST", "EINTR", "EINVAL", "ELOOP", "ENOENT", "ENOMEM", "ENOSPC",
        "EPERM",
    ],
};

/// The one error of epoll_wait(2) that a healthy kernel gives a program without mistakes.
pub(crate) const EPOLL_WAIT: Faults = Faults { call: "epoll_wait", errors: &["EINTR"] };

/// The others, with which no loop can go on.
pub(crate) const FATAL_ERRORS_OF_EPOLL_WAIT: [(&str, i32); 3] =
    [("EBADF", libc::EBADF), ("EFAULT", libc::EFAULT), ("EINVAL", libc::EINVAL)];

/// Every call of the loop with every error that it survives.
pub(crate) const ALL: [&Faults; 7] =
    [&ACCEPT4, &RECVFROM, &SENDTO, &SHUTDOWN, &CLOSE, &EPOLL_CTL, &EPOLL_WAIT];
