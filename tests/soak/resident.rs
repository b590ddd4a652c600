//! Memory: counted by the kernel, page by page.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use ringpoll_backends::Variant;
use rustix::process::{Resource, getrlimit};

use crate::allowed;
use crate::common::{ServerProcess, raise_descriptor_limit, wait_until_held};

/// Debug builds take their time, and show the same with fewer.
const CONNECTIONS: u64 = if cfg!(debug_assertions) { 2_000 } else { 10_000 };
/// What a process has open beside connections.
const OTHERS: u64 = 100;

/// What is resident of that process. `VmRSS` of its status lags behind by what each processor has
/// not yet added to it; here the pages themselves are counted (proc(5), smaps_rollup).
pub(crate) fn resident_bytes(process: u32) -> u64 {
    let path = format!("/proc/{process}/smaps_rollup");
    let rollup = fs::read_to_string(path).expect("a process of ours");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).expect("its total");
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kibibytes * 1024
}

/// Held in the middle of its request, so that its buffer, where it has one, is in use. All that is
/// allocated for it counts, at the start or later; what the kernel needs for the socket does not.
#[test]
fn an_idle_connection_costs_little_memory() {
    for variant in allowed("an_idle_connection_costs_little_memory") {
        let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let count = CONNECTIONS.min(hard.saturating_sub(OTHERS)) as usize;
        raise_descriptor_limit(count as u64 + OTHERS);
        let one = resident_with(variant, 1);
        let all = resident_with(variant, count);
        let each = all.saturating_sub(one) / count as u64;
        println!("{variant}: {each} bytes resident for each of {count} idle connections");
        // Debug builds give each receive buffer a page of its own, to guard it: the figure that
        // counts is that of a release build.
        let guard = if cfg!(debug_assertions) { 4096 } else { 0 };
        let most = if variant.is_io_uring() { 1536 + guard } else { 1024 };
        assert!(each <= most, "{variant}: {each} bytes each");
    }
}

/// What is resident of a server that has room for so many connections and holds them all.
fn resident_with(variant: Variant, count: usize) -> u64 {
    let connections = format!("limits.connections={count}");
    let never = "deadlines.request_head_timeout_ms=0";
    let arguments = ["--backend", variant.name(), "--set", &connections, "--set", never];
    let server = ServerProcess::start(&arguments);
    let held: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).expect("the server listens");
            stream.write_all(b"GET / HTTP/1.0\r\n").expect("room for so little");
            stream
        })
        .collect();
    wait_until_held(server.address, count);
    let resident = resident_bytes(server.id());
    drop(held);
    let report = server.stopped().report();
    let received = report["total"]["received_bytes"].as_u64().expect("a counter");
    assert_eq!(received, 16 * count as u64, "not all were held in the middle of their request");
    resident
}
