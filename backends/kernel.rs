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

/// What stands between a process and io_uring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// `kernel.io_uring_disabled` is 2.
    SwitchedOff,
    /// `kernel.io_uring_disabled` is 1, and this process has no privileges.
    SwitchedOffForUnprivileged,
    /// A seccomp filter forbids one of the three system calls.
    Seccomp,
    /// The call is not there, and there is a seccomp filter, which may be the one who says so.
    AbsentOrSeccomp,
    /// The kernel has no io_uring: it is too old, or was built without.
    Absent,
    /// Forbidden, but neither by the switch nor by seccomp: a security module, or a sandbox.
    SecurityModule,
    /// RLIMIT_MEMLOCK has no room for the ring.
    LockedMemory,
    /// There is io_uring, but not what the server needs of it.
    TooOld,
    /// Anything else.
    Other,
}

impl Obstacle {
    /// Tells apart why one of the three system calls of io_uring was refused with this error.
    pub fn behind(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => match (io_uring_disabled(), seccomp_filter()) {
                (Some(2), _) => Self::SwitchedOff,
                (Some(1), false) => Self::SwitchedOffForUnprivileged,
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

    /// The cause, in a sentence without a full stop.
    pub fn cause(self) -> String {
        let cause = match self {
            Self::SwitchedOff => {
                "io_uring is switched off for everybody by kernel.io_uring_disabled = 2"
            }
            Self::SwitchedOffForUnprivileged => {
                "io_uring is switched off for unprivileged users by kernel.io_uring_disabled = 1"
            }
            Self::Seccomp => {
                "a seccomp filter forbids it, as the default profile of containers does"
            }
            Self::AbsentOrSeccomp => {
                "this kernel has no io_uring, or a seccomp filter says so in its place"
            }
            Self::Absent => "this kernel has no io_uring, or the sandbox hides it",
            Self::SecurityModule => "a security module or the sandbox forbids it",
            Self::LockedMemory => return memlock_cause(),
            Self::TooOld => "this kernel does not know something that the server needs of io_uring",
            Self::Other => "the kernel refused to make a ring",
        };
        cause.to_owned()
    }

    /// What to do about it, in a sentence without a full stop.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::SwitchedOff => {
                "`sysctl kernel.io_uring_disabled=0` as root, or use an epoll backend"
            }
            Self::SwitchedOffForUnprivileged => {
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
            Self::SecurityModule => {
                "look for a denial in the kernel's log, or use an epoll backend"
            }
            Self::LockedMemory => {
                "raise the limit (`ulimit -l`, LimitMEMLOCK=), ask for shorter queues, or use an \
                 epoll backend"
            }
            Self::TooOld => "use Linux 5.10 or later, or an epoll backend",
            Self::Other => "use an epoll backend",
        }
    }
}

/// Tells apart why the kernel refused `call`, one of the three system calls of io_uring.
pub(crate) fn refusal(call: &str, error: io::Error) -> BackendError {
    if let Some(libc::EMFILE | libc::ENFILE) = error.raw_os_error() {
        return BackendError::unexpected(call, error)
            .with_remedy("raise the limit of open files (`ulimit -n`, LimitNOFILE=)");
    }
    let obstacle = Obstacle::behind(&error);
    BackendError::new(ErrorKind::BackendRefused, call, obstacle.cause())
        .with_source(error)
        .with_remedy(obstacle.remedy())
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
