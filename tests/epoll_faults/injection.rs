//! Errors in the place of system calls, put there by strace while the server runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{PTracer, Pid, Signal, kill_process, set_ptracer};
use tempfile::TempDir;

use crate::common::ServerProcess;
use crate::strace::{self, Call};

/// What strace looks at: the calls of the loop, and those of the stop.
const CALLS: &str = "accept4,recvfrom,sendto,shutdown,close,epoll_ctl,epoll_wait,setsockopt,ioctl";

/// Starts a server that strace may be attached to.
pub(crate) fn start_server(arguments: &[impl AsRef<str>]) -> ServerProcess {
    use std::os::unix::process::CommandExt;
    ServerProcess::start_with(arguments, |command| {
        let allow = || {
            // Where the Yama module lets only ancestors trace (ptrace(2)), strace, which is a
            // sibling, needs leave. Without the module the kernel does not know the option.
            let _ = set_ptracer(PTracer::Any);
            Ok(())
        };
        // SAFETY: between fork and exec only one system call is made, without any allocation.
        unsafe { command.pre_exec(allow) };
    })
}

/// Which system calls fail, how, and which of them by their number, counted from 1 on.
#[derive(Clone, Debug)]
pub(crate) struct What<'a> {
    /// One name, or several with commas between them.
    pub(crate) calls: &'a str,
    pub(crate) error: &'a str,
    /// `3`, `1..20`, `1..19+2`, or `1+` for all, as strace(1) has it.
    pub(crate) when: &'a str,
}

/// For as long as it lives, calls of the server fail.
pub(crate) struct Injection {
    strace: Child,
    server: u32,
    directory: TempDir,
}

impl Injection {
    /// Attaches strace to the server's first thread, which serves where there is one worker. The
    /// others, which wait for signals, make calls of the same names and are left alone.
    pub(crate) fn attach(strace: &Path, server: &ServerProcess, what: &What) -> Self {
        let directory = TempDir::new().expect("a directory");
        let What { calls, error, when } = what;
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
        assert!(line.ends_with("attached\n"), "{what:?}: {line}");
        Self { strace, server: server.id(), directory }
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// The calls that have returned so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let log = fs::read_to_string(self.log_file()).expect("strace writes its log");
        // Of one thread strace does not say which it is.
        let lines = log.split_inclusive('\n').map(|line| format!("{} {line}", self.server));
        strace::calls(&lines.collect::<String>())
    }

    /// From now on no call fails.
    pub(crate) fn detach(mut self) -> Vec<Call> {
        self.end();
        self.calls()
    }

    fn end(&mut self) {
        // It has not been waited for, or this does nothing.
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
