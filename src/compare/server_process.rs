//! A server process: starts it, waits until it listens, stops it, and reads its report.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::arm::{PreparedArm, Program};
use super::server_report::ServerReport;
use super::{listener, topology};
use crate::failure::Failure;
use crate::result::CpuPlacement;

/// The time limit for a server to start listening.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The time limit for a server to exit after SIGTERM. It has no connections by then.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// The interval at which the listening socket and the exit status are polled.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// The number of last lines of standard error that a failure quotes.
const MAX_STDERR_LINES: usize = 20;

/// The path of the ringpoll executable, which ringpoll arms run.
#[derive(Clone, Debug)]
pub struct RingpollExecutable(pub PathBuf);

impl RingpollExecutable {
    /// Returns the running program, even if its file has been replaced since.
    pub fn running() -> Self {
        Self(PathBuf::from("/proc/self/exe"))
    }
}

/// A listening server.
pub struct ServerProcess {
    child: Child,
    stderr: Receiver<String>,
    stderr_lines: Vec<String>,
    label: String,
    is_ringpoll: bool,
    /// The address of its listening socket.
    pub address: SocketAddr,
    /// The engine on the start line of a ringpoll server.
    pub engine: Option<String>,
}

impl ServerProcess {
    /// Starts the server of an arm on the server's CPUs, and returns when it listens.
    ///
    /// # Errors
    /// Returns a failure that quotes standard error if the server does not listen in time.
    pub fn start(
        arm: &PreparedArm,
        executable: &RingpollExecutable,
        placement: &CpuPlacement,
    ) -> Result<Self, Failure> {
        let label = arm.description.label.clone();
        let port = match arm.program {
            Program::Engine { .. } => 0,
            Program::Command(_) => free_port().map_err(|error| run_failure(&label, error))?,
        };
        let mut command = command_of(&arm.program, executable, port);
        // A child inherits the CPU affinity of the thread that starts it.
        pin(&placement.server_cpus, &label)?;
        let child = command.spawn();
        pin(&placement.client_cpus, &label)?;
        let mut child = child.map_err(|error| {
            let program = command.get_program().to_string_lossy();
            Failure::Usage(format!(
                "ringpoll compare: arm {label}: cannot start {program}: {error}"
            ))
        })?;
        let stderr = read_lines(child.stderr.take().expect("stderr is a pipe"));
        let mut server = Self {
            child,
            stderr,
            stderr_lines: Vec::new(),
            label,
            is_ringpoll: port == 0,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            engine: None,
        };
        if server.is_ringpoll { server.await_start_line() } else { server.await_listener() }?;
        Ok(server)
    }

    /// Returns its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns true if child processes count as part of the server.
    pub fn may_have_children(&self) -> bool {
        !self.is_ringpoll
    }

    /// Stops the process group with SIGSTOP, or continues it with SIGCONT.
    pub fn set_paused(&self, paused: bool) {
        let signal = if paused { Signal::STOP } else { Signal::CONT };
        // A server that has exited is reported by `stop`.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    /// Reads the start line of a ringpoll server.
    fn await_start_line(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.stderr.recv_timeout(left) {
                Ok(line) => {
                    if let Some((address, engine)) = parse_start_line(&line) {
                        self.address = address;
                        self.engine = Some(engine);
                        return Ok(());
                    }
                    self.stderr_lines.push(line);
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.start_failure("in time")),
                Err(RecvTimeoutError::Disconnected) => return Err(self.start_failure("at all")),
            }
        }
    }

    /// Waits until the server's socket is in the kernel's list of listeners. A probe connection
    /// would be counted by the server.
    fn await_listener(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !listener::is_listening(self.id(), self.address.port()) {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return Err(self.start_failure("at all"));
            }
            if Instant::now() > deadline {
                return Err(self.start_failure("in time"));
            }
            sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn start_failure(&mut self, how: &str) -> Failure {
        let status = self.terminate();
        let stderr = self.last_stderr_lines();
        let message =
            format!("ringpoll compare: arm {}: the server did not start {how}{stderr}", self.label);
        match status.and_then(|status| status.code()) {
            Some(3) if self.is_ringpoll => Failure::BackendRefused(message),
            _ => Failure::Run(message),
        }
    }

    fn last_stderr_lines(&mut self) -> String {
        // The pipe is closed by now, unless a child process holds it open.
        while let Ok(line) = self.stderr.recv_timeout(Duration::from_millis(200)) {
            self.stderr_lines.push(line);
        }
        let first = self.stderr_lines.len().saturating_sub(MAX_STDERR_LINES);
        self.stderr_lines[first..].iter().map(|line| format!("\n  {line}")).collect()
    }

    /// Stops the server and returns the report of a ringpoll server; `None` for another program.
    ///
    /// # Errors
    /// Returns a failure if the server had exited before, or if it has no valid report.
    pub fn stop(mut self) -> Result<Option<ServerReport>, Failure> {
        if let Ok(Some(status)) = self.child.try_wait() {
            let stderr = self.last_stderr_lines();
            let message = format!("the server exited during the measurement: {status}{stderr}");
            return Err(run_failure(&self.label, message));
        }
        let status = self.terminate();
        if !self.is_ringpoll {
            return Ok(None);
        }
        let mut text = String::new();
        if let Some(output) = &mut self.child.stdout {
            output.read_to_string(&mut text).map_err(|error| run_failure(&self.label, error))?;
        }
        match (ServerReport::parse(&text), status) {
            (Ok(report), Some(status)) if status.success() => Ok(Some(report)),
            (Err(problem), Some(status)) if status.success() => {
                Err(run_failure(&self.label, format!("invalid report of the server: {problem}")))
            }
            (_, status) => {
                let end = status.map_or("SIGTERM timed out, SIGKILL".into(), |it| it.to_string());
                let stderr = self.last_stderr_lines();
                Err(run_failure(&self.label, format!("the server exited with {end}{stderr}")))
            }
        }
    }

    /// Sends SIGTERM, then SIGKILL to the process group. Returns `None` if SIGTERM timed out.
    fn terminate(&mut self) -> Option<ExitStatus> {
        let leader = Pid::from_child(&self.child);
        self.set_paused(false);
        let _ = kill_process(leader, Signal::TERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        let mut status = self.child.try_wait().ok().flatten();
        while status.is_none() && Instant::now() < deadline {
            sleep(POLL_INTERVAL);
            status = self.child.try_wait().ok().flatten();
        }
        // The group may outlive its leader.
        let _ = kill_process_group(leader, Signal::KILL);
        if status.is_none() {
            let _ = self.child.wait();
        }
        status
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

fn command_of(program: &Program, executable: &RingpollExecutable, port: u16) -> Command {
    let mut command = match program {
        Program::Engine { arguments, .. } => {
            let mut command = Command::new(&executable.0);
            // All keys are set by flags, so files and environment variables have no effect.
            command.arg0("ringpoll").args(arguments).args(["--config", "/dev/null"]);
            command.stdout(Stdio::piped());
            command
        }
        Program::Command(words) => {
            let word = |word: &String| word.replace("{port}", &port.to_string());
            let mut command = Command::new(word(&words[0]));
            command.args(words[1..].iter().map(word)).stdout(Stdio::null());
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RINGPOLL_") {
            command.env_remove(name);
        }
    }
    // A new process group: Ctrl-C does not reach the server, and its descendants can be killed.
    command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    command
}

fn parse_start_line(line: &str) -> Option<(SocketAddr, String)> {
    let mut parts = line.strip_prefix("listening on ")?.split(" · ");
    Some((parts.next()?.parse().ok()?, parts.next()?.to_owned()))
}

/// Reads the lines of a pipe in a thread that ends with it: a full pipe would block the server.
fn read_lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { return };
            // The pipe must be drained even if the receiver is gone.
            let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
        }
    });
    receiver
}

/// Returns a free port. No connection is made to it, so closing it leaves no TIME_WAIT state.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn pin(cpus: &[usize], label: &str) -> Result<(), Failure> {
    topology::pin(cpus)
        .map_err(|error| run_failure(label, format!("cannot run on CPUs {cpus:?}: {error}")))
}

fn run_failure(label: &str, message: impl std::fmt::Display) -> Failure {
    Failure::Run(format!("ringpoll compare: arm {label}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_line_is_parsed() {
        let line = "listening on 127.0.0.1:4242 · epoll, level-triggered · 1 worker · config x";
        let (address, engine) = parse_start_line(line).unwrap();
        assert_eq!((address.port(), engine.as_str()), (4242, "epoll, level-triggered"));
        assert!(parse_start_line("backend auto uses epoll").is_none());
    }
}
