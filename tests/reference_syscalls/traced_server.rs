//! A server that runs under strace from its first system call to its last.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use common::strace::{self, Call};
use common::{Client, RESPONSE, ReceivedStream, wait_until};

pub(crate) struct TracedServer {
    address: SocketAddr,
    strace: Child,
    /// Kept open so that the server can write to it.
    _stderr: BufReader<ChildStderr>,
    directory: TempDir,
}

impl TracedServer {
    /// Starts `serve` on a free port and waits until it listens.
    pub(crate) fn start(strace: &Path, arguments: &[&str], stdout: impl Into<Stdio>) -> Self {
        let directory = TempDir::new().expect("a directory");
        let mut strace = Command::new(strace)
            .args(["-f", "-qq", "-o"])
            .arg(directory.path().join("log"))
            .args([env!("CARGO_BIN_EXE_ringpoll"), "serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            // Only the arguments configure it.
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

    /// Returns all system calls that have returned so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        strace::calls(&fs::read_to_string(self.log_file()).expect("strace writes its log"))
    }

    /// Connects an idle client.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Sends one request and asserts that exactly the response arrives.
    pub(crate) fn serve(&self) {
        assert_eq!(Client::request(self.address), ReceivedStream::with_fin(RESPONSE));
    }

    /// Waits until the trace shows `connections` closed connections.
    pub(crate) fn wait_until_closed(&self, connections: usize) {
        wait_until("the connection is closed", || {
            LoopCalls::of(&self.calls()).closed >= connections
        });
    }

    /// Requests a stop, waits for the end and returns the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        kill_process(self.pid(), Signal::TERM).expect("it runs");
        let mut status = None;
        wait_until("the program ends", || {
            status = self.strace.try_wait().expect("a child of ours");
            status.is_some()
        });
        // strace exits with the status of its child.
        status.and_then(|status| status.code())
    }

    /// Returns the process ID of the server, with which the log of strace begins.
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
            // The server first: it would survive strace.
            let _ = kill_process(self.pid(), Signal::KILL);
            let _ = self.strace.kill();
            let _ = self.strace.wait();
        }
    }
}

/// Returns true for the write of the start line, after which the engine only serves.
fn is_start_line(call: &Call) -> bool {
    call.name == "write" && call.arguments.starts_with("2, \"listening on ")
}

/// Counts of the system calls that the worker thread makes to serve: on connections, on the
/// listener to accept, and on the descriptors of the engine.
pub(crate) struct LoopCalls<'log> {
    pub(crate) counts: BTreeMap<&'log str, u64>,
    /// Connections that were closed.
    pub(crate) closed: usize,
}

impl<'log> LoopCalls<'log> {
    pub(crate) fn of(calls: &'log [Call]) -> Self {
        let mut loop_calls = Self { counts: Default::default(), closed: 0 };
        let mut connections = HashSet::new();
        let mut signal_sockets = Vec::new();
        // The calls before belong to the setup of the engine, which probes the kernel.
        let serves_from = calls.iter().position(is_start_line).unwrap_or(calls.len());
        for (index, call) in calls.iter().enumerate() {
            let descriptor = call.descriptor();
            let counted = match call.name.as_str() {
                // The pair that signals are delivered through: `…, [3, 4]`.
                "socketpair" => {
                    let (_, pair) = call.arguments.split_once('[').expect("a pair");
                    let pair = pair.trim_end_matches(']').split(", ");
                    signal_sockets.extend(pair.filter_map(|it| it.parse::<i32>().ok()));
                    false
                }
                "accept4" => {
                    connections.extend(call.returned().filter(|&result| result >= 0));
                    true
                }
                "epoll_create1" | "epoll_ctl" | "epoll_wait" | "shutdown" => true,
                "io_uring_enter" => true,
                "recvfrom" | "sendto" => descriptor.is_some_and(|it| !signal_sockets.contains(&it)),
                "close" => descriptor.is_some_and(|it| connections.remove(&i64::from(it))),
                _ => false,
            };
            if counted && index > serves_from {
                *loop_calls.counts.entry(&call.name).or_default() += 1;
                loop_calls.closed += usize::from(call.name == "close");
            }
        }
        loop_calls
    }
}
