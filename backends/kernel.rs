//! What this kernel and this sandbox allow, and why they refuse what they refuse.

use std::fs;
use std::io;

use crate::error::{BackendError, ErrorKind};

/// The switch that turns io_uring off: 1 for those without CAP_SYS_ADMIN who are not in the group
/// `kernel.io_uring_group`, 2 for all (Linux 6.6, io_uring_setup(2)). `None` where it is unknown.
pub fn io_uring_disabled() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// Whether a seccomp filter watches this thread (proc_pid_status(5)).
pub fn seccomp_filter() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// Tells apart why the kernel refused `call`, one of the three system calls of io_uring.
pub(crate) fn refusal(call: &str, error: io::Error) -> BackendError {
    let (cause, remedy) = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => match (io_uring_disabled(), seccomp_filter()) {
            (Some(2), _) => (
                "io_uring is switched off for everybody by kernel.io_uring_disabled = 2",
                "`sysctl kernel.io_uring_disabled=0` as root, or use an epoll backend",
            ),
            (Some(1), false) => (
                "io_uring is switched off for unprivileged users by kernel.io_uring_disabled = 1",
                "`sysctl kernel.io_uring_disabled=0` as root, or add the user's group as \
                 kernel.io_uring_group, or use an epoll backend",
            ),
            (_, true) => (
                "a seccomp filter forbids it, as the default profile of containers does",
                "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp \
                 profile, or use an epoll backend",
            ),
            (_, false) => (
                "a security module or the sandbox forbids it",
                "look for a denial in the kernel's log, or use an epoll backend",
            ),
        },
        Some(libc::ENOSYS) if seccomp_filter() => (
            "this kernel has no io_uring, or a seccomp filter says so in its place",
            "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile, \
             or use Linux 5.10 or later, or an epoll backend",
        ),
        Some(libc::ENOSYS) => (
            "this kernel has no io_uring, or the sandbox hides it",
            "use Linux 5.10 or later, built with CONFIG_IO_URING, or an epoll backend",
        ),
        Some(libc::ENOMEM) => {
            return BackendError::new(ErrorKind::BackendRefused, call, memlock_cause())
                .with_source(error)
                .with_remedy(
                    "raise the limit (`ulimit -l`, LimitMEMLOCK=), ask for shorter queues, or use an \
                     epoll backend",
                );
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            return BackendError::unexpected(call, error)
                .with_remedy("raise the limit of open files (`ulimit -n`, LimitNOFILE=)");
        }
        Some(libc::EINVAL) => (
            "this kernel does not know something that the server needs of io_uring",
            "use Linux 5.10 or later, or an epoll backend",
        ),
        _ => ("the kernel refused to make a ring", "use an epoll backend"),
    };
    BackendError::new(ErrorKind::BackendRefused, call, cause).with_source(error).with_remedy(remedy)
}

/// A ring was made, but it cannot do what is needed.
pub(crate) fn operation_missing(name: &str) -> BackendError {
    let cause = format!("this kernel's io_uring does not have {name}");
    BackendError::new(ErrorKind::BackendRefused, "io_uring_register", cause)
        .with_remedy("use Linux 5.10 or later, or an epoll backend")
}

fn memlock_cause() -> String {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a struct that lives through the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } == 0;
    match limit.rlim_cur {
        libc::RLIM_INFINITY => "the kernel has no memory for the ring".to_owned(),
        bytes if known => {
            format!(
                "the ring does not fit into RLIMIT_MEMLOCK (memlock), which is {} KiB here",
                bytes / 1024
            )
        }
        _ => "the ring does not fit into RLIMIT_MEMLOCK (memlock)".to_owned(),
    }
}
