//! The program itself, serving in a process of its own for as long as the guard lives.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Descriptors, PATIENCE, descriptors_of, wait_until};

pub(crate) struct ServerProcess {
    pub(crate) address: SocketAddr,
    /// `listening on 127.0.0.1:8080 · epoll, level triggered · 1 worker`
    pub(crate) start_line: String,
    child: Child,
    /// Read all the time, so that the program never waits for a reader.
    stdout: Option<JoinHandle<String>>,
    stderr: Receiver<String>,
}

/// What is left of a program that has come to its end.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    /// What came behind the start line.
    pub(crate) stderr: Vec<String>,
}

impl Ended {
    /// The report for machines: the last line of standard output.
    pub(crate) fn report(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("no report: {error}: {last}"))
    }
}

impl ServerProcess {
    /// Starts `ringpoll serve` with a report for machines, on a port of the kernel's choice
    /// unless the arguments say otherwise, and waits until it listens. Nothing but the arguments
    /// configures it.
    pub(crate) fn start(arguments: &[impl AsRef<str>]) -> Self {
        Self::start_with(arguments, |_| {})
    }

    /// The same, with a say in how the process is made.
    pub(crate) fn start_with(
        arguments: &[impl AsRef<str>],
        configure: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringpoll"));
        command
            .args(["serve", "--stats", "json"])
            .args(arguments.iter().map(AsRef::as_ref))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir(env!("CARGO_TARGET_TMPDIR"));
        if !arguments.iter().any(|argument| argument.as_ref() == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RINGPOLL_") {
                command.env_remove(name);
            }
        }
        configure(&mut command);
        Self::listening(command.spawn().expect("the program has been built"))
    }

    fn listening(mut child: Child) -> Self {
        let mut out = child.stdout.take().expect("it is piped");
        let stdout = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = out.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let errors = BufReader::new(child.stderr.take().expect("it is piped"));
        let (tell, stderr) = channel();
        thread::spawn(move || {
            errors.lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
        });
        let mut process = Self {
            address: SocketAddr::from(([0; 4], 0)),
            start_line: String::new(),
            child,
            stdout: Some(stdout),
            stderr,
        };
        process.wait_for_the_start_line();
        process
    }

    fn wait_for_the_start_line(&mut self) {
        let mut said = Vec::new();
        while let Ok(line) = self.stderr.recv_timeout(PATIENCE) {
            if let Some(rest) = line.strip_prefix("listening on ") {
                let address = rest.split(" · ").next().expect("a split has a first part");
                self.address = address.parse().expect("the start line begins with the address");
                self.start_line = line;
                return;
            }
            said.push(line);
        }
        panic!("it does not listen; it said: {said:?}");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has open just now.
    pub(crate) fn descriptors(&self) -> Descriptors {
        descriptors_of(self.id())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it has not been waited for");
    }

    /// Whether its first thread, which serves where there is one worker, is stopped, as SIGSTOP
    /// does it.
    pub(crate) fn is_held(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("a child");
        // The state follows the name, which stands in parentheses (proc_pid_stat(5)).
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// Asks it to stop, by SIGTERM, and waits for its end.
    pub(crate) fn stopped(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        let mut status = None;
        wait_until("the program ends", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        let stdout = self.stdout.take().expect("it ends once").join().expect("no panic");
        let stderr = self.stderr.iter().collect();
        Ended { status: status.expect("it has ended"), stdout, stderr }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
