//! The three system calls themselves. Each is made in a way that fails harmlessly where it is
//! allowed, so that one which a sandbox forbids is found even if another is forbidden too.

use std::io;
use std::ptr;

use super::{Answer, Capability, Missing, capability};

/// All of this group.
pub const ALL: &[Capability] = &[
    capability("call_setup", "io_uring_setup(2) is allowed", setup),
    capability("call_enter", "io_uring_enter(2) is allowed", enter),
    capability("call_register", "io_uring_register(2) is allowed", register),
];

const NO_DESCRIPTOR: libc::c_long = -1;

/// io_uring_setup(2), without a place to put its results.
pub fn setup() -> Answer {
    // SAFETY: the kernel answers a null pointer with EFAULT.
    let made =
        unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, ptr::null_mut::<libc::c_void>()) };
    allowed("io_uring_setup", made)
}

/// io_uring_enter(2), on no ring.
pub fn enter() -> Answer {
    let nothing = ptr::null::<libc::c_void>();
    // SAFETY: there is no ring of that number, and nothing is submitted or waited for.
    let entered = unsafe {
        libc::syscall(libc::SYS_io_uring_enter, NO_DESCRIPTOR, 0, 0, 0, nothing, 0_usize)
    };
    allowed("io_uring_enter", entered)
}

/// io_uring_register(2), on no ring.
pub fn register() -> Answer {
    let nothing = ptr::null::<libc::c_void>();
    // SAFETY: there is no ring of that number, so nothing is registered.
    let registered =
        unsafe { libc::syscall(libc::SYS_io_uring_register, NO_DESCRIPTOR, 0, nothing, 0) };
    allowed("io_uring_register", registered)
}

/// Whoever looks at the arguments has let the call through.
fn allowed(call: &'static str, result: libc::c_long) -> Answer {
    match io::Error::last_os_error() {
        _ if result >= 0 => Ok(()),
        error
            if matches!(error.raw_os_error(), Some(libc::EFAULT | libc::EBADF | libc::EINVAL)) =>
        {
            Ok(())
        }
        error => Err(Missing::refused(call)(error)),
    }
}
