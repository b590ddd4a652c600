//! The commands that run once, before the first and after the last server of an arm.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::arm::{PreparedArm, Program};
use super::command_arm::CommandArm;
use super::server_process::RingpollExecutable;
use super::supervised::Supervised;
use super::topology;
use crate::console::eprint_line;
use crate::failure::Failure;
use crate::result::CpuPlacement;

/// The time limit for each command after the last server.
const AFTER_TIMEOUT: Duration = Duration::from_secs(60);
/// The interval at which the end of a command is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The commands of all arms. Those after the last server run when this value is dropped, and
/// processes that the commands have left, such as a backend, then end.
pub struct Hooks<'run> {
    executable: &'run RingpollExecutable,
    started: Vec<(String, CommandArm)>,
    running: Vec<Supervised>,
}

impl<'run> Hooks<'run> {
    /// Runs the commands before the first server of each arm, in order.
    ///
    /// # Errors
    /// Returns a failure that names the first command that fails, with its output.
    pub fn before(
        arms: &[PreparedArm],
        executable: &'run RingpollExecutable,
        placement: &CpuPlacement,
        interrupted: &AtomicBool,
    ) -> Result<Self, Failure> {
        // A backend that is started here must not disturb the load generator.
        topology::pin(&placement.server_cpus)
            .map_err(|error| Failure::Run(format!("ringpoll compare: CPU affinity: {error}")))?;
        let mut hooks = Self { executable, started: Vec::new(), running: Vec::new() };
        for arm in arms {
            let Program::Command(command) = &arm.program else { continue };
            let label = &arm.description.label;
            hooks.started.push((label.clone(), (**command).clone()));
            for words in &command.before {
                let run = run(command, words, executable, || interrupted.load(Ordering::Relaxed));
                hooks.running.push(run.map_err(|problem| {
                    let words = words.join(" ");
                    Failure::Run(format!(
                        "ringpoll compare: arm {label}: before: {words}: {problem}"
                    ))
                })?);
            }
        }
        Ok(hooks)
    }
}

impl Drop for Hooks<'_> {
    fn drop(&mut self) {
        for (label, command) in &self.started {
            for words in &command.after {
                let deadline = Instant::now() + AFTER_TIMEOUT;
                if let Err(problem) =
                    run(command, words, self.executable, || Instant::now() > deadline)
                {
                    let words = words.join(" ");
                    eprint_line(format!(
                        "ringpoll compare: arm {label}: after: {words}: {problem}"
                    ));
                }
            }
        }
    }
}

/// Runs a command until the process that was started exits. Its descendants end with the value.
fn run(
    arm: &CommandArm,
    words: &[String],
    executable: &RingpollExecutable,
    is_too_late: impl Fn() -> bool,
) -> Result<Supervised, String> {
    let mut running = Supervised::start(arm, words, executable, 0)?;
    loop {
        match running.exit_status() {
            Some(status) if status == "exit status: 0" => return Ok(running),
            Some(status) => return Err(format!("{status}{}", running.output.last_lines())),
            None if is_too_late() => {
                return Err(format!("it did not end in time{}", running.output.last_lines()));
            }
            None => sleep(POLL_INTERVAL),
        }
    }
}
