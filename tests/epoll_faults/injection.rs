//! Errors that strace injects into the system calls of a running server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{PTracer, Pid, Signal, kill_process, set_ptracer};
use tempfile::TempDir;

use common::ServerProcess;
use common::strace::{self, Call};

/// The traced system calls: those of the event loop and of the stop.
const CALLS: &str = "accept4,recvfrom,sendto,shutdown,close,epoll_ctl,epoll_wait,setsockopt,ioctl";

/// Starts a server that strace may attach to.
pub(crate) fn start_server(arguments: &[impl AsRef<str>]) -> ServerProcess {
    use std::os::unix::process::CommandExt;
    ServerProcess::start_with(arguments, |command| {
        let allow = || {
            // With the Yama module only ancestors may trace (ptrace(2)); strace is a sibling.
            // Without the module prctl fails with EINVAL.
            let _ = set_ptracer(PTracer::Any);
            Ok(())
        };
        // SAFETY: between fork and exec only one system call is made, without any allocation.
        unsafe { command.pre_exec(allow) };
    })
}

/// The system calls that fail, their error, and which invocations fail, numbered from 1.
#[derive(Clone, Debug)]
pub(crate) struct Fault<'a> {
    /// One name, or several separated by commas.
    pub(crate) calls: &'a str,
    pub(crate) error: &'a str,
    /// `when=` of strace(1): `3`, `1..20`, `1..19+2`, or `1+` for all.
    pub(crate) when: &'a str,
}

/// An attached strace; system calls of the server fail until it is dropped.
pub(crate) struct Injection {
    strace: Child,
    server: u32,
    directory: TempDir,
}

impl Injection {
    /// Attaches strace to the server's first thread, which is the only worker. The thread that
    /// waits for signals makes system calls of the same names and is not traced.
    pub(crate) fn attach(strace: &Path, server: &ServerProcess, fault: &Fault) -> Self {
        let directory = TempDir::new().expect("a directory");
        let Fault { calls, error, when } = fault;
        let mut strace = Command::new(strace)
            .args(["-e", &format!("trace={CALLS}")])
            .args(["-e", &format!("inject={calls}:error={error}:when={when}")])
            .args(["-p", &server.id().to_string(), "-o"])
            .arg(directory.path().join("log"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace starts");
        let mut stderr = BufReader::new(strace.stderr.take().expect("it is piped"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("text");
        assert!(line.ends_with("attached\n"), "{fault:?}: {line}");
        Self { strace, server: server.id(), directory }
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Returns the system calls that have returned so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let log = fs::read_to_string(self.log_file()).expect("strace writes its log");
        // strace omits the thread ID when it traces one thread.
        let lines = log.split_inclusive('\n').map(|line| format!("{} {line}", self.server));
        strace::calls(&lines.collect::<String>())
    }

    /// Detaches strace and returns the trace.
    pub(crate) fn detach(mut self) -> Vec<Call> {
        self.end();
        self.calls()
    }

    fn end(&mut self) {
        if let Ok(None) = self.strace.try_wait() {
            let _ = kill_process(Pid::from_child(&self.strace), Signal::INT);
            let _ = self.strace.wait();
        }
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        self.end();
    }
}
