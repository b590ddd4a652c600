//! `ringpoll serve` as a child process, which is killed when the guard is dropped.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Descriptors, EVENT_TIMEOUT, descriptors_of, wait_until};

pub struct ServerProcess {
    pub address: SocketAddr,
    /// `listening on 127.0.0.1:8080 · epoll, level-triggered · 1 worker`
    pub start_line: String,
    child: Child,
    /// Joins the thread that drains the pipe, so that the program never blocks on it.
    stdout: Option<JoinHandle<String>>,
    stderr: Receiver<String>,
}

/// Status and output of a server that has exited.
pub struct ServerOutput {
    pub status: ExitStatus,
    pub stdout: String,
    /// Lines after the start line.
    pub stderr: Vec<String>,
}

impl ServerOutput {
    /// Parses the JSON report: the last line of standard output.
    pub fn report(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("no report: {error}: {last}"))
    }
}

impl ServerProcess {
    /// Starts `ringpoll serve --stats json` and waits until it listens: on a port that the kernel
    /// chooses, unless `arguments` contain `--listen`. Environment variables do not configure it.
    pub fn start(arguments: &[impl AsRef<str>]) -> Self {
        Self::start_with(arguments, |_| {})
    }

    /// Starts the server after `configure` has changed the command.
    pub fn start_with(arguments: &[impl AsRef<str>], configure: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(crate::program());
        command
            .args(["serve", "--stats", "json"])
            .args(arguments.iter().map(AsRef::as_ref))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir(std::env::temp_dir());
        if !arguments.iter().any(|argument| argument.as_ref() == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RINGPOLL_") {
                command.env_remove(name);
            }
        }
        configure(&mut command);
        Self::from_child(command.spawn().expect("the program has been built"))
    }

    fn from_child(mut child: Child) -> Self {
        let mut out = child.stdout.take().expect("it is piped");
        let stdout = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = out.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let errors = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, stderr) = channel();
        thread::spawn(move || {
            errors.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut process = Self {
            address: SocketAddr::from(([0; 4], 0)),
            start_line: String::new(),
            child,
            stdout: Some(stdout),
            stderr,
        };
        process.read_start_line();
        process
    }

    fn read_start_line(&mut self) {
        let mut lines = Vec::new();
        while let Ok(line) = self.stderr.recv_timeout(EVENT_TIMEOUT) {
            if let Some(rest) = line.strip_prefix("listening on ") {
                let address = rest.split(" · ").next().expect("a split has a first part");
                self.address = address.parse().expect("the start line begins with the address");
                self.start_line = line;
                return;
            }
            lines.push(line);
        }
        panic!("the server does not listen; its standard error: {lines:?}");
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns its open descriptors.
    pub fn descriptors(&self) -> Descriptors {
        descriptors_of(self.id())
    }

    /// Sends `signal` to the process.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it has not been waited for");
    }

    /// Returns whether SIGSTOP has stopped its main thread, which is the only worker by default.
    pub fn is_suspended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("a child");
        // The state follows the name, which is in parentheses (proc_pid_stat(5)).
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Sends SIGTERM and waits for the exit.
    pub fn stop_and_wait(self) -> ServerOutput {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for the exit.
    pub fn wait(mut self) -> ServerOutput {
        let mut status = None;
        wait_until("the program exits", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        let stdout = self.stdout.take().expect("it is joined once").join().expect("no panic");
        let stderr = self.stderr.iter().collect();
        ServerOutput { status: status.expect("it has exited"), stdout, stderr }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
