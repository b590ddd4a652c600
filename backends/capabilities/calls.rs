//! The three system calls. Each probe makes a call that an allowing kernel refuses for its invalid
//! arguments, so one call that a sandbox forbids does not hide another.

use std::io;
use std::ptr;

use super::{Capability, ProbeError, ProbeResult, probe};

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    probe("io_uring_setup", "io_uring_setup(2) is allowed", setup),
    probe("io_uring_enter", "io_uring_enter(2) is allowed", enter),
    probe("io_uring_register", "io_uring_register(2) is allowed", register),
];

const NO_DESCRIPTOR: libc::c_long = -1;

/// Calls io_uring_setup(2) with a null pointer.
pub fn setup() -> ProbeResult {
    // SAFETY: the kernel returns EFAULT for a null pointer.
    let made =
        unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, ptr::null_mut::<libc::c_void>()) };
    allowed("io_uring_setup", made)
}

/// Calls io_uring_enter(2) on an invalid descriptor.
pub fn enter() -> ProbeResult {
    let nothing = ptr::null::<libc::c_void>();
    // SAFETY: the descriptor is invalid, so nothing is submitted or waited for.
    let entered = unsafe {
        libc::syscall(libc::SYS_io_uring_enter, NO_DESCRIPTOR, 0, 0, 0, nothing, 0_usize)
    };
    allowed("io_uring_enter", entered)
}

/// Calls io_uring_register(2) on an invalid descriptor.
pub fn register() -> ProbeResult {
    let nothing = ptr::null::<libc::c_void>();
    // SAFETY: the descriptor is invalid, so nothing is registered.
    let registered =
        unsafe { libc::syscall(libc::SYS_io_uring_register, NO_DESCRIPTOR, 0, nothing, 0) };
    allowed("io_uring_register", registered)
}

/// A call that fails for its arguments was allowed.
fn allowed(call: &'static str, result: libc::c_long) -> ProbeResult {
    match io::Error::last_os_error() {
        _ if result >= 0 => Ok(()),
        error
            if matches!(error.raw_os_error(), Some(libc::EFAULT | libc::EBADF | libc::EINVAL)) =>
        {
            Ok(())
        }
        error => Err(ProbeError::refused(call)(error)),
    }
}
