//! The system calls of the epoll engines under `--preset documents` are those of the documents,
//! call by call, and so are the answer and what is printed. And what the program says about its
//! system calls is what strace sees.

mod common;
#[path = "document_syscalls/golden.rs"]
mod golden;
#[path = "document_syscalls/masking.rs"]
mod masking;
mod strace;
#[path = "document_syscalls/traced_server.rs"]
mod traced_server;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, pipe};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{REQUEST, RESPONSE, tool};
use golden::SetUp;
use masking::Masking;
use ringpoll_backends::Variant;
use strace::Call;
use tempfile::TempDir;
use traced_server::{LoopCalls, TracedServer};

const CONNECTIONS: usize = 3;

/// What the documents print of a request: all but its last two bytes, between dashes and a
/// newline.
const PRINTED: &str = "----------------------------------------\nGET / HTTP/1.1\r\nHost: a\r\n\n";

/// What the program did until its stop, as lines: those of the set-up, and those that its loop
/// made for the connections.
struct Lines {
    set_up: Vec<String>,
    connections: Vec<String>,
}

/// Serves some connections, one after the other, with standard output as it is given.
fn serve(strace: &Path, backend: &str, stdout: impl Into<Stdio>) -> Lines {
    let arguments = ["--preset", "documents", "--backend", backend];
    let mut server = TracedServer::start(strace, &arguments, stdout);
    for number in 1..=CONNECTIONS {
        server.serve();
        server.wait_until_closed(number);
    }
    let calls = server.calls();
    assert_eq!(server.stop(), Some(0));
    lines(&calls)
}

fn lines(calls: &[Call]) -> Lines {
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
        // Every call of that thread, whatever it is and whatever it concerns.
        .filter(|call| call.thread == the_loop)
        .map(|call| masking.line(call).0)
        .filter(|line| line != golden::TICK)
        .collect();
    Lines { set_up, connections }
}

/// The first line that differs is named, with its place.
fn assert_same(seen: &[String], golden: &[&str]) {
    for place in 0..seen.len().max(golden.len()) {
        let (seen, golden) = (seen.get(place).map(String::as_str), golden.get(place).copied());
        assert_eq!(seen, golden, "call {place} (left: seen, right: the documents)");
    }
}

fn assert_documents(lines: &Lines, connection: &[&str], set_up: &[SetUp]) {
    assert_same(&lines.connections, &connection.repeat(CONNECTIONS));
    let expected: Vec<_> = set_up
        .iter()
        .map(|call| match *call {
            SetUp::Documents(call) | SetUp::Deviation { call, .. } => call,
        })
        .collect();
    assert_same(&lines.set_up, &expected);
    for deviation in set_up {
        if let SetUp::Deviation { call, purpose } = deviation {
            println!("not in the documents: {call}: {purpose}");
        }
    }
}

/// To a file, to nobody, and to a pipe: what is printed goes out with the same calls, and text.
fn assert_documents_on_every_output(
    strace: &Path,
    backend: &str,
    connection: &[&str],
    set_up: &[SetUp],
) {
    assert_eq!((REQUEST.len(), RESPONSE.len()), (27, 114));
    let printed = PRINTED.repeat(CONNECTIONS);

    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("printed");
    let lines = serve(strace, backend, File::create(&file).expect("a file"));
    assert_documents(&lines, connection, set_up);
    assert_eq!(fs::read_to_string(&file).expect("text"), printed);

    assert_documents(&serve(strace, backend, Stdio::null()), connection, set_up);

    let (mut reader, writer) = pipe().expect("a pipe");
    let lines = serve(strace, backend, writer);
    assert_documents(&lines, connection, set_up);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    assert_eq!(text, printed);
}

#[test]
fn level_triggered_makes_the_system_calls_of_the_documents() {
    let Some(strace) = tool("level_triggered_makes_the_system_calls_of_the_documents", "strace")
    else {
        return;
    };
    assert_documents_on_every_output(&strace, "epoll:level", golden::LEVEL, golden::SET_UP_LEVEL);
}

#[test]
fn edge_triggered_makes_the_system_calls_of_the_documents() {
    let Some(strace) = tool("edge_triggered_makes_the_system_calls_of_the_documents", "strace")
    else {
        return;
    };
    assert_documents_on_every_output(&strace, "epoll:edge", golden::EDGE, golden::SET_UP_EDGE);
}

/// The address and the backlog that the runs under strace cannot use, since the port may be
/// another's: the preset has them, and `serve` uses what `config show` shows.
#[test]
fn the_preset_has_the_address_and_the_backlog_of_the_documents() {
    let directory = TempDir::new().expect("a directory");
    let shown = Command::new(env!("CARGO_BIN_EXE_ringpoll"))
        .args(["config", "show", "--preset", "documents"])
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
fn the_report_counts_the_system_calls_that_strace_counts() {
    let Some(strace) = tool("the_report_counts_the_system_calls_that_strace_counts", "strace")
    else {
        return;
    };
    std::thread::scope(|scope| {
        for variant in Variant::ALL {
            for preset in [&[][..], &["--preset", "documents"]] {
                let strace = &strace;
                scope.spawn(move || compare_the_counts(strace, variant.name(), preset));
            }
        }
    });
}

fn compare_the_counts(strace: &Path, backend: &str, preset: &[&str]) {
    const REQUESTS: u64 = 50;
    let directory = TempDir::new().expect("a directory");
    let output = directory.path().join("output");
    let arguments = [preset, &["--backend", backend, "--stats", "json"]].concat();
    let mut server =
        TracedServer::start(strace, &arguments, File::create(&output).expect("a file"));
    // Whoever has said nothing when the stop comes has a part of it.
    let silent = server.connect();
    for _ in 0..REQUESTS {
        server.serve();
    }
    // So that the signal finds it waiting, most of the time: a wait that ends early counts too.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(server.stop(), Some(0));
    drop(silent);

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
