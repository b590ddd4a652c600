//! Seccomp profile that allows io_uring.

use serde_json::{Value, json};

/// System calls of io_uring.
pub const CALLS: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// Returns a profile in the format of the OCI runtime specification. Its entry of `syscalls` is
/// meant to be added to another profile: alone, it forbids all other system calls.
pub fn profile() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{ "names": CALLS, "action": "SCMP_ACT_ALLOW" }],
    })
}
