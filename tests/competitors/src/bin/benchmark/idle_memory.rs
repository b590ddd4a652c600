//! Measures the resident memory of an idle connection.

use std::fs;
use std::io::Write;

use ringpoll_competitors::program::Program;

use crate::measurement::Measurement;
use crate::programs::Programs;

/// Few enough for the usual hard limit of descriptors of this process and of the server.
const CONNECTIONS: usize = 3000;
const DESCRIPTORS: u64 = CONNECTIONS as u64 + 256;

/// Repetitions: the resident pages vary.
const REPETITIONS: usize = 3;

/// Returns the difference in resident memory between a server for many connections and a server for
/// one, per connection: the median, minimum and maximum of three. It includes memory allocated at
/// startup.
pub(crate) fn measure(programs: &Programs, engine: &str) -> Result<Measurement, String> {
    raise_limit()?;
    let resident = |connections: usize| {
        let resident = resident_with_connections(programs, engine, connections);
        resident.map_err(|error| format!("{engine}: {error}"))
    };
    let each = |_| {
        let grown = resident(CONNECTIONS)?.saturating_sub(resident(1)?);
        Ok(grown as f64 / (CONNECTIONS - 1) as f64)
    };
    let mut measured = (0..REPETITIONS).map(each).collect::<Result<Vec<f64>, String>>()?;
    measured.sort_by(f64::total_cmp);
    let (low, high) = (measured[0], measured[REPETITIONS - 1]);
    Ok(Measurement { value: measured[REPETITIONS / 2], low, high, warning: None })
}

fn resident_with_connections(
    programs: &Programs,
    engine: &str,
    count: usize,
) -> std::io::Result<u64> {
    let limit = format!("limits.connections={count}");
    let arguments = ["serve", "--backend", engine, "--listen", "127.0.0.1:{port}"];
    let settings = ["--config", "/dev/null", "--set", "deadlines.request_head_timeout_ms=0"];
    let arguments = [&arguments[..], &settings, &["--set", &limit]].concat();
    let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
    let mut server = Program::start(&programs.ringpoll, &arguments)?;
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = server.connect()?;
        // An incomplete request, so that the receive buffer of the connection is in use.
        stream.write_all(b"GET / HTTP/1.0\r\n")?;
        held.push(stream);
    }
    let (process, port) = (server.id(), server.address.port());
    let descriptors = || fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
    let is_ready = || descriptors() >= held.len() && is_all_received(port);
    server.wait_until("the server has received from all connections", is_ready)?;
    resident_bytes(process)
}

/// Returns true if no socket with this local port has bytes to receive (proc_net_tcp(5)).
fn is_all_received(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = format!(":{port:04X}");
    table.lines().skip(1).all(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        !columns[1].ends_with(&port) || columns[4].ends_with(":00000000")
    })
}

/// Returns `Rss` of all mappings (proc_pid_smaps(5)), which is exact, unlike that of `statm`.
fn resident_bytes(process: u32) -> std::io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kilobytes =
        line.and_then(|it| it.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kilobytes.map(|it| it * 1024).ok_or_else(|| std::io::Error::other("smaps_rollup has no Rss"))
}

/// Raises the descriptor limit of this process and its children.
fn raise_limit() -> Result<(), String> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is valid during the call.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if result == 0 && limit.rlim_cur >= DESCRIPTORS {
        return Ok(());
    }
    limit.rlim_cur = DESCRIPTORS.min(limit.rlim_max);
    // SAFETY: the struct is valid during the call.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    match set == 0 && limit.rlim_cur == DESCRIPTORS {
        true => Ok(()),
        false => Err(format!("{DESCRIPTORS} descriptors are needed, {} allowed", limit.rlim_max)),
    }
}
