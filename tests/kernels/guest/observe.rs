//! Records the behaviour of ringpoll in each situation: as root and unprivileged, with each value
//! of kernel.io_uring_disabled, and with a small RLIMIT_MEMLOCK.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use super::RINGPOLL;
use crate::work::{Observation, Results};

const EVENT_TIMEOUT: Duration = Duration::from_secs(60);
const DISABLED_SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";
const UNPRIVILEGED_ID: u32 = 65534;

/// Too small for any ring on kernels that charge rings to RLIMIT_MEMLOCK.
const SMALL_MEMLOCK: u64 = 16 * 1024;
/// The default limit up to Linux 5.15.
const OLD_MEMLOCK: u64 = 64 * 1024;

#[derive(Clone, Copy)]
struct Situation {
    unprivileged: bool,
    /// The value of kernel.io_uring_disabled, if the kernel has it.
    io_uring_disabled: u8,
    memlock_bytes: Option<u64>,
}

impl Situation {
    fn name(self) -> String {
        let mut name = if self.unprivileged { "unprivileged" } else { "root" }.to_owned();
        if self.io_uring_disabled > 0 {
            name += &format!(", io_uring_disabled={}", self.io_uring_disabled);
        }
        if let Some(bytes) = self.memlock_bytes {
            name += &format!(", memlock {} KiB", bytes / 1024);
        }
        name
    }

    fn command(self, arguments: &[&str]) -> Command {
        let mut command = Command::new(RINGPOLL);
        command.args(arguments).current_dir("/tmp").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.unprivileged {
            command.uid(UNPRIVILEGED_ID).gid(UNPRIVILEGED_ID);
        }
        command
    }
}

fn situations() -> Vec<Situation> {
    let ordinary = Situation { unprivileged: false, io_uring_disabled: 0, memlock_bytes: None };
    let unprivileged = Situation { unprivileged: true, ..ordinary };
    let mut all = vec![
        ordinary,
        unprivileged,
        Situation { memlock_bytes: Some(OLD_MEMLOCK), ..unprivileged },
        Situation { memlock_bytes: Some(SMALL_MEMLOCK), ..unprivileged },
    ];
    if fs::exists(DISABLED_SYSCTL).unwrap_or(false) {
        for base in [ordinary, unprivileged] {
            all.extend([1, 2].map(|io_uring_disabled| Situation { io_uring_disabled, ..base }));
        }
    }
    all
}

pub(super) fn all(results: &mut Results) {
    let help = Command::new(RINGPOLL).arg("help").output().expect("it is in the initramfs");
    let has_doctor = String::from_utf8_lossy(&help.stdout).contains("  doctor ");
    for situation in situations() {
        let before = getrlimit(Resource::Memlock);
        if let Some(bytes) = situation.memlock_bytes {
            let lowered = Rlimit { current: Some(bytes), maximum: before.maximum };
            setrlimit(Resource::Memlock, lowered).expect("lowering a limit is allowed");
        }
        set_io_uring_disabled(situation.io_uring_disabled);
        let name = situation.name();
        println!("situation {name}");
        for backend in ["auto", "io_uring:single_shot"] {
            let observation = serve(situation, backend);
            results.observations.insert(format!("serve {backend}, {name}"), observation);
        }
        if has_doctor {
            results.observations.insert(format!("doctor, {name}"), doctor(situation));
        }
        set_io_uring_disabled(0);
        setrlimit(Resource::Memlock, before).expect("the maximum is unchanged");
    }
    let ordinary = Situation { unprivileged: false, io_uring_disabled: 0, memlock_bytes: None };
    for backend in ["epoll:level", "epoll:edge", "epoll:tuned", "io_uring:tuned"] {
        let observation = serve(ordinary, backend);
        results.observations.insert(format!("serve {backend}, root"), observation);
    }
}

/// Does nothing on kernels without the sysctl.
fn set_io_uring_disabled(value: u8) {
    if fs::exists(DISABLED_SYSCTL).unwrap_or(false) {
        fs::write(DISABLED_SYSCTL, value.to_string()).expect("the agent runs as root");
    }
}

/// Runs `ringpoll doctor`.
fn doctor(situation: Situation) -> Observation {
    let output = situation.command(&["doctor", "--json"]).output().expect("it is in the initramfs");
    let stderr = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
    let doctor = serde_json::from_slice(&output.stdout).ok();
    Observation { exit: output.status.code(), stderr, serves: false, doctor }
}

/// Starts a server, sends a request if it listens, and stops it.
fn serve(situation: Situation, backend: &str) -> Observation {
    let arguments = ["serve", "--backend", backend, "--listen", "127.0.0.1:0", "--stats", "json"];
    let mut child = situation.command(&arguments).spawn().expect("it is in the initramfs");
    let lines = lines_of(&mut child);
    let mut observation = Observation::default();
    loop {
        match lines.recv_timeout(EVENT_TIMEOUT) {
            Ok(line) => {
                let address = line
                    .strip_prefix("listening on ")
                    .and_then(|rest| rest.split(" · ").next()?.parse::<SocketAddr>().ok());
                observation.stderr.push(without_address(&line));
                if let Some(address) = address {
                    observation.serves = serves_a_request(address);
                    let _ = kill_process(Pid::from_child(&child), Signal::TERM);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                observation.stderr.push("(it does not end)".to_owned());
                let _ = child.kill();
            }
        }
    }
    observation.exit = child.wait().expect("it is a child process").code();
    observation
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    // The report at the end fits into the pipe.
    drop(child.stdin.take());
    let (sender, lines) = channel();
    thread::spawn(move || {
        stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

fn without_address(line: &str) -> String {
    match line.strip_prefix("listening on ").and_then(|rest| rest.split_once(" · ")) {
        Some((_, rest)) => format!("listening · {rest}"),
        None => line.to_owned(),
    }
}

fn serves_a_request(address: SocketAddr) -> bool {
    let request = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, EVENT_TIMEOUT)?;
        stream.set_read_timeout(Some(EVENT_TIMEOUT))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        Ok(response)
    };
    request().is_ok_and(|response| response.starts_with("HTTP/1.0 200 OK\r\n"))
}
