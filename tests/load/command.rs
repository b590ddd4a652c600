//! `ringpoll load` as its users meet it.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ringpoll_backends::Variant;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::{PATIENCE, RESPONSE, Served, tool, wait_until};
use crate::peer::{Peer, answer, answer_with};

fn ringpoll(target: SocketAddr, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpoll"));
    command.args(["load", "--target", &target.to_string()]).args(arguments.split_whitespace());
    command.stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("what is printed is text")
}

/// Checks how it ended, and hands back what it printed.
fn ended(output: &Output, code: i32) -> (&str, &str) {
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{printed}\n{said}");
    (printed, said)
}

#[test]
fn a_clean_run_prints_a_table_and_nothing_else() {
    let served = Served::start(Variant::EpollLevel, |_| {});
    let output = ringpoll(served.address, "--requests 300 --connections 4").output().unwrap();
    let (printed, said) = ended(&output, 0);
    assert!(printed.contains("HTTP/1.0 200 OK · 114 bytes, 13 of them body"), "{printed}");
    assert!(printed.contains("300 in ") && printed.contains(" 0 failed"), "{printed}");
    assert!(printed.contains("µs of CPU a request"), "{printed}");
    for column in ["p50", "p90", "p99", "p99.9", "max"] {
        assert!(printed.contains(column), "{printed}");
    }
    assert_eq!(said, "");
    assert!(!printed.contains('\x1b'), "no colours");
}

#[test]
fn the_open_loop_shows_both_figures() {
    let served = Served::start(Variant::EpollLevel, |_| {});
    let arguments = "--rate 1000 --duration 200ms --warm-up 0";
    let output = ringpoll(served.address, arguments).output().unwrap();
    let (printed, _) = ended(&output, 0);
    for row in ["from when due", "from when begun", "begun late by"] {
        assert!(printed.contains(row), "{printed}");
    }
    assert!(printed.contains("200 in "), "{printed}");
}

#[test]
fn machines_get_json_on_standard_output_or_in_a_file() {
    let served = Served::start(Variant::EpollLevel, |_| {});
    let output = ringpoll(served.address, "--requests 300 --json -").output().unwrap();
    let (printed, _) = ended(&output, 0);
    let document: Value = serde_json::from_str(printed).expect("it is JSON");
    assert_eq!(document["schema"], "ringpoll.load/1");
    assert_eq!(document["requests"]["completed"], 300);
    assert_eq!(document["latency"]["uncorrected"]["count"], 300);
    assert!(document["latency"]["corrected"]["histogram"].as_str().unwrap().len() > 20);
    assert_eq!(document["failures"]["wrong_bytes"]["count"], 0);
    assert!(document["client"]["cpu_ns_per_request"].as_u64().unwrap() > 0);

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("load.json");
    let arguments = format!("--requests 30 --json {}", file.display());
    let output = ringpoll(served.address, &arguments).output().unwrap();
    assert!(ended(&output, 0).0.contains("30 in "), "the table is printed as well");
    let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(document["requests"]["completed"], 30);
}

#[test]
fn failures_are_shown_and_end_it_with_1() {
    let peer = Peer::start(|number, stream| match number {
        5 => answer_with(stream, &RESPONSE[..20]),
        6 => answer_with(stream, b"HTTP/1.0 404"),
        _ => answer(stream),
    });
    let output = ringpoll(peer.address, "--requests 20 --connections 1").output().unwrap();
    let (printed, said) = ended(&output, 1);
    assert!(printed.contains("18 in ") && printed.contains(" 2 failed"), "{printed}");
    assert!(printed.contains("ended after 20 of 114 bytes"), "{printed}");
    assert!(printed.contains("byte 9 is '4' instead of '2'"), "{printed}");
    assert_eq!(said, "ringpoll load: 2 of 20 requests failed\n");
}

#[test]
fn where_nobody_listens_it_says_so_and_ends_with_1() {
    let unused = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).unwrap();
    let output = ringpoll(unused, "").output().unwrap();
    let (printed, said) = ended(&output, 1);
    assert_eq!(printed, "");
    assert!(said.contains(&unused.to_string()) && said.contains("refused"), "{said}");
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn what_makes_no_sense_ends_it_with_2() {
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
        let (printed, said) = ended(&output, 2);
        assert_eq!(printed, "", "{arguments}");
        assert!(!said.is_empty(), "{arguments}");
    }
}

#[test]
fn an_answer_that_is_no_success_is_remarked_on() {
    let peer = Peer::start(|_, stream| answer_with(stream, b"HTTP/1.0 404 Not Found\r\n\r\n"));
    let output = ringpoll(peer.address, "--requests 5").output().unwrap();
    let (printed, _) = ended(&output, 0);
    assert!(printed.contains("note: every answer is `HTTP/1.0 404 Not Found`"), "{printed}");
}

#[test]
fn control_c_ends_it_with_the_figures_so_far() {
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    let peer = Peer::start(move |_, stream| {
        answer(stream);
        count.fetch_add(1, Ordering::Relaxed);
    });
    // By itself it would end later than the patience of this test.
    let mut command = ringpoll(peer.address, "--duration 1m --warm-up 0");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the load is on", || answered.load(Ordering::Relaxed) > 200);
    let signalled = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(signalled.elapsed() < PATIENCE);
    let (printed, said) = ended(&output, 0);
    assert!(printed.contains("note: it was stopped"), "{printed}");
    assert!(printed.contains("p99.9"), "{printed}");
    assert_eq!(said, "");
}

/// The names of the system calls, in their order, that `ringpoll load` makes of these.
fn traced(test: &str, calls: &str, target: SocketAddr, arguments: &str) -> Option<Vec<String>> {
    let strace = tool(test, "strace")?;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trace");
    let mut command = Command::new(strace);
    command.args(["--follow-forks", &format!("--trace={calls}"), "--output"]).arg(&file);
    command.args([env!("CARGO_BIN_EXE_ringpoll"), "load", "--target", &target.to_string()]);
    let output = command.args(arguments.split_whitespace()).output().unwrap();
    ended(&output, 0);
    let trace = std::fs::read_to_string(file).unwrap();
    let name = |line: &str| Some(line.split_once('(')?.0.rsplit(' ').next()?.to_owned());
    Some(trace.lines().filter(|line| !line.contains("resumed>")).filter_map(name).collect())
}

#[test]
fn a_request_costs_five_system_calls() {
    const TEST: &str = "a_request_costs_five_system_calls";
    const REQUESTS: usize = 2000;
    let served = Served::start(Variant::EpollLevel, |_| {});
    let calls = "connect,sendto,recvfrom,shutdown,socket,close,epoll_ctl,setsockopt,clock_gettime";
    let arguments = "--requests 2000 --connections 8";
    let Some(trace) = traced(TEST, calls, served.address, arguments) else { return };
    let count = |name| trace.iter().filter(|&call| call == name).count();
    for (name, times) in [("connect", 2), ("sendto", 1), ("recvfrom", 1), ("shutdown", 1)] {
        // A connection that is not there at once is asked twice, and it need not be ours alone.
        let most = times * REQUESTS + REQUESTS / 10;
        assert!((times * REQUESTS - 8..most).contains(&count(name)), "{name}: {}", count(name));
    }
    for name in ["socket", "close", "epoll_ctl", "setsockopt", "clock_gettime"] {
        assert!(count(name) < REQUESTS / 5, "{name}: {}", count(name));
    }
}

#[test]
fn a_burst_connects_before_it_asks() {
    let served = Served::start(Variant::EpollLevel, |_| {});
    let arguments = "--burst 20 --requests 60";
    let trace =
        traced("a_burst_connects_before_it_asks", "connect,sendto", served.address, arguments);
    let Some(trace) = trace else { return };
    let first_answer = trace.iter().position(|call| call == "sendto").expect("one asks first");
    let stretches: Vec<_> = trace[first_answer + 1..]
        .chunk_by(|one, next| one == next)
        .map(|stretch| (&stretch[0][..], stretch.len()))
        .collect();
    // The kernel is asked once from where it would connect, with a connect; and sockets that are
    // used again are made new ones by a connect to nowhere.
    let of_three = [("connect", 21), ("connect", 40), ("connect", 40)];
    let bursts = of_three.map(|connects| [connects, ("sendto", 20)]);
    assert_eq!(stretches, bursts.concat());
}

#[test]
fn a_terminal_shows_how_far_it_is() {
    let Some(script) = tool("a_terminal_shows_how_far_it_is", "script") else { return };
    let served = Served::start(Variant::EpollLevel, |_| {});
    let program = env!("CARGO_BIN_EXE_ringpoll");
    let load = format!("{program} load --target {} --duration 1s --warm-up 0", served.address);
    let shown = |no_colour: &str| {
        let mut command = Command::new(&script);
        command.args(["--quiet", "--return", "--command", &load, "/dev/null"]);
        let output = command.env("NO_COLOR", no_colour).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
        text(&output.stdout).to_owned()
    };
    let shown = shown("1");
    assert!(shown.contains("load [") && shown.contains(" failed"), "{shown}");
    assert!(shown.contains("from connect to end"), "{shown}");
    // Only what moves the cursor and clears lines: no sequence that ends as colours do.
    let mut sequences = shown.split("\x1b[").skip(1);
    assert!(sequences.all(|it| {
        it.find(|c: char| c.is_ascii_alphabetic()).is_some_and(|end| it.as_bytes()[end] != b'm')
    }));
}
