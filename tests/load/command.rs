//! The command `ringpoll load`: output, exit codes, system calls.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use ringpoll_backends::Variant;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::peer::{Peer, respond, respond_with};
use crate::persistent::serve_keep_alive;
use common::{EVENT_TIMEOUT, RESPONSE, ServerThread, find_tool, run_on_terminal, wait_until};

pub(crate) fn ringpoll(target: SocketAddr, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpoll"));
    command.args(["load", "--target", &target.to_string()]).args(arguments.split_whitespace());
    command.stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8 output")
}

/// Checks the exit code. Returns standard output and standard error.
pub(crate) fn exited(output: &Output, code: i32) -> (&str, &str) {
    let (printed, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{printed}\n{errors}");
    (printed, errors)
}

#[test]
fn clean_run_prints_only_a_table() {
    let served = ServerThread::start(Variant::EpollLevel, |_| {});
    let output = ringpoll(served.address, "--requests 300 --connections 4").output().unwrap();
    let (printed, errors) = exited(&output, 0);
    assert!(printed.contains("HTTP/1.0 200 OK · 114 bytes, body 13"), "{printed}");
    assert!(printed.contains("300 in ") && printed.contains(" 0 failed"), "{printed}");
    assert!(printed.contains("µs of CPU time per request"), "{printed}");
    for column in ["p50", "p90", "p99", "p99.9", "max"] {
        assert!(printed.contains(column), "{printed}");
    }
    assert_eq!(errors, "");
    assert!(!printed.contains('\x1b'), "no colors");
}

#[test]
fn open_loop_prints_corrected_and_uncorrected_latencies() {
    let served = ServerThread::start(Variant::EpollLevel, |_| {});
    let arguments = "--rate 1000 --duration 200ms --warm-up 0";
    let output = ringpoll(served.address, arguments).output().unwrap();
    let (printed, _) = exited(&output, 0);
    for row in ["corrected for coordinated omission", "uncorrected", "scheduling delay"] {
        assert!(printed.contains(row), "{printed}");
    }
    assert!(printed.contains("200 in "), "{printed}");
}

#[test]
fn json_goes_to_standard_output_or_to_a_file() {
    let served = ServerThread::start(Variant::EpollLevel, |_| {});
    let output = ringpoll(served.address, "--requests 300 --json -").output().unwrap();
    let (printed, _) = exited(&output, 0);
    let document: Value = serde_json::from_str(printed).expect("JSON");
    assert_eq!(document["schema"], "ringpoll.load/3");
    assert_eq!(document["requests"]["completed"], 300);
    assert_eq!(document["latency"]["uncorrected"]["count"], 300);
    assert!(document["latency"]["corrected"]["histogram"].as_str().unwrap().len() > 20);
    assert_eq!(document["failures"]["wrong_bytes"]["count"], 0);
    assert!(document["client"]["cpu_ns_per_request"].as_u64().unwrap() > 0);

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("load.json");
    let arguments = format!("--requests 30 --json {}", file.display());
    let output = ringpoll(served.address, &arguments).output().unwrap();
    assert!(exited(&output, 0).0.contains("30 in "), "the table is printed as well");
    let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(document["requests"]["completed"], 30);
}

#[test]
fn unwritable_output_is_refused_before_the_first_request() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let peer = Peer::start(move |_, stream| {
        count.fetch_add(1, Ordering::Relaxed);
        respond(stream);
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent/load.json");
    let arguments = format!("--requests 5 --json {}", path.display());
    let output = ringpoll(peer.address, &arguments).output().unwrap();
    let (printed, errors) = exited(&output, 2);
    assert_eq!(printed, "");
    assert!(errors.starts_with(&format!("ringpoll: --json {}: ", path.display())), "{errors}");
    peer.end();
    assert_eq!(connections.load(Ordering::Relaxed), 0);
}

#[test]
fn result_is_saved_to_the_temporary_directory_when_it_cannot_be_written() {
    let served = ServerThread::start(Variant::EpollLevel, |_| {});
    let directory = tempfile::tempdir().unwrap();
    let mut command = ringpoll(served.address, "--requests 30 --json /dev/full");
    let output = command.env("TMPDIR", directory.path()).output().unwrap();
    let (printed, errors) = exited(&output, 1);
    assert!(printed.contains("30 in "), "{printed}");
    let saved = std::fs::read_dir(directory.path()).unwrap().next().expect("a file").unwrap();
    assert!(errors.contains(saved.path().to_str().unwrap()), "{errors}");
    let document: Value = serde_json::from_slice(&std::fs::read(saved.path()).unwrap()).unwrap();
    assert_eq!(document["requests"]["completed"], 30);
}

/// Returns the tag, start, length and latencies of each entry of a log of HdrHistogram.
fn log_entries(log: &str) -> Vec<(Option<String>, Duration, Duration, Histogram<u64>)> {
    let entry = |entry| match entry {
        Ok(LogEntry::Interval(entry)) => {
            let bytes = STANDARD.decode(entry.encoded_histogram()).expect("base64");
            let histogram = Deserializer::new().deserialize(&mut &bytes[..]).expect("a histogram");
            let tag = entry.tag().map(|it| it.as_str().to_owned());
            Some((tag, entry.start_timestamp(), entry.duration(), histogram))
        }
        Ok(_) => None,
        Err(error) => panic!("{error:?}: {log}"),
    };
    IntervalLogIterator::new(log.as_bytes()).filter_map(entry).collect()
}

#[test]
fn hdr_log_has_the_latencies_of_each_second() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("load.hlog");
    for (load, threads) in [("--load churn --rate 500", 1), ("--load keep-alive", 2)] {
        let arguments = format!(
            "{load} --threads {threads} --duration 2200ms --warm-up 0 --json - --hdr-log {}",
            file.display()
        );
        let served = match load.contains("keep-alive") {
            true => serve_keep_alive(Variant::EpollLevel, 13, 0),
            false => ServerThread::start(Variant::EpollLevel, |_| {}),
        };
        let output = ringpoll(served.address, &arguments).output().unwrap();
        let document: Value = serde_json::from_str(exited(&output, 0).0).unwrap();
        let log = std::fs::read_to_string(&file).unwrap();
        let entries = log_entries(&log);
        let starts: Vec<_> = entries.iter().map(|it| it.1.as_secs()).collect();
        assert_eq!(starts, [0, 1, 2], "{log}");
        let total: u64 = entries.iter().map(|it| it.3.len()).sum();
        assert_eq!(document["requests"]["completed"], total);
        let max = entries.iter().map(|it| it.3.max()).max();
        assert_eq!(document["latency"]["corrected"]["max_ns"].as_u64(), max);
        assert!(document["latency"]["corrected"]["p99_99_ns"].as_u64() <= max);
        assert!(entries.iter().all(|it| it.0.is_none() && it.2 <= Duration::from_secs(1)), "{log}");
    }
    let served = ServerThread::start(Variant::EpollLevel, |_| {});
    let output = ringpoll(served.address, "--requests 5 --hdr-log -").output().unwrap();
    let (printed, _) = exited(&output, 0);
    assert_eq!(log_entries(printed).len(), 1, "{printed}");
    let output = ringpoll(served.address, "--requests 5 --json - --hdr-log -").output().unwrap();
    assert!(exited(&output, 2).1.contains("--json and --hdr-log are the same file"));
}

#[test]
fn failures_are_printed_and_exit_code_is_1() {
    let peer = Peer::start(|number, stream| match number {
        5 => respond_with(stream, &RESPONSE[..20]),
        6 => respond_with(stream, b"HTTP/1.0 404"),
        _ => respond(stream),
    });
    let output =
        ringpoll(peer.address, "--requests 20 --connections 1 --verify bytes").output().unwrap();
    let (printed, errors) = exited(&output, 1);
    assert!(printed.contains("18 in ") && printed.contains(" 2 failed"), "{printed}");
    assert!(printed.contains("ended after 20 of 114 bytes"), "{printed}");
    assert!(printed.contains("byte 9 is '4' instead of '2'"), "{printed}");
    assert_eq!(errors, "ringpoll load: 2 of 20 requests failed\n");
}

#[test]
fn server_of_another_protocol_is_named_before_a_load_of_messages() {
    let served = ServerThread::start(Variant::EpollLevel, |_| {});
    let arguments = "--load rr --message-bytes 64 --duration 100ms --timeout 300ms";
    let output = ringpoll(served.address, arguments).output().unwrap();
    let (printed, errors) = exited(&output, 1);
    assert_eq!(printed, "");
    assert!(errors.contains("no echo of it. Use an echo server"), "{errors}");
    assert!(errors.contains("Cause: ") && errors.contains("--load churn"), "{errors}");
}

#[test]
fn refused_connection_is_reported_and_exit_code_is_1() {
    let unused = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).unwrap();
    let output = ringpoll(unused, "").output().unwrap();
    let (printed, errors) = exited(&output, 1);
    assert_eq!(printed, "");
    assert!(errors.contains(&unused.to_string()) && errors.contains("refused"), "{errors}");
    assert_eq!(errors.lines().count(), 1);
}

#[test]
fn invalid_flags_have_exit_code_2() {
    let target = "127.0.0.1:1".parse().unwrap();
    for arguments in [
        "--connections 0",
        "--rate 0",
        "--requests 0",
        "--threads 2 --burst 4",
        "--duration 2h",
        "--nonsense",
        "--header nonsense",
    ] {
        let output = ringpoll(target, arguments).output().unwrap();
        let (printed, errors) = exited(&output, 2);
        assert_eq!(printed, "", "{arguments}");
        assert!(!errors.is_empty(), "{arguments}");
    }
}

#[test]
fn unsuccessful_status_causes_a_warning() {
    let peer = Peer::start(|_, stream| respond_with(stream, b"HTTP/1.0 404 Not Found\r\n\r\n"));
    let output = ringpoll(peer.address, "--requests 5").output().unwrap();
    let (printed, _) = exited(&output, 0);
    assert!(printed.contains("warning: The response is `HTTP/1.0 404 Not Found`"), "{printed}");
}

#[test]
fn sigint_stops_the_load_and_prints_the_results_so_far() {
    let responses = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&responses);
    let peer = Peer::start(move |_, stream| {
        respond(stream);
        count.fetch_add(1, Ordering::Relaxed);
    });
    // Without the signal it would end after the timeout of this test.
    let mut command = ringpoll(peer.address, "--duration 1m --warm-up 0");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the load is running", || responses.load(Ordering::Relaxed) > 200);
    let signalled = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(signalled.elapsed() < EVENT_TIMEOUT);
    let (printed, errors) = exited(&output, 0);
    assert!(printed.contains("warning: The load was stopped"), "{printed}");
    assert!(printed.contains("p99.9"), "{printed}");
    assert_eq!(errors, "");
}

/// Returns the system calls, in their order, that a load makes out of `calls`.
fn traced(test: &str, calls: &str, target: SocketAddr, arguments: &str) -> Option<Vec<String>> {
    let strace = find_tool(test, "strace")?;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trace");
    let mut command = Command::new(strace);
    command.args(["--follow-forks", &format!("--trace={calls}"), "--output"]).arg(&file);
    command.args([env!("CARGO_BIN_EXE_ringpoll"), "load", "--target", &target.to_string()]);
    let output = command.args(arguments.split_whitespace()).output().unwrap();
    exited(&output, 0);
    let trace = std::fs::read_to_string(file).unwrap();
    let name = |line: &str| Some(line.split_once('(')?.0.rsplit(' ').next()?.to_owned());
    Some(trace.lines().filter(|line| !line.contains("resumed>")).filter_map(name).collect())
}

#[test]
fn request_costs_five_system_calls() {
    const TEST: &str = "request_costs_five_system_calls";
    const REQUESTS: usize = 2000;
    let served = ServerThread::start(Variant::EpollLevel, |_| {});
    let calls = "connect,sendto,recvfrom,shutdown,socket,close,epoll_ctl,setsockopt,clock_gettime";
    let arguments = "--requests 2000 --connections 8";
    let Some(trace) = traced(TEST, calls, served.address, arguments) else { return };
    let count = |name| trace.iter().filter(|&call| call == name).count();
    for (name, times) in [("connect", 2), ("sendto", 1), ("recvfrom", 1), ("shutdown", 1)] {
        // If the handshake takes longer, some calls are repeated.
        let max = times * REQUESTS + REQUESTS / 10;
        assert!((times * REQUESTS - 8..max).contains(&count(name)), "{name}: {}", count(name));
    }
    for name in ["socket", "close", "epoll_ctl", "setsockopt", "clock_gettime"] {
        assert!(count(name) < REQUESTS / 5, "{name}: {}", count(name));
    }
}

#[test]
fn burst_connects_before_its_first_request() {
    let served = ServerThread::start(Variant::EpollLevel, |_| {});
    let arguments = "--burst 20 --requests 60 --verify bytes";
    const TEST: &str = "burst_connects_before_its_first_request";
    let trace = traced(TEST, "connect,sendto", served.address, arguments);
    let Some(trace) = trace else { return };
    let first_request = trace.iter().position(|call| call == "sendto").expect("a request");
    let groups: Vec<_> = trace[first_request + 1..]
        .chunk_by(|one, next| one == next)
        .map(|group| (&group[0][..], group.len()))
        .collect();
    // One more connect selects the source address. Reused sockets are disconnected by a second
    // connect (AF_UNSPEC).
    let of_three = [("connect", 21), ("connect", 40), ("connect", 40)];
    let bursts = of_three.map(|connects| [connects, ("sendto", 20)]);
    assert_eq!(groups, bursts.concat());
}

#[test]
fn live_view_is_shown_on_a_terminal_and_removed() {
    let served = ServerThread::start(Variant::EpollLevel, |_| {});
    let command = |arguments| {
        let mut command = ringpoll(served.address, arguments);
        command.env("TERM", "xterm");
        command
    };
    for columns in [80, 20] {
        let is_complete = |screen: &str| {
            [" s left", " requests/s", " in flight", " failed", "p50 ", "p99 "]
                .iter()
                .all(|it| screen.contains(it))
        };
        // The signal arrives long before the end.
        let shown = run_on_terminal(command("--duration 20s --warm-up 0"), columns, is_complete);
        let (printed, _) = exited(&shown.output, 0);
        assert!(printed.contains("warning: The load was stopped"), "{:?}", shown.screens);
        shown.assert_nothing_is_left();
        let shown = run_on_terminal(command("--requests 3000"), columns, |_| false);
        exited(&shown.output, 0);
        shown.assert_nothing_is_left();
    }
}

#[test]
fn terminal_that_cannot_move_the_cursor_gets_plain_lines() {
    let served = ServerThread::start(Variant::EpollLevel, |_| {});
    let mut command = ringpoll(served.address, "--duration 1m --warm-up 0");
    command.env("TERM", "dumb");
    let is_line = |screen: &str| screen.lines().any(|it| it.starts_with("ringpoll load: load"));
    let shown = run_on_terminal(command, 200, is_line);
    let (printed, _) = exited(&shown.output, 0);
    assert!(printed.contains("warning: The load was stopped"), "{:?}", shown.screens);
    assert!(!shown.text().contains('\x1b'), "{:?}", shown.text());
}
