//! Under `--preset reference` the epoll engines make the system calls of the reference programs
//! (two short Python `select.epoll` programs), call by call, and send and print the same bytes.
//! The system call counters of the report equal those of strace.

mod golden;
mod masking;
mod traced_server;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, pipe};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::strace::Call;
use common::{REQUEST, RESPONSE, find_tool};
use golden::ExpectedSetup;
use masking::Masking;
use ringpoll_backends::Variant;
use tempfile::TempDir;
use traced_server::{LoopCalls, TracedServer};

const CONNECTIONS: usize = 3;

/// Standard output of the reference programs for one request: all but its last two bytes, between
/// dashes and a newline.
const PRINTED: &str = "----------------------------------------\nGET / HTTP/1.1\r\nHost: a\r\n\n";

/// The masked system calls of a server: those of the setup and those of its event loop.
struct TraceLines {
    setup: Vec<String>,
    connections: Vec<String>,
}

/// Serves connections one after the other and returns the trace.
fn serve(strace: &Path, backend: &str, stdout: impl Into<Stdio>) -> TraceLines {
    let arguments = ["--preset", "reference", "--backend", backend];
    let mut server = TracedServer::start(strace, &arguments, stdout);
    for number in 1..=CONNECTIONS {
        server.serve();
        server.wait_until_closed(number);
    }
    let calls = server.calls();
    assert_eq!(server.stop(), Some(0));
    lines(&calls)
}

fn lines(calls: &[Call]) -> TraceLines {
    let mut masking = Masking::new();
    let is_wait = |call: &Call| call.name == "epoll_wait";
    let first_wait = calls.iter().position(is_wait).expect("the loop waits");
    let the_loop = calls[first_wait].thread;
    let (before, after) = calls.split_at(first_wait);
    let set_up = before
        .iter()
        .filter_map(|call| {
            let (line, has_role) = masking.line(call);
            has_role.then_some(line)
        })
        .collect();
    let connections = after
        .iter()
        // Every call of that thread, also those that have nothing to do with a connection.
        .filter(|call| call.thread == the_loop)
        .map(|call| masking.line(call).0)
        .filter(|line| line != golden::IDLE_WAIT)
        .collect();
    TraceLines { setup: set_up, connections }
}

/// Asserts that all lines are equal; the message names the first that differs.
fn assert_lines_match(seen: &[String], golden: &[&str]) {
    for index in 0..seen.len().max(golden.len()) {
        let (seen, golden) = (seen.get(index).map(String::as_str), golden.get(index).copied());
        assert_eq!(seen, golden, "call {index} (left: traced, right: reference program)");
    }
}

fn assert_matches_reference(lines: &TraceLines, connection: &[&str], set_up: &[ExpectedSetup]) {
    assert_lines_match(&lines.connections, &connection.repeat(CONNECTIONS));
    let expected: Vec<_> = set_up
        .iter()
        .map(|call| match *call {
            ExpectedSetup::Reference(call) | ExpectedSetup::Deviation { call, .. } => call,
        })
        .collect();
    assert_lines_match(&lines.setup, &expected);
    for deviation in set_up {
        if let ExpectedSetup::Deviation { call, purpose } = deviation {
            println!("not in the reference program: {call}: {purpose}");
        }
    }
}

/// Asserts equal system calls and text with standard output to a file, to /dev/null and to a pipe.
fn assert_matches_reference_on_every_output(
    strace: &Path,
    backend: &str,
    connection: &[&str],
    set_up: &[ExpectedSetup],
) {
    assert_eq!((REQUEST.len(), RESPONSE.len()), (27, 114));
    let printed = PRINTED.repeat(CONNECTIONS);

    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("printed");
    let lines = serve(strace, backend, File::create(&file).expect("a file"));
    assert_matches_reference(&lines, connection, set_up);
    assert_eq!(fs::read_to_string(&file).expect("text"), printed);

    assert_matches_reference(&serve(strace, backend, Stdio::null()), connection, set_up);

    let (mut reader, writer) = pipe().expect("a pipe");
    let lines = serve(strace, backend, writer);
    assert_matches_reference(&lines, connection, set_up);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    assert_eq!(text, printed);
}

#[test]
fn level_triggered_makes_the_system_calls_of_the_reference_program() {
    let Some(strace) =
        find_tool("level_triggered_makes_the_system_calls_of_the_reference_program", "strace")
    else {
        return;
    };
    assert_matches_reference_on_every_output(
        &strace,
        "epoll:level",
        golden::LEVEL,
        golden::SETUP_LEVEL,
    );
}

#[test]
fn edge_triggered_makes_the_system_calls_of_the_reference_program() {
    let Some(strace) =
        find_tool("edge_triggered_makes_the_system_calls_of_the_reference_program", "strace")
    else {
        return;
    };
    assert_matches_reference_on_every_output(
        &strace,
        "epoll:edge",
        golden::EDGE,
        golden::SETUP_EDGE,
    );
}

/// The traced runs bind a free port instead, since 8080 may be in use. `serve` uses the
/// configuration that `config show` prints.
#[test]
fn preset_has_the_address_and_backlog_of_the_reference_programs() {
    let directory = TempDir::new().expect("a directory");
    let shown = Command::new(env!("CARGO_BIN_EXE_ringpoll"))
        .args(["config", "show", "--preset", "reference"])
        .current_dir(directory.path())
        .env_clear()
        .output()
        .expect("it runs");
    assert!(shown.status.success());
    let shown: toml::Table = toml::from_str(&String::from_utf8(shown.stdout).unwrap()).unwrap();
    let server = &shown["server"];
    assert_eq!(server["listen"].as_str(), Some("0.0.0.0:8080"));
    assert_eq!(server["backlog"].as_integer(), Some(1));
    assert_eq!(server["receive_buffer_bytes"].as_integer(), Some(1024));
    assert_eq!(server["print_requests"].as_bool(), Some(true));
    assert_eq!(server["lingering_close"].as_bool(), Some(false));
    assert_eq!(shown["epoll"]["events_per_wait"].as_integer(), Some(1023));
}

#[test]
fn report_counts_the_system_calls_that_strace_counts() {
    let Some(strace) = find_tool("report_counts_the_system_calls_that_strace_counts", "strace")
    else {
        return;
    };
    std::thread::scope(|scope| {
        for variant in Variant::ALL {
            for preset in [&[][..], &["--preset", "reference"]] {
                let strace = &strace;
                scope.spawn(move || assert_report_matches_strace(strace, variant.name(), preset));
            }
        }
    });
}

fn assert_report_matches_strace(strace: &Path, backend: &str, preset: &[&str]) {
    const REQUESTS: u64 = 50;
    let directory = TempDir::new().expect("a directory");
    let output = directory.path().join("output");
    let arguments = [preset, &["--backend", backend, "--stats", "json"]].concat();
    let mut server =
        TracedServer::start(strace, &arguments, File::create(&output).expect("a file"));
    // An idle connection, which the stop closes.
    let idle = server.connect();
    for _ in 0..REQUESTS {
        server.serve();
    }
    // The signal usually interrupts a wait, which counts too.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(server.stop(), Some(0));
    drop(idle);

    let output = fs::read_to_string(&output).expect("text");
    let report = output.lines().last().expect("the report is the last line");
    let report: serde_json::Value = serde_json::from_str(report).expect("JSON");
    let total = &report["total"];
    assert_eq!(total["requests"], REQUESTS);
    let reported: BTreeMap<&str, u64> = total["system_calls"]
        .as_object()
        .expect("an object")
        .iter()
        .map(|(name, count)| (name.as_str(), count.as_u64().expect("a count")))
        .collect();
    let calls = server.calls();
    assert_eq!(reported, LoopCalls::of(&calls).counts, "{backend} {preset:?}");
    println!("{backend} {preset:?}: {reported:?}");
}
