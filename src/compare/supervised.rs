//! A supervised command: a server of another project, or a command before or after all of its
//! servers.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::captured_output::CapturedOutput;
use super::command_arm::{CommandArm, with_port};
use super::process_tree::{self, ControlGroup, GroupCpu};
use super::server_process::RingpollExecutable;
use super::supervisor::{EXITED, FAILED, PROGRAM_NAME, STARTED, Task};

/// The interval at which the supervisor's messages and exit are polled.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A command and all its descendants, which end with this value.
pub struct Supervised {
    supervisor: Child,
    messages: CapturedOutput,
    /// Standard output and standard error of the command.
    pub output: CapturedOutput,
    control_group: Option<ControlGroup>,
}

impl Supervised {
    /// Starts a command in the surroundings of an arm, with the placeholders replaced.
    ///
    /// # Errors
    /// Returns the reason if it cannot be started.
    pub fn start(
        arm: &CommandArm,
        words: &[String],
        executable: &RingpollExecutable,
        port: u16,
    ) -> Result<Self, String> {
        let internal = |error: io::Error| format!("cannot start the supervisor: {error}");
        let output = CapturedOutput::new().map_err(internal)?;
        let messages = CapturedOutput::new().map_err(internal)?;
        let control_group = ControlGroup::create().ok();
        let task = Task {
            command: words.iter().map(|word| with_port(word, port)).collect(),
            limits: arm.limits,
            control_group: control_group.as_ref().map(|it| it.directory().to_owned()),
        };
        let task = serde_json::to_string(&task).map_err(|error| internal(error.into()))?;
        let mut command = Command::new(&executable.0);
        command.arg0(PROGRAM_NAME).arg(task).process_group(0).stdin(Stdio::piped());
        command.stdout(messages.stdio().map_err(internal)?);
        command.stderr(output.stdio().map_err(internal)?);
        without_own_variables(&mut command);
        command.envs(arm.environment.iter().map(|(name, value)| (name, with_port(value, port))));
        if let Some(directory) = &arm.directory {
            command.current_dir(directory);
        }
        let supervisor = command.spawn().map_err(internal)?;
        let mut started = Self { supervisor, messages, output, control_group };
        started.await_start()?;
        Ok(started)
    }

    fn await_start(&mut self) -> Result<(), String> {
        loop {
            // The exit is checked first: a message can precede it.
            let has_exited = self.has_ended();
            match self.messages.next_line() {
                Some(line) if line == STARTED => break,
                Some(line) => {
                    return Err(line.strip_prefix(FAILED).unwrap_or(&line).to_owned());
                }
                None if has_exited => return Err("the supervisor exited".to_owned()),
                None => sleep(POLL_INTERVAL),
            }
        }
        let id = self.id();
        // It could not enter the group, for example because a security module denies it.
        self.control_group.take_if(|group| !group.processes().contains(&id));
        Ok(())
    }

    /// Returns the process ID of the supervisor, which exists until all processes have exited.
    pub fn id(&self) -> u32 {
        self.supervisor.id()
    }

    /// Returns all processes of the command.
    pub fn processes(&self) -> Vec<u32> {
        let all = match &self.control_group {
            Some(group) => group.processes(),
            None => process_tree::descendants(self.id()),
        };
        all.into_iter().filter(|&process| process != self.id()).collect()
    }

    /// Returns the CPU time that the control group has counted, if there is one.
    pub fn group_cpu(&self) -> Option<GroupCpu> {
        self.control_group.as_ref()?.cpu()
    }

    /// Returns true if no process of the command is left.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.supervisor.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Returns the exit status of the process that was started, if it has exited.
    pub fn exit_status(&mut self) -> Option<String> {
        let line = self.messages.next_line()?;
        line.strip_prefix(EXITED).map(str::to_owned)
    }

    /// Sends a signal to all processes of the command.
    pub fn signal(&self, signal: Signal) {
        process_tree::signal(self.id(), signal);
    }

    /// Sends SIGTERM to the process that was started, and to those that become children of the
    /// supervisor when their parent exits. Returns false if any is left after `timeout`.
    pub fn terminate(&mut self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut signalled = Vec::new();
        while !self.has_ended() {
            for process in process_tree::children(self.id()) {
                if !signalled.contains(&process) {
                    process_tree::signal_one(process, Signal::TERM);
                    signalled.push(process);
                }
            }
            if Instant::now() > deadline {
                return false;
            }
            sleep(POLL_INTERVAL);
        }
        true
    }
}

impl Drop for Supervised {
    /// Kills all processes of the command.
    fn drop(&mut self) {
        // The supervisor kills them at the end of its standard input, and exits.
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// Removes the variables that ringpoll itself would read.
pub fn without_own_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RINGPOLL_") {
            command.env_remove(name);
        }
    }
}
