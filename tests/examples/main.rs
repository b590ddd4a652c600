//! The examples of the library: each is short, and serves on every engine.

mod http;
mod resp;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{EVENT_TIMEOUT, engine_is_available};
use ringpoll_backends::Variant;

const LINES: &[u8] = b"one\nTwo\nthree, and more\n";

/// A running example, killed at the end.
struct Example {
    child: Child,
    address: SocketAddr,
}

impl Example {
    fn start(name: &str, variant: Variant) -> Self {
        let mut child = Command::new(built(name))
            .args(["127.0.0.1:0", variant.name()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example was built");
        let mut line = String::new();
        let output = child.stdout.as_mut().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("the line of the address");
        let address = line.split(' ').next().and_then(|it| it.parse().ok());
        Self { child, address: address.unwrap_or_else(|| panic!("no address in {line:?}")) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the example listens");
        stream.set_read_timeout(Some(EVENT_TIMEOUT)).expect("a socket");
        stream.set_write_timeout(Some(EVENT_TIMEOUT)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        stream
    }

    /// Sends `pieces` and the end of the stream; returns all that comes back.
    fn exchange(&self, pieces: &[&[u8]]) -> Vec<u8> {
        let mut stream = self.connect();
        for piece in pieces {
            stream.write_all(piece).expect("the example receives");
        }
        stream.shutdown(Shutdown::Write).expect("a connected socket");
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("the example ends its stream");
        received
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the examples, if cargo has not yet, and returns the path of one.
fn built(name: &str) -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "ringpoll-backends", "--examples"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the examples are not built");
    let test = std::env::current_exe().expect("its own path");
    let directory = test.parent().and_then(Path::parent).expect("a target directory");
    directory.join("examples").join(name)
}

fn variants(test: &str) -> impl Iterator<Item = Variant> {
    Variant::ALL.iter().copied().filter(move |&variant| engine_is_available(test, variant))
}

#[test]
fn echo_sends_every_byte_back() {
    for variant in variants("echo_sends_every_byte_back") {
        let echo = Example::start("echo", variant);
        assert_eq!(echo.exchange(&[LINES]), LINES, "{variant}");
        assert_eq!(echo.exchange(&[&[7; 100_000]]), [7; 100_000], "{variant}");
        assert_eq!(echo.exchange(&[]), b"", "{variant}");
    }
}

#[test]
fn line_protocol_responds_to_lines_however_they_are_split() {
    let upper = LINES.to_ascii_uppercase();
    for variant in variants("line_protocol_responds_to_lines_however_they_are_split") {
        let server = Example::start("line_protocol", variant);
        for split in 0..LINES.len() {
            let (first, second) = LINES.split_at(split);
            assert_eq!(server.exchange(&[first, second]), upper, "{variant}: {split}");
        }
        assert_eq!(server.exchange(&[b"no end"]), b"", "{variant}");
    }
}

#[test]
fn examples_are_short() {
    for (name, max_lines) in [("echo", 39), ("line_protocol", 39), ("http", 129), ("resp", 240)] {
        let path = format!("{}/backends/examples/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        let lines = fs::read_to_string(&path).expect("an example").lines().count();
        assert!(lines <= max_lines, "{path}: {lines} lines");
    }
}
