//! A server: starts its processes, waits until it is ready, stops it, and reads its report.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::arm::{PreparedArm, Program};
use super::captured_output::CapturedOutput;
use super::command_arm::{CommandArm, Ready};
use super::process_tree::numeric_entries;
use super::process_usage::Sample;
use super::server_report::ServerReport;
use super::supervised::{Supervised, without_own_variables};
use super::{listener, topology};
use crate::failure::Failure;
use crate::result::CpuPlacement;

/// The time limit for a server to become ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The time limit for a ringpoll server to exit after SIGTERM. It has no connections by then.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// The time limit for another server, which has no report, to exit after SIGTERM.
const COMMAND_STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit for a server of an arm that has ignored SIGTERM before.
const SHORT_STOP_TIMEOUT: Duration = Duration::from_millis(50);
/// The interval at which readiness and the exit status are polled.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// The longest response to a request that asks if a server is ready. The rest is not received.
const MAX_READY_RESPONSE_BYTES: u64 = 16 * 1024 * 1024;

/// The time limit for a response to the request of `ready.get`.
const READY_RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The path of the ringpoll executable, which ringpoll arms run.
#[derive(Clone, Debug)]
pub struct RingpollExecutable(pub PathBuf);

impl RingpollExecutable {
    /// Returns the running program, even if its file has been replaced since.
    pub fn running() -> Self {
        Self(PathBuf::from("/proc/self/exe"))
    }
}

/// A server that is ready.
pub struct ServerProcess {
    process: Process,
    label: String,
    /// The address of its listening socket.
    pub address: SocketAddr,
    /// The engine on the start line of a ringpoll server.
    pub engine: Option<String>,
}

/// The processes of a server.
enum Process {
    Engine(EngineProcess),
    Command(Box<CommandProcess>),
}

/// A ringpoll server: one process.
struct EngineProcess {
    child: Child,
    report: CapturedOutput,
    messages: CapturedOutput,
}

/// A server of another project.
struct CommandProcess {
    supervised: Supervised,
    arm: CommandArm,
    /// True once the line of `ready.line` has been written.
    has_line: bool,
}

impl ServerProcess {
    /// Starts the server of an arm on the server's CPUs, and returns when it is ready.
    ///
    /// # Errors
    /// Returns a failure that quotes the server's output if it is not ready in time.
    pub fn start(
        arm: &PreparedArm,
        executable: &RingpollExecutable,
        placement: &CpuPlacement,
    ) -> Result<Self, Failure> {
        let label = &arm.description.label;
        // A child inherits the CPU affinity of the thread that starts it.
        pin(&placement.server_cpus, label)?;
        let started = match &arm.program {
            Program::Engine { arguments, .. } => EngineProcess::spawn(arguments, executable, label)
                .map(|it| (Process::Engine(it), 0)),
            Program::Command(command) => CommandProcess::spawn(command, executable, label)
                .map(|(it, port)| (Process::Command(Box::new(it)), port)),
        };
        pin(&placement.client_cpus, label)?;
        let (process, port) = started?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Self { process, label: label.clone(), address, engine: None };
        server.await_ready().map_err(|how| server.start_failure(how))?;
        Ok(server)
    }

    /// Returns the ID of a process in its network namespace, which exists as long as the server.
    pub fn id(&self) -> u32 {
        match &self.process {
            Process::Engine(engine) => engine.child.id(),
            Process::Command(command) => command.supervised.id(),
        }
    }

    /// Samples the resource usage of all its processes.
    pub fn sample(&self) -> Sample {
        match &self.process {
            Process::Engine(engine) => Sample::of_process(engine.child.id()),
            Process::Command(command) => Sample::of_tree(&command.supervised),
        }
    }

    /// Returns all its threads.
    pub fn threads(&self) -> Vec<u32> {
        let processes = match &self.process {
            Process::Engine(engine) => vec![engine.child.id()],
            Process::Command(command) => command.supervised.processes(),
        };
        let of_process = |process| numeric_entries(&format!("/proc/{process}/task"));
        processes.into_iter().flat_map(of_process).collect()
    }

    /// Stops all its processes with SIGSTOP, or continues them with SIGCONT.
    pub fn set_paused(&self, paused: bool) {
        let signal = if paused { Signal::STOP } else { Signal::CONT };
        match &self.process {
            // A server that has exited is reported by `stop`.
            Process::Engine(engine) => drop(kill_process(Pid::from_child(&engine.child), signal)),
            Process::Command(command) => command.supervised.signal(signal),
        }
    }

    /// Keeps the memory of its output small.
    pub fn limit_output(&mut self) {
        self.output_mut().limit();
    }

    fn output_mut(&mut self) -> &mut CapturedOutput {
        match &mut self.process {
            Process::Engine(engine) => &mut engine.messages,
            Process::Command(command) => &mut command.supervised.output,
        }
    }

    /// Returns true if no process of the server is left.
    fn has_ended(&mut self) -> bool {
        match &mut self.process {
            Process::Engine(engine) => matches!(engine.child.try_wait(), Ok(Some(_)) | Err(_)),
            Process::Command(command) => command.supervised.has_ended(),
        }
    }

    /// Waits until the server is ready, and takes its address. An error says why it is not.
    fn await_ready(&mut self) -> Result<(), &'static str> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            // The exit is checked first: the last line can precede it.
            let has_ended = self.has_ended();
            match &mut self.process {
                Process::Engine(engine) => {
                    if let Some((address, name)) = engine.start_line() {
                        (self.address, self.engine) = (address, Some(name));
                        return Ok(());
                    }
                }
                Process::Command(command) => {
                    if let Some(address) = command.ready_address(self.address.port()) {
                        self.address = address;
                        sleep(command.arm.settle);
                        return Ok(());
                    }
                }
            }
            if has_ended {
                return Err("at all");
            }
            if Instant::now() > deadline {
                return Err("in time");
            }
            sleep(POLL_INTERVAL);
        }
    }

    fn start_failure(&mut self, how: &str) -> Failure {
        let status = match &mut self.process {
            Process::Engine(engine) => engine.terminate(),
            Process::Command(command) => {
                command.terminate();
                None
            }
        };
        let output = self.output_mut().last_lines();
        let label = &self.label;
        let message =
            format!("ringpoll compare: arm {label}: the server did not start {how}{output}");
        match status.and_then(|status| status.code()) {
            Some(3) => Failure::BackendRefused(message),
            _ => Failure::Run(message),
        }
    }

    /// Stops the server and returns the report of a ringpoll server; `None` for another program.
    ///
    /// # Errors
    /// Returns a failure if the server had exited before, or if it has no valid report.
    pub fn stop(mut self) -> Result<Option<ServerReport>, Failure> {
        if self.has_ended() {
            let status = match &mut self.process {
                Process::Engine(engine) => engine.child.wait().ok().map(|it| it.to_string()),
                Process::Command(command) => command.supervised.exit_status(),
            };
            let (status, output) = (status.unwrap_or_default(), self.output_mut().last_lines());
            let message = format!("the server exited during the measurement: {status}{output}");
            return Err(run_failure(&self.label, message));
        }
        match &mut self.process {
            Process::Engine(engine) => engine.stop(&self.label).map(Some),
            Process::Command(command) => {
                command.terminate();
                Ok(None)
            }
        }
    }
}

impl EngineProcess {
    fn spawn(
        arguments: &[String],
        executable: &RingpollExecutable,
        label: &str,
    ) -> Result<Self, Failure> {
        let spawn = || {
            let (report, messages) = (CapturedOutput::new()?, CapturedOutput::new()?);
            let mut command = Command::new(&executable.0);
            // All keys are set by flags, so files and environment variables have no effect.
            command.arg0("ringpoll").args(arguments).args(["--config", "/dev/null"]);
            without_own_variables(&mut command);
            // A new process group: Ctrl-C does not reach the server.
            command.process_group(0).stdin(Stdio::null());
            command.stdout(report.stdio()?).stderr(messages.stdio()?);
            Ok(Self { child: command.spawn()?, report, messages })
        };
        spawn().map_err(|error: std::io::Error| cannot_start(label, &error.to_string()))
    }

    /// Returns the address and the engine on the start line, once it is complete.
    fn start_line(&mut self) -> Option<(SocketAddr, String)> {
        std::iter::from_fn(|| self.messages.next_line()).find_map(|line| parse_start_line(&line))
    }

    fn stop(&mut self, label: &str) -> Result<ServerReport, Failure> {
        let status = self.terminate();
        match (ServerReport::parse(&self.report.text()), status) {
            (Ok(report), Some(status)) if status.success() => Ok(report),
            (Err(problem), Some(status)) if status.success() => {
                Err(run_failure(label, format!("invalid report of the server: {problem}")))
            }
            (_, status) => {
                let end = status.map_or("SIGTERM timed out, SIGKILL".into(), |it| it.to_string());
                let output = self.messages.last_lines();
                Err(run_failure(label, format!("the server exited with {end}{output}")))
            }
        }
    }

    /// Sends SIGTERM, then SIGKILL. Returns `None` if SIGTERM timed out.
    fn terminate(&mut self) -> Option<ExitStatus> {
        let process = Pid::from_child(&self.child);
        let _ = kill_process(process, Signal::CONT);
        let _ = kill_process(process, Signal::TERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        let mut status = self.child.try_wait().ok().flatten();
        while status.is_none() && Instant::now() < deadline {
            sleep(POLL_INTERVAL);
            status = self.child.try_wait().ok().flatten();
        }
        status
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl CommandProcess {
    /// Starts the server and returns the port that it has been given.
    fn spawn(
        arm: &CommandArm,
        executable: &RingpollExecutable,
        label: &str,
    ) -> Result<(Self, u16), Failure> {
        let port = free_port().map_err(|error| run_failure(label, error))?;
        let supervised = Supervised::start(arm, &arm.command, executable, port)
            .map_err(|problem| cannot_start(label, &problem))?;
        Ok((Self { supervised, arm: arm.clone(), has_line: false }, port))
    }

    /// Returns the address of the server once it is ready. A probe connection would be counted by
    /// the server, so its socket is searched in the kernel's list of listeners.
    fn ready_address(&mut self, port: u16) -> Option<SocketAddr> {
        if let Ready::Line(text) = &self.arm.ready {
            // The next call starts at the end of the output, so a line that was found is kept.
            while !self.has_line {
                self.has_line = self.supervised.output.next_line()?.contains(text.as_str());
            }
        }
        let families = listener::families(self.supervised.id(), port);
        let address = if families.ipv4 || (families.ipv6 && accepts_ipv4(port)) {
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        } else if families.ipv6 {
            SocketAddr::from((Ipv6Addr::LOCALHOST, port))
        } else {
            return None;
        };
        match &self.arm.ready {
            Ready::Get(path) if !responds(address, path).unwrap_or(false) => None,
            _ => Some(address),
        }
    }

    /// Sends SIGTERM, then SIGKILL.
    fn terminate(&mut self) {
        self.supervised.signal(Signal::CONT);
        let timeout = if self.arm.ignores_sigterm.load(Ordering::Relaxed) {
            SHORT_STOP_TIMEOUT
        } else {
            COMMAND_STOP_TIMEOUT
        };
        if !self.supervised.terminate(timeout) {
            self.arm.ignores_sigterm.store(true, Ordering::Relaxed);
        }
    }
}

/// Returns whether a socket that listens on all IPv6 addresses also accepts IPv4 connections: then
/// the port is in use.
fn accepts_ipv4(port: u16) -> bool {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    matches!(bound, Err(error) if error.kind() == ErrorKind::AddrInUse)
}

/// Returns whether the response to a GET request has a 2xx status.
fn responds(address: SocketAddr, path: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, READY_RESPONSE_TIMEOUT)?;
    stream.set_read_timeout(Some(READY_RESPONSE_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; "HTTP/1.1 2".len()];
    stream.read_exact(&mut status)?;
    // The server is not busy with this request when the first one is measured.
    let _ = stream.take(MAX_READY_RESPONSE_BYTES).read_to_end(&mut Vec::new());
    Ok(status.starts_with(b"HTTP/1.") && status.ends_with(b" 2"))
}

fn cannot_start(label: &str, problem: &str) -> Failure {
    Failure::Usage(format!("ringpoll compare: arm {label}: {problem}"))
}

fn parse_start_line(line: &str) -> Option<(SocketAddr, String)> {
    let mut parts = line.strip_prefix("listening on ")?.split(" · ");
    Some((parts.next()?.parse().ok()?, parts.next()?.to_owned()))
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
    fn ipv6_socket_accepts_ipv4_unless_it_is_ipv6_only() {
        use socket2::{Domain, Socket, Type};
        for only_ipv6 in [false, true] {
            // Below the ports that the kernel chooses for sockets of other tests.
            let is_free = |&port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            let port = (20_000..30_000).find(is_free).unwrap();
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
            socket.set_only_v6(only_ipv6).unwrap();
            socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into()).unwrap();
            socket.listen(1).unwrap();
            assert_eq!(accepts_ipv4(port), !only_ipv6);
            let families = listener::families(std::process::id(), port);
            assert!(families.ipv6 && !families.ipv4);
        }
    }

    #[test]
    fn start_line_is_parsed() {
        let line = "listening on 127.0.0.1:4242 · epoll, level-triggered · 1 worker · config x";
        let (address, engine) = parse_start_line(line).unwrap();
        assert_eq!((address.port(), engine.as_str()), (4242, "epoll, level-triggered"));
        assert!(parse_start_line("backend auto uses epoll").is_none());
    }
}
