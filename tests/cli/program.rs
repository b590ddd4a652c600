//! Runs the program, waits for it by what it says, and always ends what it started.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// Longer than anything takes on a busy machine; who waits so long hangs.
const PATIENCE_S: i64 = 60;

/// The program, far from any configuration of whoever runs the tests.
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

/// What a run that must succeed printed.
pub(crate) fn printed_by(arguments: &[&str]) -> String {
    printed(&ringpoll(arguments).output().unwrap())
}

/// The same of a run that is over.
pub(crate) fn printed(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a run that must fail with that exit code said.
pub(crate) fn complaint(command: &mut Command, exit_code: i32) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit_code), "{errors}");
    assert_eq!(output.stdout, b"", "a run that fails prints nothing for its users");
    errors
}

/// A server that listens. It is killed and reaped when dropped.
pub(crate) struct Server {
    /// What it said before the start line.
    pub(crate) before: Vec<String>,
    /// `listening on …`.
    pub(crate) start_line: String,
    /// Where, from the start line.
    pub(crate) address: SocketAddr,
    /// What it prints, if nobody else was given it.
    pub(crate) stdout: Option<ChildStdout>,
    child: Child,
    stderr: BufReader<ChildStderr>,
}

/// A server that has ended by itself.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    /// What it said after the last line that was read.
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
        // The guard comes first: what follows may panic.
        let mut server = Self {
            before: Vec::new(),
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
            server.before.push(line);
        }
    }

    /// The next line on standard error, without its newline.
    pub(crate) fn read_line(&mut self) -> String {
        if self.stderr.buffer().is_empty() {
            wait_for(self.stderr.get_ref());
        }
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "it ended instead of saying something: {:?}", self.before);
        line.trim_end().to_owned()
    }

    /// Sends a request and returns the whole answer.
    pub(crate) fn ask(&self, request: &[u8]) -> Vec<u8> {
        let mut client = self.connect();
        client.write_all(request).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        answer
    }

    /// A short request, which must be answered.
    pub(crate) fn ask_for_hello(&self) {
        let answer = String::from_utf8(self.ask(b"GET / HTTP/1.0\r\n\r\n")).unwrap();
        assert!(answer.ends_with("\r\n\r\nHello, world!"), "{answer}");
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(PATIENCE_S as u64))).unwrap();
        client
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).unwrap();
    }

    /// Waits for the end, which somebody has asked for.
    pub(crate) fn wait(mut self) -> Ended {
        wait_for(&pidfd_open(self.process(), PidfdFlags::empty()).unwrap());
        let status = self.child.wait().unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stderr.read_to_string(&mut stderr).unwrap();
        if let Some(mut output) = self.stdout.take() {
            output.read_to_string(&mut stdout).unwrap();
        }
        Ended { status, stdout, stderr }
    }

    /// Asks for the stop and waits for the end, which must be a good one.
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
        // Both fail after `wait`, which has reaped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until there is something to read, or the other end is gone.
pub(crate) fn wait_for(descriptor: &impl AsFd) {
    let patience = Timespec { tv_sec: PATIENCE_S, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&patience)).unwrap();
    assert_eq!(ready, 1, "nothing came for {PATIENCE_S} s");
}
