//! Errors of standard output, and files that are standard output.

use std::fs::{self, File, OpenOptions};
use std::process::Stdio;

use crate::program::{Server, ringpoll, stderr_of_failure, stdout_of};

const RESULT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/results/default.json");

/// Commands that print to standard output.
const PRINTING: [&[&str]; 12] = [
    &["--help"],
    &["--version"],
    &["help"],
    &["help", "serve"],
    &["help", "statistics"],
    &["completions", "bash"],
    &["config", "show"],
    &["doctor", "--schema"],
    &["doctor", "--json"],
    &["report", RESULT],
    &["report", "--schema"],
    &["report", RESULT, "--html", "-"],
];

#[test]
fn full_disk_is_an_error() {
    for arguments in PRINTING {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let message = stderr_of_failure(ringpoll(arguments).stdout(full), 1);
        assert!(message.starts_with("ringpoll: "), "{arguments:?}: {message}");
        assert!(message.contains("No space left on device"), "{arguments:?}: {message}");
        if let Some((_, saved)) = message.split_once("saved to ") {
            fs::remove_file(saved.trim_end().strip_suffix(" instead.").unwrap()).unwrap();
        }
    }
}

#[test]
fn closed_pipe_is_no_error() {
    for arguments in PRINTING {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = ringpoll(arguments).stdout(writer).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        // `doctor` exits with 3 where io_uring is refused.
        assert!(matches!(output.status.code(), Some(0 | 3)), "{arguments:?}: {}", output.status);
    }
}

#[test]
fn report_of_a_server_that_cannot_be_written_is_an_error() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--stats", "json"];
    let server = Server::start_as(ringpoll(&arguments).stdout(full));
    server.signal(rustix::process::Signal::TERM);
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("No space left on device"), "{}", ended.stderr);
}

/// The table goes to standard error, so the file has only the JSON, after what it had before.
#[test]
fn path_of_standard_output_does_not_truncate_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("results");
    let server = Server::start(&["--backend", "epoll"]);
    let address = server.address.to_string();
    let load = ["load", "--target", &address, "--requests", "2", "--json", "/dev/stdout"];
    for _ in 0..2 {
        let file = File::options().append(true).create(true).open(&path).unwrap();
        let output = ringpoll(&load).stdout(file).stderr(Stdio::piped()).output().unwrap();
        stdout_of(&output);
    }
    let text = fs::read_to_string(&path).unwrap();
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
    assert_eq!(documents.map(Result::unwrap).count(), 2, "{text}");
}
