//! Measures the CPU time of the server per request. Under icount 1 ns of CPU time is one
//! instruction, in kernel or user mode.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid as ProcessId;
use rustix::process::{Pid, Signal, kill_process};

use super::RINGPOLL;
use super::keep_alive::KeepAliveConnections;
use crate::path_length::SEED;
use crate::work::{PathLengthArm, PathLengthLoad, PathLengthPlan, PathLengthSample, Results};

pub(super) fn measure(plan: &PathLengthPlan, results: &mut Results) {
    // The kernel passes unknown parameters to its first process as environment variables.
    let seed = env::var(SEED).ok().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    thread::sleep(Duration::from_micros(1370 * seed));
    for arm in &plan.arms {
        println!("path length {}", arm.name());
        let requests = match arm.load.keep_alive {
            true => plan.keep_alive_requests,
            false => plan.requests,
        };
        let empty =
            PathLengthSample { arm: arm.clone(), requests, nanoseconds: 0, tasks: 0, error: None };
        let sample = measure_one(plan, &empty)
            .unwrap_or_else(|error| PathLengthSample { error: Some(error), ..empty });
        results.path_lengths.push(sample);
    }
}

/// A server that is killed when it goes out of scope.
struct Server {
    child: Child,
    address: SocketAddr,
    /// Kept open so that the server can write to it.
    _stderr: BufReader<ChildStderr>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(arm: &PathLengthArm) -> Result<Self, String> {
        let mut child = Command::new(RINGPOLL)
            .args(["serve", "--backend", &arm.variant, "--listen", "127.0.0.1:0"])
            .args(["--set", &format!("server.keep_alive={}", arm.load.keep_alive)])
            .args(arm.settings.iter().flat_map(|setting| ["--set", setting]))
            .current_dir("/tmp")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is in the initramfs");
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (mut messages, mut line) = (String::new(), String::new());
        while stderr.read_line(&mut line).is_ok_and(|count| count > 0) {
            if let Some(rest) = line.strip_prefix("listening on ") {
                let address = rest.split(" · ").next().expect("a split has a first part");
                let address = address.parse().expect("the line begins with the address");
                return Ok(Self { child, address, _stderr: stderr });
            }
            messages += &line;
            line.clear();
        }
        let _ = child.wait();
        Err(messages)
    }

    /// Returns the CPU time of all tasks of the process, including ended ones and the kernel's
    /// io_uring workers (clock_getcpuclockid(3)).
    fn nanoseconds(&self) -> u64 {
        let process = ProcessId::from_raw(self.child.id() as i32);
        let clock = clock_getcpuclockid(process).expect("it runs");
        let time = clock_gettime(clock).expect("it runs");
        time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
    }

    fn tasks(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        tasks.map_or(0, |tasks| tasks.count() as u64)
    }
}

fn measure_one(
    plan: &PathLengthPlan,
    empty: &PathLengthSample,
) -> Result<PathLengthSample, String> {
    let (server, load) = (Server::start(&empty.arm)?, empty.arm.load);
    let settle = Duration::from_millis(plan.settle_ms);
    let mut clients = LoadGenerator::of(&server, load)?;
    clients.send_requests(plan.warm_up_requests)?;
    thread::sleep(settle);
    let before = server.nanoseconds();
    clients.send_requests(empty.requests)?;
    // Closing the last connections is part of the work.
    thread::sleep(settle);
    let nanoseconds = server.nanoseconds() - before;
    Ok(PathLengthSample { nanoseconds, tasks: server.tasks(), ..empty.clone() })
}

enum LoadGenerator {
    /// `ringpoll load`: a connection for each request.
    Churn { target: String, at_once: usize },
    /// Connections of this program, open during the whole measurement.
    KeepAlive(KeepAliveConnections),
}

impl LoadGenerator {
    fn of(server: &Server, load: PathLengthLoad) -> Result<Self, String> {
        let at_once = load.concurrency;
        match load.keep_alive {
            true => Ok(Self::KeepAlive(KeepAliveConnections::connect(server.address, at_once)?)),
            false => Ok(Self::Churn { target: server.address.to_string(), at_once }),
        }
    }

    fn send_requests(&mut self, requests: u64) -> Result<(), String> {
        match self {
            Self::Churn { target, at_once } => load(target, *at_once, requests),
            Self::KeepAlive(connections) => connections.send_requests(requests),
        }
    }
}

fn load(target: &str, at_once: usize, requests: u64) -> Result<(), String> {
    let output = Command::new(RINGPOLL)
        .args(["load", "--target", target, "--connections", &at_once.to_string()])
        .args(["--requests", &requests.to_string(), "--timeout", "60s"])
        .output()
        .expect("it is in the image");
    if output.status.success() {
        return Ok(());
    }
    Err(format!("load: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
}
