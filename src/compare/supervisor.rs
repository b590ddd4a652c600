//! The supervisor of a server of another project: a small process of this program that starts the
//! server, adopts its descendants, and ends them all.
//!
//! It is their subreaper (PR_SET_CHILD_SUBREAPER(2const)): a process whose parent exits, such as a
//! daemon, becomes its child. The descendants of the supervisor are therefore exactly the processes
//! of the server, and their CPU time is that of the server after they have exited. When its
//! standard input ends, because ringpoll has closed it or has died, it kills them.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Resource, Rlimit, Signal, WaitOptions, getpid, getrlimit, set_child_subreaper, setrlimit, wait,
};
use serde::{Deserialize, Serialize};

use super::command_arm::Limits;
use super::process_tree;

/// The program name that selects this process: it is no command of users.
pub const PROGRAM_NAME: &str = "ringpoll-supervisor";

/// The first line that it writes: the server has been started.
pub const STARTED: &str = "started";
/// The beginning of the line that it writes when the process that it started has exited.
pub const EXITED: &str = "exited: ";
/// The beginning of the line that it writes if the server cannot be started.
pub const FAILED: &str = "failed: ";

/// The interval at which the remaining processes are killed.
const KILL_INTERVAL: Duration = Duration::from_millis(1);

/// The task of a supervisor: its only argument, in JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// The program of the server and its arguments.
    pub command: Vec<String>,
    /// The server's resource limits.
    pub limits: Limits,
    /// The control group that it enters before it starts the server.
    pub control_group: Option<PathBuf>,
}

/// Runs the supervisor and returns its exit code, if this process was started as one.
pub fn run_if_requested() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    if arguments.next()? != PROGRAM_NAME {
        return None;
    }
    let task = arguments.next().and_then(|it| serde_json::from_str(it.to_str()?).ok());
    let Some(task): Option<Task> = task else {
        write_line(FAILED, "invalid task");
        return Some(ExitCode::FAILURE);
    };
    let supervised = supervise(&task);
    if let Some(group) = &task.control_group {
        process_tree::leave(group);
    }
    if let Err(problem) = supervised {
        write_line(FAILED, &problem);
        return Some(ExitCode::FAILURE);
    }
    Some(ExitCode::SUCCESS)
}

fn supervise(task: &Task) -> Result<(), String> {
    set_child_subreaper(Some(getpid())).map_err(|error| format!("subreaper: {error}"))?;
    if let Some(group) = &task.control_group {
        // If that fails, ringpoll finds the control group empty and does not use it.
        let _ = fs::write(group.join("cgroup.procs"), "0");
    }
    // Before the server, which it is there to end.
    let killer = std::thread::Builder::new().spawn(kill_at_end_of_input);
    killer.map_err(|error| format!("cannot start a thread: {error}"))?;
    let (program, arguments) = task.command.split_first().ok_or("the command is empty")?;
    let stderr = || std::io::stderr().as_fd().try_clone_to_owned();
    let output = stderr().map_err(|error| format!("standard output: {error}"))?;
    let mut command = Command::new(program);
    // A process group of its own: a server that signals its group does not reach the supervisor.
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::from(output)).process_group(0);
    // A child inherits them. They are of the server only: this process could not work with few
    // threads or little memory.
    let own = apply(&task.limits)?;
    let child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"));
    for (resource, limit) in own {
        setrlimit(resource, limit).map_err(|error| format!("setrlimit: {error}"))?;
    }
    let child = child?;
    write_line(STARTED, "");
    let leader = child.id();
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((process, status))) if process.as_raw_pid() as u32 == leader => {
                write_line(EXITED, &ExitStatus::from_raw(status.as_raw()).to_string());
            }
            Ok(_) | Err(Errno::INTR) => {}
            // ECHILD: no process of the server is left.
            Err(_) => return Ok(()),
        }
    }
}

/// Sets the soft limits, and raises the hard ones that are below, which needs privileges. Returns
/// those before.
fn apply(limits: &Limits) -> Result<Vec<(Resource, Rlimit)>, String> {
    let resources =
        [Resource::Nofile, Resource::Memlock, Resource::Nproc, Resource::As].into_iter();
    let mut before = Vec::new();
    for (resource, (key, limit)) in resources.zip(limits.named()) {
        let Some(limit) = limit else { continue };
        let own = getrlimit(resource);
        let maximum = own.maximum.map(|maximum| maximum.max(limit));
        let wanted = Rlimit { current: Some(limit), maximum };
        before.push((resource, own));
        setrlimit(resource, wanted).map_err(|error| {
            let hard = getrlimit(resource).maximum;
            let hard = hard.map_or_else(|| "unlimited".to_owned(), |it| it.to_string());
            format!("limits.{key}: {limit}: {error}; the hard limit is {hard}")
        })?;
    }
    Ok(before)
}

/// Kills the processes of the server when standard input ends. The main thread then finds that none
/// is left, and the process exits.
fn kill_at_end_of_input() {
    let mut ignored = [0; 64];
    let mut input = std::io::stdin().lock();
    while input.read(&mut ignored).is_ok_and(|length| length > 0) {}
    loop {
        process_tree::signal(std::process::id(), Signal::KILL);
        sleep(KILL_INTERVAL);
    }
}

fn write_line(prefix: &str, text: &str) {
    // A reader that is gone has closed standard input as well.
    let _ = std::io::stdout().write_all(format!("{prefix}{text}\n").as_bytes());
}
