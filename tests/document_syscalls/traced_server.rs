//! The program under strace, from its first system call to its last.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::common::{Client, Exchange, RESPONSE, wait_until};
use crate::strace::{self, Call};

pub(crate) struct TracedServer {
    address: SocketAddr,
    strace: Child,
    /// Kept open: a program whose reader has gone away would see that.
    _stderr: BufReader<ChildStderr>,
    directory: TempDir,
}

impl TracedServer {
    /// Starts `serve` on a port of the kernel's choice, and waits until it listens.
    pub(crate) fn start(strace: &Path, arguments: &[&str], stdout: impl Into<Stdio>) -> Self {
        let directory = TempDir::new().expect("a directory");
        let mut strace = Command::new(strace)
            .args(["-f", "-qq", "-o"])
            .arg(directory.path().join("log"))
            .args([env!("CARGO_BIN_EXE_ringpoll"), "serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            // No configuration but the arguments.
            .current_dir(directory.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace starts");
        let mut stderr = BufReader::new(strace.stderr.take().expect("it is piped"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("text");
        let address = line.strip_prefix("listening on ").and_then(|rest| rest.split(' ').next());
        let address = address.unwrap_or_else(|| panic!("not the start line: {line}"));
        let address = address.parse().expect("an address");
        Self { address, strace, _stderr: stderr, directory }
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// All system calls that have returned so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        strace::calls(&fs::read_to_string(self.log_file()).expect("strace writes its log"))
    }

    /// A client that says nothing.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request, which gets exactly the response.
    pub(crate) fn serve(&self) {
        assert_eq!(Client::request(self.address), Exchange::finished(RESPONSE));
    }

    /// Waits until strace has seen that so many connections were closed.
    pub(crate) fn wait_until_closed(&self, connections: usize) {
        wait_until("the connection is closed", || {
            LoopCalls::of(&self.calls()).closed >= connections
        });
    }

    /// Asks for the stop, waits for the end, and says with which exit code it came.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        kill_process(self.pid(), Signal::TERM).expect("it runs");
        let mut status = None;
        wait_until("the program ends", || {
            status = self.strace.try_wait().expect("a child of ours");
            status.is_some()
        });
        // strace ends as the program that it runs does.
        status.and_then(|status| status.code())
    }

    /// The program's own: strace's log begins with it.
    fn pid(&self) -> Pid {
        let mut text = String::new();
        let log = File::open(self.log_file()).expect("strace writes its log");
        log.take(16).read_to_string(&mut text).expect("text");
        let pid = text.split(' ').next().and_then(|pid| pid.parse().ok());
        pid.and_then(Pid::from_raw).expect("its number")
    }
}

impl Drop for TracedServer {
    fn drop(&mut self) {
        if let Ok(None) = self.strace.try_wait() {
            // The program first: without strace it would live on.
            let _ = kill_process(self.pid(), Signal::KILL);
            let _ = self.strace.kill();
            let _ = self.strace.wait();
        }
    }
}

/// From its start line on the program serves, and does nothing else.
fn is_the_start_line(call: &Call) -> bool {
    call.name == "write" && call.arguments.starts_with("2, \"listening on ")
}

/// How often each system call was made by the thread that serves, on the descriptors that it
/// serves: those of connections, the listener's for accepting, and the engine's own.
pub(crate) struct LoopCalls<'log> {
    pub(crate) counts: BTreeMap<&'log str, u64>,
    /// Connections that were closed.
    pub(crate) closed: usize,
}

impl<'log> LoopCalls<'log> {
    pub(crate) fn of(calls: &'log [Call]) -> Self {
        let mut of_loop = Self { counts: Default::default(), closed: 0 };
        let mut connections = HashSet::new();
        let mut of_signals = Vec::new();
        // What comes before belongs to the making of the engine, which tries what there is.
        let serves_from = calls.iter().position(is_the_start_line).unwrap_or(calls.len());
        for (index, call) in calls.iter().enumerate() {
            let descriptor = call.descriptor();
            let counted = match call.name.as_str() {
                // Signals come through one. Its two descriptors stand last, in brackets.
                "socketpair" => {
                    let (_, pair) = call.arguments.split_once('[').expect("a pair");
                    let pair = pair.trim_end_matches(']').split(", ");
                    of_signals.extend(pair.filter_map(|it| it.parse::<i32>().ok()));
                    false
                }
                "accept4" => {
                    connections.extend(call.returned().filter(|&result| result >= 0));
                    true
                }
                "epoll_create1" | "epoll_ctl" | "epoll_wait" | "shutdown" => true,
                "io_uring_enter" => true,
                "recvfrom" | "sendto" => descriptor.is_some_and(|it| !of_signals.contains(&it)),
                "close" => descriptor.is_some_and(|it| connections.remove(&i64::from(it))),
                _ => false,
            };
            if counted && index > serves_from {
                *of_loop.counts.entry(&call.name).or_default() += 1;
                of_loop.closed += usize::from(call.name == "close");
            }
        }
        of_loop
    }
}
