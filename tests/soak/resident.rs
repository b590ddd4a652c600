//! Resident memory of idle connections.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use ringpoll_backends::Variant;
use rustix::process::{Resource, getrlimit};

use crate::available_engines;
use common::{ServerProcess, raise_descriptor_limit, wait_for_open_connections};

/// Returns fewer in debug builds, which are slow.
fn connections() -> u64 {
    match common::is_full() {
        _ if !cfg!(debug_assertions) => 10_000,
        true => 2_000,
        false => 500,
    }
}

/// Descriptors of a process in addition to connections.
const OTHER_DESCRIPTORS: u64 = 100;

/// Returns the resident bytes of a process. `VmRSS` lags by what each CPU has not added yet;
/// smaps_rollup counts the pages themselves (proc_pid_smaps(5)).
pub(crate) fn resident_bytes(process: u32) -> u64 {
    let path = format!("/proc/{process}/smaps_rollup");
    let rollup = fs::read_to_string(path).expect("a process of ours");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).expect("its total");
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kibibytes * 1024
}

/// Each connection has sent a part of its request, so that its buffer is in use. Kernel memory of
/// the socket is not counted.
#[test]
fn idle_connection_uses_little_memory() {
    for variant in available_engines("idle_connection_uses_little_memory") {
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let count = connections().min(hard.saturating_sub(OTHER_DESCRIPTORS)) as usize;
        raise_descriptor_limit(count as u64 + OTHER_DESCRIPTORS);
        let one = resident_with(variant, 1);
        let all = resident_with(variant, count);
        let each = all.saturating_sub(one) / count as u64;
        println!("{variant}: {each} bytes resident for each of {count} idle connections");
        let max = if variant.is_io_uring() { 1536 } else { 1024 };
        assert!(each <= max, "{variant}: {each} bytes each");
    }
}

/// Returns the resident bytes of a server with `count` open connections.
fn resident_with(variant: Variant, count: usize) -> u64 {
    let connections = format!("limits.connections={count}");
    let never = "deadlines.request_head_timeout_ms=0";
    let arguments = ["--backend", variant.name(), "--set", &connections, "--set", never];
    let server = ServerProcess::start(&arguments);
    let held: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).expect("the server listens");
            stream.write_all(b"GET / HTTP/1.0\r\n").expect("the socket buffer is empty");
            stream
        })
        .collect();
    wait_for_open_connections(server.address, count);
    let resident = resident_bytes(server.id());
    drop(held);
    let report = server.stop_and_wait().report();
    let received = report["total"]["received_bytes"].as_u64().expect("a counter");
    assert_eq!(received, 16 * count as u64, "some connections were not in their request");
    resident
}
