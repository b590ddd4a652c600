//! One server process: started, found to be listening, stopped, and asked what it counted.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::arm::{Contestant, Program};
use super::server_report::ServerReport;
use super::{listening, topology};
use crate::failure::Failure;
use crate::report::result::Placement;

/// How long a server may take until it listens.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to end after SIGTERM. Nobody is connected any more by then.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// How often what cannot be waited for is looked at.
const GLANCE: Duration = Duration::from_millis(1);
/// How many of its last lines on standard error are kept.
const LINES_KEPT: usize = 20;

/// Our own program, for the arms that are engines.
#[derive(Clone, Debug)]
pub struct OwnProgram(pub PathBuf);

impl OwnProgram {
    /// The very program that is running, even if its file has been replaced since.
    pub fn running() -> Self {
        Self(PathBuf::from("/proc/self/exe"))
    }
}

/// A server that listens.
pub struct ServerProcess {
    child: Child,
    errors: Receiver<String>,
    kept: Vec<String>,
    label: String,
    own: bool,
    /// Where it listens.
    pub address: SocketAddr,
    /// Our own server's word for its engine.
    pub engine: Option<String>,
}

impl ServerProcess {
    /// Starts the server of an arm on its processors, and returns when it listens.
    ///
    /// # Errors
    /// When it does not start, or ends, or does not listen in time: with its own words.
    pub fn start(
        contestant: &Contestant,
        own_program: &OwnProgram,
        placement: &Placement,
    ) -> Result<Self, Failure> {
        let label = contestant.description.label.clone();
        let port = match contestant.program {
            Program::Engine { .. } => 0,
            Program::Command(_) => free_port().map_err(|error| run_failure(&label, error))?,
        };
        let mut command = command_of(&contestant.program, own_program, port);
        // What a thread starts inherits its processors.
        pin(&placement.server_cpus, &label)?;
        let child = command.spawn();
        pin(&placement.client_cpus, &label)?;
        let mut child = child.map_err(|error| {
            let program = command.get_program().to_string_lossy();
            Failure::Usage(format!(
                "ringpoll compare: arm {label}: {program} cannot be started: {error}"
            ))
        })?;
        let errors = lines_of(child.stderr.take().expect("it was asked for as a pipe"));
        let mut server = Self {
            child,
            errors,
            kept: Vec::new(),
            label,
            own: port == 0,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            engine: None,
        };
        if server.own { server.await_start_line() } else { server.await_listener() }?;
        Ok(server)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether what it uses is that of more than one process.
    pub fn has_family(&self) -> bool {
        !self.own
    }

    /// Stops it like Ctrl-Z, or lets it go on.
    pub fn rest(&self, rest: bool) {
        let signal = if rest { Signal::STOP } else { Signal::CONT };
        // One that has ended is found out when it is to be stopped for good.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    /// `listening on 127.0.0.1:8080 · epoll, level triggered · 1 worker`.
    fn await_start_line(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.errors.recv_timeout(left) {
                Ok(line) => {
                    if let Some((address, engine)) = read_start_line(&line) {
                        self.address = address;
                        self.engine = Some(engine);
                        return Ok(());
                    }
                    self.kept.push(line);
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.did_not_start("in time")),
                Err(RecvTimeoutError::Disconnected) => return Err(self.did_not_start("at all")),
            }
        }
    }

    /// Connecting to see whether it is there would be a request that nobody asked for, so the
    /// kernel's list of listeners is read.
    fn await_listener(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START_PATIENCE;
        while !listening::listens(self.id(), self.address.port()) {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return Err(self.did_not_start("at all"));
            }
            if Instant::now() > deadline {
                return Err(self.did_not_start("in time"));
            }
            sleep(GLANCE);
        }
        Ok(())
    }

    fn did_not_start(&mut self, how: &str) -> Failure {
        let status = self.end();
        let words = self.last_words();
        let message =
            format!("ringpoll compare: arm {}: its server did not start {how}{words}", self.label);
        match status.and_then(|status| status.code()) {
            Some(3) if self.own => Failure::BackendRefused(message),
            _ => Failure::Run(message),
        }
    }

    fn last_words(&mut self) -> String {
        // Its end of the pipe is closed by now, unless somebody it started holds it.
        while let Ok(line) = self.errors.recv_timeout(Duration::from_millis(200)) {
            self.kept.push(line);
        }
        let first = self.kept.len().saturating_sub(LINES_KEPT);
        self.kept[first..].iter().map(|line| format!("\n  {line}")).collect()
    }

    /// Stops it, and returns what it counted; `None` for another program.
    ///
    /// # Errors
    /// When it ended before it was asked to, or our own server reports nothing.
    pub fn stop(mut self) -> Result<Option<ServerReport>, Failure> {
        if let Ok(Some(status)) = self.child.try_wait() {
            let words = self.last_words();
            let message = format!("its server ended before it was stopped, with {status}{words}");
            return Err(run_failure(&self.label, message));
        }
        let status = self.end();
        if !self.own {
            return Ok(None);
        }
        let mut text = String::new();
        if let Some(output) = &mut self.child.stdout {
            output.read_to_string(&mut text).map_err(|error| run_failure(&self.label, error))?;
        }
        match (ServerReport::read(&text), status) {
            (Ok(report), Some(status)) if status.success() => Ok(Some(report)),
            (Err(problem), Some(status)) if status.success() => {
                Err(run_failure(&self.label, format!("its server's report: {problem}")))
            }
            (_, status) => {
                let end = status.map_or("SIGKILL after SIGTERM".into(), |it| it.to_string());
                let words = self.last_words();
                Err(run_failure(&self.label, format!("its server ended with {end}{words}")))
            }
        }
    }

    /// Asks it to end, makes it, and clears away what it has left. `None` if it had to be made.
    fn end(&mut self) -> Option<ExitStatus> {
        let leader = Pid::from_child(&self.child);
        self.rest(false);
        let _ = kill_process(leader, Signal::TERM);
        let deadline = Instant::now() + STOP_PATIENCE;
        let mut status = self.child.try_wait().ok().flatten();
        while status.is_none() && Instant::now() < deadline {
            sleep(GLANCE);
            status = self.child.try_wait().ok().flatten();
        }
        // The group lives on while any of it does, its leader or not.
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

fn command_of(program: &Program, own_program: &OwnProgram, port: u16) -> Command {
    let mut command = match program {
        Program::Engine { arguments, .. } => {
            let mut command = Command::new(&own_program.0);
            // Every key is set by a flag, and no file or variable has a say.
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
    // A group of its own: Ctrl-C is for us, and its descendants can be found.
    command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    command
}

fn read_start_line(line: &str) -> Option<(SocketAddr, String)> {
    let mut parts = line.strip_prefix("listening on ")?.split(" · ");
    Some((parts.next()?.parse().ok()?, parts.next()?.to_owned()))
}

/// The lines of a pipe, read by a thread that ends with it: a full pipe would stop the server.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { return };
            // Nobody may listen any more; the pipe has to be emptied all the same.
            let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
        }
    });
    receiver
}

/// A port that nobody uses. Nobody connects to it before its new owner listens, so it leaves
/// nothing behind.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn pin(cpus: &[usize], label: &str) -> Result<(), Failure> {
    topology::pin(cpus)
        .map_err(|error| run_failure(label, format!("processors {cpus:?} cannot be used: {error}")))
}

fn run_failure(label: &str, message: impl std::fmt::Display) -> Failure {
    Failure::Run(format!("ringpoll compare: arm {label}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_lines_are_read() {
        let line = "listening on 127.0.0.1:4242 · epoll, level triggered · 1 worker · config x";
        let (address, engine) = read_start_line(line).unwrap();
        assert_eq!((address.port(), engine.as_str()), (4242, "epoll, level triggered"));
        assert!(read_start_line("backend auto takes epoll").is_none());
    }
}
