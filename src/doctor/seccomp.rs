//! What a seccomp profile has to allow.

use serde_json::{Value, json};

/// The three system calls of io_uring.
pub const CALLS: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// The entry to be added to the list `syscalls` of a profile as container runtimes read it (the
/// runtime specification of the Open Container Initiative), in the shape of a profile. Alone it
/// would forbid everything else, since a profile says what is allowed.
pub fn profile() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{ "names": CALLS, "action": "SCMP_ACT_ALLOW" }],
    })
}
