//! Requests on standard output, which never blocks the server.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use ringpoll_backends::Variant;
use rustix::fs::{OFlags, fcntl_getfl};

use crate::program::{Server, ringpoll, wait_until_readable};

const PRINTING: [&str; 2] = ["--set", "server.print_requests=true"];

fn start_into(arguments: &[&str], stdout: Stdio) -> Server {
    let arguments = [&["serve", "--listen", "127.0.0.1:0"], &PRINTING[..], arguments].concat();
    Server::start_as(ringpoll(&arguments).stdout(stdout))
}

/// Returns the printed form of a request without its final empty line.
fn printed(text: &str) -> String {
    format!("{}\n{text}\n", "-".repeat(40))
}

/// Reads until the received bytes are enough.
fn read_until(output: &mut (impl Read + AsFd), enough: impl Fn(&[u8]) -> bool) -> String {
    let mut bytes = Vec::new();
    while !enough(&bytes) {
        let mut piece = [0; 1024];
        wait_until_readable(output);
        let length = output.read(&mut piece).unwrap();
        assert!(length > 0, "premature end: {}", bytes.escape_ascii());
        bytes.extend_from_slice(&piece[..length]);
    }
    String::from_utf8(bytes).unwrap()
}

fn read_until_end(output: &mut (impl Read + AsFd), end: &str) -> String {
    read_until(output, |bytes| bytes.ends_with(end.as_bytes()))
}

/// A long request, of which only a few fit into a pipe.
fn long_request() -> Vec<u8> {
    [b"GET /".repeat(1000).as_slice(), b"\n\n"].concat()
}

#[test]
fn requests_are_not_printed_by_default() {
    let server = Server::start(&[]);
    server.request_hello();
    assert_eq!(server.stop().stdout, "");
}

#[test]
fn requests_are_printed_escaped_to_a_file() {
    for variant in Variant::ALL {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("requests");
        let file = File::create(&path).unwrap();
        let server = start_into(&["--backend", variant.name()], file.into());
        server.request("GET /é\r\nA: \u{1b}[2J\n\r\n".as_bytes());
        server.request(b"second\n\n");
        server.stop();
        let expected = printed("GET /\\xc3\\xa9\\x0d\nA: \\x1b[2J\n") + &printed("second");
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }
}

#[test]
fn preset_reference_prints_valid_utf8_unescaped() {
    let mut server = Server::start(&["--preset", "reference"]);
    server.request("GET /é\r\nA: \u{1b}[2J\u{1}\r\n\r\n".as_bytes());
    let expected = printed("GET /é\r\nA: \u{1b}[2J\u{1}\r\n");
    assert_eq!(read_until_end(server.stdout.as_mut().unwrap(), &expected), expected);
    server.request(b"\xff\n\n");
    assert_eq!(server.stop().stdout, printed("\\xff"));
}

#[test]
fn long_request_is_printed_up_to_the_limit() {
    let server = Server::start(&[&PRINTING[..], &["--set", "limits.print_line_bytes=64"]].concat());
    server.request(&long_request());
    let expected = printed(&("GET /".repeat(13)[..64].to_owned() + "..."));
    assert_eq!(server.stop().stdout, expected);
}

#[test]
fn slow_reader_does_not_block_the_server_and_loses_only_whole_requests() {
    for variant in Variant::ALL {
        let mut server = Server::start(&[&PRINTING[..], &["--backend", variant.name()]].concat());
        let mut stdout = server.stdout.take().unwrap();
        for _ in 0..100 {
            assert_eq!(server.request(&long_request()).len(), 114);
        }
        // Reading makes room again. The rest of a partly written request follows first.
        let first = read_until(&mut stdout, |bytes| bytes.len() >= 16 * 1024);
        server.request(b"marker\n\n");
        let all = first + &read_until_end(&mut stdout, &printed("marker"));
        let long = printed(&"GET /".repeat(1000));
        let whole = all.strip_suffix(&printed("marker")).unwrap();
        assert_eq!(whole.replace(&long, ""), "", "only whole requests were printed");
        let dropped = 100 - whole.len() / long.len();
        let ended = server.stop();
        let words: Vec<_> = ended.stderr.split_whitespace().collect();
        let name = words.iter().position(|&word| word == "prints_dropped").unwrap();
        assert_eq!(words[name + 1], dropped.to_string());
    }
}

#[test]
fn unread_report_does_not_block_the_end() {
    let mut server = Server::start(&[&PRINTING[..], &["--stats", "json"]].concat());
    let unread = server.stdout.take().unwrap();
    for _ in 0..100 {
        server.request(&long_request());
    }
    let ended = server.stop();
    assert!(ended.stderr.contains("not all output could be written"), "{}", ended.stderr);
    drop(unread);
}

#[test]
fn closed_standard_output_does_not_end_the_server() {
    for variant in Variant::ALL {
        let arguments = ["--backend", variant.name(), "--stats", "json"];
        let mut server = Server::start(&[&PRINTING[..], &arguments].concat());
        server.request_hello();
        drop(server.stdout.take());
        for _ in 0..10 {
            server.request_hello();
        }
        server.stop();
    }
}

#[test]
fn flags_of_the_callers_descriptor_are_unchanged() {
    let (reader, writer) = std::io::pipe().unwrap();
    let before = fcntl_getfl(&writer).unwrap();
    let server = start_into(&[], writer.try_clone().unwrap().into());
    server.request_hello();
    assert_eq!(fcntl_getfl(&writer).unwrap(), before);
    assert!(!before.contains(OFlags::NONBLOCK));
    server.stop();
    drop((reader, writer));
}

#[test]
fn standard_output_can_be_a_socket_that_is_closed() {
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let server = start_into(&["--stats", "json"], OwnedFd::from(writer).into());
    server.request(b"first\n\n");
    assert_eq!(read_until_end(&mut reader, &printed("first")), printed("first"));
    server.request(b"second\n\n");
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
        server.request_hello();
    }
    server.stop();
}

#[test]
fn unread_socket_does_not_block_the_server() {
    let (reader, writer) = UnixStream::pair().unwrap();
    let server = start_into(&[], OwnedFd::from(writer).into());
    // More than the socket, the pipe before it and the thread between the two can hold.
    for _ in 0..200 {
        assert_eq!(server.request(&long_request()).len(), 114);
    }
    let ended = server.stop();
    assert!(ended.stderr.contains("prints_dropped"), "{}", ended.stderr);
    drop(reader);
}
