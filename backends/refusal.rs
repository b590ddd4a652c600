//! Reasons why the kernel or a sandbox refuses io_uring, and remedies.

use std::fs;
use std::io;

use crate::error::{BackendError, ErrorKind};

/// Returns the sysctl `kernel.io_uring_disabled` (Linux 6.6, io_uring_setup(2)): 1 disables
/// io_uring for processes without CAP_SYS_ADMIN outside of the group `kernel.io_uring_group`, 2
/// for all; `None` if the kernel does not have it.
pub fn io_uring_disabled() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// Returns true if a seccomp filter applies to this thread (proc_pid_status(5)).
pub fn seccomp_filter() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// The reason why io_uring is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// `kernel.io_uring_disabled` is 2.
    Disabled,
    /// `kernel.io_uring_disabled` is 1, and this process has no privileges.
    DisabledForUnprivileged,
    /// A seccomp filter forbids one of the three system calls.
    Seccomp,
    /// ENOSYS with a seccomp filter, which may be its source.
    AbsentOrSeccomp,
    /// ENOSYS: the kernel is older than 5.1 or built without io_uring.
    Absent,
    /// EPERM or EACCES for another reason: a security module or a sandbox.
    SecurityModule,
    /// ENOMEM: RLIMIT_MEMLOCK is too small for the ring.
    LockedMemory,
    /// EINVAL: a feature that the server needs is missing.
    TooOld,
    /// Anything else.
    Other,
}

impl Obstacle {
    /// Returns the reason for an error of io_uring_setup(2), io_uring_enter(2) or
    /// io_uring_register(2).
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => match (io_uring_disabled(), seccomp_filter()) {
                (Some(2), _) => Self::Disabled,
                (Some(1), false) => Self::DisabledForUnprivileged,
                (_, true) => Self::Seccomp,
                (_, false) => Self::SecurityModule,
            },
            Some(libc::ENOSYS) if seccomp_filter() => Self::AbsentOrSeccomp,
            Some(libc::ENOSYS) => Self::Absent,
            Some(libc::ENOMEM) => Self::LockedMemory,
            Some(libc::EINVAL) => Self::TooOld,
            _ => Self::Other,
        }
    }

    /// Returns the cause, without a full stop.
    pub fn cause(self) -> String {
        let cause = match self {
            Self::Disabled => {
                "io_uring is disabled for all processes by kernel.io_uring_disabled = 2"
            }
            Self::DisabledForUnprivileged => {
                "io_uring is disabled for unprivileged users by kernel.io_uring_disabled = 1"
            }
            Self::Seccomp => {
                "a seccomp filter denies it, as the default profile of containers does"
            }
            Self::AbsentOrSeccomp => {
                "this kernel has no io_uring, or a seccomp filter returns ENOSYS for it"
            }
            Self::Absent => "this kernel has no io_uring, or the sandbox hides it",
            Self::SecurityModule => "a security module or the sandbox denies it",
            Self::LockedMemory => return memlock_cause(),
            Self::TooOld => "this kernel lacks an io_uring feature that the server needs",
            Self::Other => "the kernel refused to set up a ring",
        };
        cause.to_owned()
    }

    /// Returns the remedy, without a full stop.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Disabled => {
                "`sysctl kernel.io_uring_disabled=0` as root, or use an epoll backend"
            }
            Self::DisabledForUnprivileged => {
                "`sysctl kernel.io_uring_disabled=0` as root, or add the user's group as \
                 kernel.io_uring_group, or use an epoll backend"
            }
            Self::Seccomp => {
                "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp \
                 profile, or use an epoll backend"
            }
            Self::AbsentOrSeccomp => {
                "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp \
                 profile, or use Linux 5.10 or later, or an epoll backend"
            }
            Self::Absent => {
                "use Linux 5.10 or later, built with CONFIG_IO_URING, or an epoll backend"
            }
            Self::SecurityModule => "check the kernel log for a denial, or use an epoll backend",
            Self::LockedMemory => {
                "raise the limit (`ulimit -l`, LimitMEMLOCK=), configure shorter queues, or use an \
                 epoll backend"
            }
            Self::TooOld => "use Linux 5.10 or later, or an epoll backend",
            Self::Other => "use an epoll backend",
        }
    }
}

/// Returns the error for a refused system call of io_uring.
pub(crate) fn error(call: &str, error: io::Error) -> BackendError {
    if let Some(libc::EMFILE | libc::ENFILE) = error.raw_os_error() {
        return BackendError::unexpected(call, error)
            .with_remedy("raise the limit of open files (`ulimit -n`, LimitNOFILE=)");
    }
    let obstacle = Obstacle::of(&error);
    BackendError::new(ErrorKind::BackendRefused, call, obstacle.cause())
        .with_source(error)
        .with_remedy(obstacle.remedy())
}

/// Makes the error for a ring without a needed operation.
pub(crate) fn operation_missing(name: &str) -> BackendError {
    let cause = format!("this kernel's io_uring lacks {name}");
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
            format!("the ring exceeds RLIMIT_MEMLOCK (memlock), which is {} KiB", bytes / 1024)
        }
        _ => "the ring exceeds RLIMIT_MEMLOCK (memlock)".to_owned(),
    }
}
