//! Builds programs, starts servers, and sends requests to them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

const EVENT_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Builds targets of a package and returns the paths of their executables by name.
///
/// # Errors
/// If cargo fails.
pub fn build(manifest: &Path, targets: &[&str]) -> Result<BTreeMap<String, PathBuf>, String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(["build", "--release", "--locked", "--message-format", "json-render-diagnostics"])
        .args(targets)
        .arg("--manifest-path")
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo build of {}: {}", manifest.display(), output.status));
    }
    let artifact = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let file = message["executable"].as_str()?;
        Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(file)))
    };
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(artifact).collect())
}

/// A listening server process, which is terminated on drop.
pub struct Program {
    child: Child,
    /// The address that it listens on.
    pub address: SocketAddr,
}

impl Program {
    /// Starts a program, with `{port}` in the arguments replaced by a free port, and waits until it
    /// listens.
    ///
    /// # Errors
    /// If it does not start, ends, or does not listen in time.
    pub fn start(program: &Path, arguments: &[String]) -> io::Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let port = address.port().to_string();
        let child = Command::new(program)
            .args(arguments.iter().map(|it| it.replace("{port}", &port)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut program = Self { child, address };
        program.wait_until("it listens", || is_listening(address.port()))?;
        Ok(program)
    }

    /// Returns the process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Polls until `happened` returns true.
    ///
    /// # Errors
    /// If the process ends meanwhile, or after a timeout.
    pub fn wait_until(&mut self, event: &str, happened: impl Fn() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + EVENT_TIMEOUT;
        while !happened() {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("the server ended ({status}): {event}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("timed out: {event}")));
            }
            sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Connects.
    ///
    /// # Errors
    /// Those of connect(2).
    pub fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, EVENT_TIMEOUT)?;
        stream.set_read_timeout(Some(EVENT_TIMEOUT))?;
        Ok(stream)
    }

    /// Sends one request and returns all bytes until the end of the stream.
    ///
    /// # Errors
    /// Those of connect(2), send(2) and recv(2), and a timeout.
    pub fn request(&self) -> io::Result<Vec<u8>> {
        let (mut stream, mut response) = (self.connect()?, Vec::new());
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        stream.read_to_end(&mut response)?;
        Ok(response)
    }

    /// Sends `count` requests on one keep-alive connection and returns the responses, each of which
    /// ends with `end`.
    ///
    /// # Errors
    /// Those of [`Program::request`], and the end of the stream.
    pub fn keep_alive_requests(&self, count: usize, end: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut stream = self.connect()?;
        let mut request = || {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            let (mut response, mut buffer) = (Vec::new(), [0; 4096]);
            while !response.ends_with(end) {
                match stream.read(&mut buffer)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => response.extend_from_slice(&buffer[..count]),
                }
            }
            Ok(response)
        };
        (0..count).map(|_| request()).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: kill takes no pointers; the ID is not reused before the child is waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
            }
            sleep(POLL_INTERVAL);
        }
    }
}

/// Returns true if a socket listens on `port` (proc_net_tcp(5)). A connection attempt would be an
/// additional request.
fn is_listening(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let is_match = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().take(4).collect();
        let ends_with_port = columns.get(1).is_some_and(|it| it.ends_with(&format!(":{port:04X}")));
        ends_with_port && columns.get(3) == Some(&"0A")
    };
    table.lines().skip(1).any(is_match)
}
