//! What a request costs the server, by the clock of its process. Under icount a nanosecond of
//! that clock is one instruction, in the kernel or out of it.

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
use super::persistent::Persistent;
use crate::path_length::SEED;
use crate::work::{Cost, CostArm, CostLoad, CostPlan, Results};

pub(super) fn measure(plan: &CostPlan, results: &mut Results) {
    // The kernel hands parameters that it does not know to its first process.
    let seed = env::var(SEED).ok().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    thread::sleep(Duration::from_micros(1370 * seed));
    for arm in &plan.arms {
        println!("cost {}", arm.name());
        let requests = match arm.load.keep_alive {
            true => plan.persistent_requests,
            false => plan.requests,
        };
        let empty = Cost { arm: arm.clone(), requests, nanoseconds: 0, tasks: 0, refused: None };
        let cost = measure_one(plan, &empty)
            .unwrap_or_else(|refusal| Cost { refused: Some(refusal), ..empty });
        results.costs.push(cost);
    }
}

/// A server that is killed when it goes out of scope.
struct Server {
    child: Child,
    address: SocketAddr,
    /// Kept open: what it says there must go somewhere.
    _said: BufReader<ChildStderr>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(arm: &CostArm) -> Result<Self, String> {
        let mut child = Command::new(RINGPOLL)
            .args(["serve", "--backend", &arm.variant, "--listen", "127.0.0.1:0"])
            .args(["--set", &format!("server.keep_alive={}", arm.load.keep_alive)])
            .args(arm.settings.iter().flat_map(|setting| ["--set", setting]))
            .current_dir("/tmp")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is in the image");
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (mut said, mut line) = (String::new(), String::new());
        while stderr.read_line(&mut line).is_ok_and(|count| count > 0) {
            if let Some(rest) = line.strip_prefix("listening on ") {
                let address = rest.split(" · ").next().expect("a split has a first part");
                let address = address.parse().expect("the line begins with the address");
                return Ok(Self { child, address, _said: stderr });
            }
            said += &line;
            line.clear();
        }
        let _ = child.wait();
        Err(said)
    }

    /// All tasks of the process, those that have ended and the kernel's own for its rings among
    /// them (clock_getcpuclockid(3)).
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

fn measure_one(plan: &CostPlan, empty: &Cost) -> Result<Cost, String> {
    let (server, load) = (Server::start(&empty.arm)?, empty.arm.load);
    let settle = Duration::from_millis(plan.settle_ms);
    let mut clients = Clients::of(&server, load)?;
    clients.ask(plan.warm_up_requests)?;
    thread::sleep(settle);
    let before = server.nanoseconds();
    clients.ask(empty.requests)?;
    // What follows the last answer is a part of the work: the last connections are closed.
    thread::sleep(settle);
    let nanoseconds = server.nanoseconds() - before;
    Ok(Cost { nanoseconds, tasks: server.tasks(), ..empty.clone() })
}

/// Who asks.
enum Clients {
    /// `ringpoll load`: a connection for each request.
    New { target: String, at_once: usize },
    /// Those of this program, which are there from before the first request to after the last.
    Lasting(Persistent),
}

impl Clients {
    fn of(server: &Server, load: CostLoad) -> Result<Self, String> {
        let at_once = load.at_once;
        match load.keep_alive {
            true => Ok(Self::Lasting(Persistent::connect(server.address, at_once)?)),
            false => Ok(Self::New { target: server.address.to_string(), at_once }),
        }
    }

    fn ask(&mut self, requests: u64) -> Result<(), String> {
        match self {
            Self::New { target, at_once } => load(target, *at_once, requests),
            Self::Lasting(connections) => connections.ask(requests),
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
