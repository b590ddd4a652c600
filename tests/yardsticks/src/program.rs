//! A server as a process of its own, and what it answers.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(5);

/// A server that listens; it is ended when this goes out of scope.
pub struct Program {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Program {
    /// Starts it with these arguments, `{port}` in them replaced by a port that is free, and
    /// returns when it listens there.
    ///
    /// # Errors
    /// When it cannot be started, ends, or does not listen within half a minute.
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
        program.wait_until("it listens", || listens(address.port()))?;
        Ok(program)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Looks again and again until it is so.
    ///
    /// # Errors
    /// When it ends meanwhile, or half a minute has passed.
    pub fn wait_until(&mut self, what: &str, is_so: impl Fn() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("until {what}: it ended, {status}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("until {what}: too long")));
            }
            sleep(GLANCE);
        }
        Ok(())
    }

    /// Connects and waits as long as it takes.
    ///
    /// # Errors
    /// As of connect(2).
    pub fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// All that it answers to one request, until it closes.
    ///
    /// # Errors
    /// Where nothing comes for half a minute, and as of recv(2).
    pub fn answer(&self) -> io::Result<Vec<u8>> {
        let (mut stream, mut answer) = (self.connect()?, Vec::new());
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }

    /// What it answers to each of so many requests on one connection that persists, if each answer
    /// ends with this.
    ///
    /// # Errors
    /// As [`Program::answer`]; and when it closes.
    pub fn persistent_answers(&self, count: usize, end: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut stream = self.connect()?;
        let mut ask = || {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
            while !answer.ends_with(end) {
                match stream.read(&mut piece)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => answer.extend_from_slice(&piece[..count]),
                }
            }
            Ok(answer)
        };
        (0..count).map(|_| ask()).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: kill takes no pointers; the child has not been waited for, so its number is its.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
            }
            sleep(GLANCE);
        }
    }
}

/// Whether somebody listens on this port, by the kernel's list (proc_net_tcp(5)): to connect would
/// be a request that nobody has asked for.
fn listens(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let is_it = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().take(4).collect();
        let ends_with_port = columns.get(1).is_some_and(|it| it.ends_with(&format!(":{port:04X}")));
        ends_with_port && columns.get(3) == Some(&"0A")
    };
    table.lines().skip(1).any(is_it)
}
