//! What the tests have in common: clients, servers in this process and in a process of their own,
//! and what is open where.

#![allow(dead_code, reason = "no test needs all of it")]
#![allow(unused_imports, reason = "no test needs all of it")]

mod client;
mod descriptors;
mod served;
mod server_process;
mod step_watch;
mod tool;

use std::time::{Duration, Instant};

pub(crate) use client::{Client, End, Exchange};
pub(crate) use descriptors::{
    Descriptors, connections_held, descriptors_of, raise_descriptor_limit, sockets_on_port,
    wait_until_held,
};
pub(crate) use served::Served;
pub(crate) use server_process::{Ended, ServerProcess};
pub(crate) use step_watch::{HeldLoop, Recorded, StepWatch};
pub(crate) use tool::{engine, root, tool};

/// How long anything may take that is bound to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// 27 bytes, like the request that the documents were watched with.
pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The answer to it, 114 bytes, unless a server is told otherwise.
pub(crate) const RESPONSE: &[u8] = b"HTTP/1.0 200 OK\r\n\
    Date: Mon, 1 Jan 1996 01:01:01 GMT\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 13\r\n\
    \r\n\
    Hello, world!";

/// The answer to a request head that is longer than the limit.
pub(crate) const HEAD_TOO_LARGE: &[u8] = b"HTTP/1.0 431 Request Header Fields Too Large\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 36\r\n\
    \r\n\
    The request head exceeds the limit.\n";

/// The response with a body of so many bytes: the same thirteen, over and over.
pub(crate) fn response(body_bytes: usize) -> Vec<u8> {
    let (head, body) = RESPONSE.split_at(RESPONSE.len() - 13);
    let head = String::from_utf8_lossy(head).replace(": 13\r", &format!(": {body_bytes}\r"));
    head.into_bytes().into_iter().chain(body.iter().copied().cycle().take(body_bytes)).collect()
}

/// Waits for something that is bound to happen.
pub(crate) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "within {PATIENCE:?} it never happened that {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
