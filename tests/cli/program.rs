//! Runs the program and waits for its messages; guards kill and reap what they started.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// Longer than any event takes on a busy machine.
const EVENT_TIMEOUT_S: i64 = 60;

/// Returns a command of the program without the configuration of the user who runs the tests.
pub(crate) fn ringpoll(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpoll"));
    command.args(arguments).current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("RINGPOLL_") {
            command.env_remove(variable);
        }
    }
    command
}

/// Returns the standard output of a command that must succeed.
pub(crate) fn run(arguments: &[&str]) -> String {
    stdout_of(&ringpoll(arguments).output().unwrap())
}

/// Returns the standard output of a command that must have succeeded.
pub(crate) fn stdout_of(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the standard error of a command that must fail with that exit code.
pub(crate) fn stderr_of_failure(command: &mut Command, exit_code: i32) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit_code), "{errors}");
    assert_eq!(output.stdout, b"", "a failed command prints nothing to standard output");
    errors
}

/// A server that listens. It is killed and reaped on drop.
pub(crate) struct Server {
    /// Lines on standard error before the start line.
    pub(crate) lines_before_start: Vec<String>,
    /// `listening on …`.
    pub(crate) start_line: String,
    /// The address in the start line.
    pub(crate) address: SocketAddr,
    /// Standard output, if it is a pipe.
    pub(crate) stdout: Option<ChildStdout>,
    child: Child,
    stderr: BufReader<ChildStderr>,
}

/// A server that has ended by itself.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    /// Standard error after the last line that was read.
    pub(crate) stderr: String,
}

impl Server {
    /// Starts `ringpoll serve` on a port that the kernel chooses.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        Self::start_as(ringpoll(&arguments).stdout(Stdio::piped()))
    }

    /// Starts that command, and waits until it listens.
    pub(crate) fn start_as(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let stdout = child.stdout.take();
        // The guard is made first, because reading may panic.
        let mut server = Self {
            lines_before_start: Vec::new(),
            start_line: String::new(),
            address: ([0, 0, 0, 0], 0).into(),
            stdout,
            child,
            stderr,
        };
        loop {
            let line = server.read_line();
            if let Some(rest) = line.strip_prefix("listening on ") {
                server.address = rest.split(' ').next().unwrap().parse().unwrap();
                server.start_line = line;
                return server;
            }
            server.lines_before_start.push(line);
        }
    }

    /// Reads the next line of standard error, without its newline.
    pub(crate) fn read_line(&mut self) -> String {
        if self.stderr.buffer().is_empty() {
            wait_until_readable(self.stderr.get_ref());
        }
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "it ended without a further line: {:?}", self.lines_before_start);
        line.trim_end().to_owned()
    }

    /// Sends a request and returns the whole response.
    pub(crate) fn request(&self, request: &[u8]) -> Vec<u8> {
        let mut client = self.connect();
        client.write_all(request).unwrap();
        let mut response = Vec::new();
        client.read_to_end(&mut response).unwrap();
        response
    }

    /// Sends a short request and checks the response.
    pub(crate) fn request_hello(&self) {
        let response = String::from_utf8(self.request(b"GET / HTTP/1.0\r\n\r\n")).unwrap();
        assert!(response.ends_with("\r\n\r\nHello, world!"), "{response}");
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(EVENT_TIMEOUT_S as u64))).unwrap();
        client
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).unwrap();
    }

    /// Waits for the end of a server that has been signalled.
    pub(crate) fn wait(mut self) -> Ended {
        wait_until_readable(&pidfd_open(self.process(), PidfdFlags::empty()).unwrap());
        let status = self.child.wait().unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stderr.read_to_string(&mut stderr).unwrap();
        if let Some(mut output) = self.stdout.take() {
            output.read_to_string(&mut stdout).unwrap();
        }
        Ended { status, stdout, stderr }
    }

    /// Sends SIGTERM and waits for the end, which must be successful.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        ended
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if `wait` has reaped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the descriptor is readable or the other end is closed.
pub(crate) fn wait_until_readable(descriptor: &impl AsFd) {
    let timeout = Timespec { tv_sec: EVENT_TIMEOUT_S, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&timeout)).unwrap();
    assert_eq!(ready, 1, "not readable for {EVENT_TIMEOUT_S} s");
}
