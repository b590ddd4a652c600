//! Helpers that the suites share: clients, servers (on a thread or as a child process),
//! descriptors, network namespaces and terminals.

mod client;
mod descriptors;
mod environment;
mod lifecycle_watch;
pub mod namespace;
mod own_process;
mod served_protocol;
mod server_process;
mod server_thread;
pub mod strace;
mod terminal;
mod test_worker;

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use client::{Client, ReceivedStream, StreamEnd};
pub use descriptors::{
    Descriptors, descriptors_of, established_connections, open_connections, raise_descriptor_limit,
    sockets_bound_to, unique_loopback_address, wait_for_open_connections,
};
pub use environment::{engine_is_available, find_tool, io_uring_is_available, is_full, is_root};
pub use lifecycle_watch::{LifecycleWatch, PausedLoop, RecordedEvent};
pub use own_process::is_own_process;
pub use served_protocol::{ServedProtocol, chargen_byte};
pub use server_process::{ServerOutput, ServerProcess};
pub use server_thread::ServerThread;
pub use terminal::{TerminalOutput, run_on_terminal};
pub use test_worker::{Functions, TestProtocol, TestWorker};

/// Longest wait for an event that must happen.
pub const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Request of 27 bytes, the size of the one in the traces of the reference programs.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Default response to [`REQUEST`], 114 bytes.
pub const RESPONSE: &[u8] = b"HTTP/1.0 200 OK\r\n\
    Date: Mon, 1 Jan 1996 01:01:01 GMT\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 13\r\n\
    \r\n\
    Hello, world!";

/// Response to a request head that is longer than the limit.
pub const HEAD_TOO_LARGE: &[u8] = b"HTTP/1.0 431 Request Header Fields Too Large\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 36\r\n\
    \r\n\
    The request head exceeds the limit.\n";

/// Returns [`RESPONSE`] with a body of `body_bytes`: its 13 bytes repeated.
pub fn response(body_bytes: usize) -> Vec<u8> {
    let (head, body) = RESPONSE.split_at(RESPONSE.len() - 13);
    let head = String::from_utf8_lossy(head).replace(": 13\r", &format!(": {body_bytes}\r"));
    head.into_bytes().into_iter().chain(body.iter().copied().cycle().take(body_bytes)).collect()
}

/// Polls `happened` until it returns true.
///
/// # Panics
/// If that takes longer than [`EVENT_TIMEOUT`]; the message names `event`.
pub fn wait_until(event: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    loop {
        let check = Instant::now();
        if happened() {
            return;
        }
        let waited = start.elapsed();
        assert!(waited < EVENT_TIMEOUT, "timed out after {EVENT_TIMEOUT:?}: {event}");
        // Long waits and slow checks poll less often: some read large tables of the kernel.
        let pause = check.elapsed().max(waited / 8);
        std::thread::sleep(pause.clamp(Duration::from_millis(1), Duration::from_millis(50)));
    }
}

/// Returns the path of the `ringpoll` program to test: cargo builds it in `target/PROFILE/`, while
/// the suites are in `target/PROFILE/deps/`; in a guest all programs are in one directory.
pub fn program() -> PathBuf {
    let suite = env::current_exe().expect("/proc is mounted");
    let directory = suite.parent().expect("a program is in a directory");
    let in_deps = directory.file_name().is_some_and(|name| name == "deps");
    let directory =
        if in_deps { directory.parent().expect("deps/ has a parent") } else { directory };
    directory.join("ringpoll")
}
