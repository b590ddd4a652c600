//! What a connection that says nothing costs in resident memory.

use std::fs;
use std::io::Write;

use ringpoll_yardsticks::program::Program;

use crate::measured::Measured;
use crate::programs::Programs;

/// Connections, both ends of which need a descriptor in the limits of today's systems.
const CONNECTIONS: usize = 3000;
const DESCRIPTORS: u64 = CONNECTIONS as u64 + 256;

/// How often it is measured: which pages are resident differs from one time to the next.
const TIMES: usize = 3;

/// What a server with room for all of them holds more than one with room for one, for each. All
/// that is allocated for a connection counts, at the start or later. The median of three, from the
/// least of them to the most.
pub(crate) fn measure(programs: &Programs, engine: &str) -> Result<Measured, String> {
    raise_limit()?;
    let resident = |connections: usize| {
        let resident = resident_with(programs, engine, connections);
        resident.map_err(|error| format!("{engine}: {error}"))
    };
    let each = |_| {
        let grown = resident(CONNECTIONS)?.saturating_sub(resident(1)?);
        Ok(grown as f64 / (CONNECTIONS - 1) as f64)
    };
    let mut measured = (0..TIMES).map(each).collect::<Result<Vec<f64>, String>>()?;
    measured.sort_by(f64::total_cmp);
    let (low, high) = (measured[0], measured[TIMES - 1]);
    Ok(Measured { value: measured[TIMES / 2], low, high, remark: None })
}

fn resident_with(programs: &Programs, engine: &str, count: usize) -> std::io::Result<u64> {
    let room = format!("limits.connections={count}");
    let arguments = ["serve", "--backend", engine, "--listen", "127.0.0.1:{port}"];
    let patient = ["--config", "/dev/null", "--set", "deadlines.request_head_timeout_ms=0"];
    let arguments = [&arguments[..], &patient, &["--set", &room]].concat();
    let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
    let mut server = Program::start(&programs.ringpoll, &arguments)?;
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = server.connect()?;
        // In the middle of its request, so that whatever buffer it has is in use.
        stream.write_all(b"GET / HTTP/1.0\r\n")?;
        held.push(stream);
    }
    let (process, port) = (server.id(), server.address.port());
    let own = held.len();
    let descriptors = || fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
    server.wait_until("all are held", || descriptors() >= own && all_is_read(port))?;
    resident_bytes(process)
}

/// Whether nothing that has come to this port is still to be received (proc_net_tcp(5)).
fn all_is_read(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = format!(":{port:04X}");
    table.lines().skip(1).all(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        !columns[1].ends_with(&port) || columns[4].ends_with(":00000000")
    })
}

/// `Rss` of all its mappings together (proc_pid_smaps(5)), which is counted when it is read.
fn resident_bytes(process: u32) -> std::io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kilobytes =
        line.and_then(|it| it.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kilobytes.map(|it| it * 1024).ok_or_else(|| std::io::Error::other("smaps_rollup has no Rss"))
}

/// For this process and those that it starts.
fn raise_limit() -> Result<(), String> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is written to a struct that lives through the call.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if asked == 0 && limit.rlim_cur >= DESCRIPTORS {
        return Ok(());
    }
    limit.rlim_cur = DESCRIPTORS.min(limit.rlim_max);
    // SAFETY: the limit is read from a struct that lives through the call.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    match set == 0 && limit.rlim_cur == DESCRIPTORS {
        true => Ok(()),
        false => Err(format!("{DESCRIPTORS} descriptors are needed, {} allowed", limit.rlim_max)),
    }
}
