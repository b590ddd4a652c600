//! Requests on standard output, which never makes anybody wait.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use ringpoll_backends::Variant;
use rustix::fs::{OFlags, fcntl_getfl};

use crate::program::{Server, ringpoll, wait_for};

const PRINTING: [&str; 2] = ["--set", "server.print_requests=true"];

fn start_into(arguments: &[&str], stdout: Stdio) -> Server {
    let arguments = [&["serve", "--listen", "127.0.0.1:0"], &PRINTING[..], arguments].concat();
    Server::start_as(ringpoll(&arguments).stdout(stdout))
}

/// How the request of that text, which ends with an empty line, is printed.
fn printed(text: &str) -> String {
    format!("{}\n{text}\n", "-".repeat(40))
}

/// Reads until what has come is enough.
fn read_until(output: &mut (impl Read + AsFd), enough: impl Fn(&[u8]) -> bool) -> String {
    let mut bytes = Vec::new();
    while !enough(&bytes) {
        let mut piece = [0; 1024];
        wait_for(output);
        let length = output.read(&mut piece).unwrap();
        assert!(length > 0, "it ended too early: {}", bytes.escape_ascii());
        bytes.extend_from_slice(&piece[..length]);
    }
    String::from_utf8(bytes).unwrap()
}

fn read_until_end(output: &mut (impl Read + AsFd), end: &str) -> String {
    read_until(output, |bytes| bytes.ends_with(end.as_bytes()))
}

/// A request too long for many of them to fit into a pipe.
fn long_request() -> Vec<u8> {
    [b"GET /".repeat(1000).as_slice(), b"\n\n"].concat()
}

#[test]
fn nothing_is_printed_unless_asked() {
    let server = Server::start(&[]);
    server.ask_for_hello();
    assert_eq!(server.stop().stdout, "");
}

#[test]
fn a_file_gets_what_was_asked_with_its_bytes_escaped() {
    for variant in Variant::ALL {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("requests");
        let file = File::create(&path).unwrap();
        let server = start_into(&["--backend", variant.name()], file.into());
        server.ask("GET /é\r\nA: \u{1b}[2J\n\r\n".as_bytes());
        server.ask(b"second\n\n");
        server.stop();
        let expected = printed("GET /\\xc3\\xa9\\x0d\nA: \\x1b[2J\n") + &printed("second");
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }
}

#[test]
fn under_the_preset_text_is_printed_as_it_is() {
    let mut server = Server::start(&["--preset", "documents"]);
    server.ask("GET /é\r\nA: \u{1b}[2J\u{1}\r\n\r\n".as_bytes());
    let expected = printed("GET /é\r\nA: \u{1b}[2J\u{1}\r\n");
    assert_eq!(read_until_end(server.stdout.as_mut().unwrap(), &expected), expected);
    server.ask(b"\xff\n\n");
    assert_eq!(server.stop().stdout, printed("\\xff"));
}

#[test]
fn a_long_request_is_printed_up_to_the_limit() {
    let server = Server::start(&[&PRINTING[..], &["--set", "limits.print_line_bytes=64"]].concat());
    server.ask(&long_request());
    let expected = printed(&("GET /".repeat(13)[..64].to_owned() + "..."));
    assert_eq!(server.stop().stdout, expected);
}

#[test]
fn a_reader_who_does_not_read_stops_nobody_and_misses_only_whole_requests() {
    for variant in Variant::ALL {
        let mut server = Server::start(&[&PRINTING[..], &["--backend", variant.name()]].concat());
        let mut stdout = server.stdout.take().unwrap();
        for _ in 0..100 {
            assert_eq!(server.ask(&long_request()).len(), 114);
        }
        // Reading again makes room again, and the rest of the print that went out in part comes
        // before anything else.
        let first = read_until(&mut stdout, |bytes| bytes.len() >= 16 * 1024);
        server.ask(b"marker\n\n");
        let all = first + &read_until_end(&mut stdout, &printed("marker"));
        let long = printed(&"GET /".repeat(1000));
        let whole = all.strip_suffix(&printed("marker")).unwrap();
        assert_eq!(whole.replace(&long, ""), "", "only whole requests were printed");
        let dropped = 100 - whole.len() / long.len();
        let ended = server.stop();
        let said: Vec<_> = ended.stderr.split_whitespace().collect();
        let name = said.iter().position(|&word| word == "prints_dropped").unwrap();
        assert_eq!(said[name + 1], dropped.to_string());
    }
}

#[test]
fn a_report_that_nobody_reads_is_not_waited_for() {
    let mut server = Server::start(&[&PRINTING[..], &["--stats", "json"]].concat());
    let unread = server.stdout.take().unwrap();
    for _ in 0..100 {
        server.ask(&long_request());
    }
    let ended = server.stop();
    assert!(ended.stderr.contains("standard output did not take everything"), "{}", ended.stderr);
    drop(unread);
}

#[test]
fn a_reader_that_goes_away_ends_nothing() {
    for variant in Variant::ALL {
        let arguments = ["--backend", variant.name(), "--stats", "json"];
        let mut server = Server::start(&[&PRINTING[..], &arguments].concat());
        server.ask_for_hello();
        drop(server.stdout.take());
        for _ in 0..10 {
            server.ask_for_hello();
        }
        server.stop();
    }
}

#[test]
fn the_callers_own_descriptor_keeps_its_flags() {
    let (reader, writer) = std::io::pipe().unwrap();
    let before = fcntl_getfl(&writer).unwrap();
    let server = start_into(&[], writer.try_clone().unwrap().into());
    server.ask_for_hello();
    assert_eq!(fcntl_getfl(&writer).unwrap(), before);
    assert!(!before.contains(OFlags::NONBLOCK));
    server.stop();
    drop((reader, writer));
}

#[test]
fn a_socket_gets_its_prints_too_and_may_go_away() {
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let server = start_into(&["--stats", "json"], OwnedFd::from(writer).into());
    server.ask(b"first\n\n");
    assert_eq!(read_until_end(&mut reader, &printed("first")), printed("first"));
    server.ask(b"second\n\n");
    server.stop();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    let report = rest.strip_prefix(&printed("second")).unwrap();
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    assert_eq!(report["total"]["prints_dropped"], 0);

    let (reader, writer) = UnixStream::pair().unwrap();
    let server = start_into(&[], OwnedFd::from(writer).into());
    drop(reader);
    for _ in 0..10 {
        server.ask_for_hello();
    }
    server.stop();
}

#[test]
fn a_socket_that_nobody_reads_stops_nobody() {
    let (reader, writer) = UnixStream::pair().unwrap();
    let server = start_into(&[], OwnedFd::from(writer).into());
    // More than the socket, the pipe in front of it and the thread between them can hold.
    for _ in 0..200 {
        assert_eq!(server.ask(&long_request()).len(), 114);
    }
    let ended = server.stop();
    assert!(ended.stderr.contains("prints_dropped"), "{}", ended.stderr);
    drop(reader);
}
