//! What the program does and says in each situation: as root and as nobody, with the switch in
//! each of its positions, with little memory to lock.

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

const PATIENCE: Duration = Duration::from_secs(60);
const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";
const NOBODY: u32 = 65534;

/// Less than any ring takes where it is accounted for.
const SMALL_MEMLOCK: u64 = 16 * 1024;
/// What an unprivileged process could lock by default until Linux 5.16.
const OLD_MEMLOCK: u64 = 64 * 1024;

#[derive(Clone, Copy)]
struct Situation {
    unprivileged: bool,
    /// The position of the switch, where there is one.
    switch: u8,
    memlock_bytes: Option<u64>,
}

impl Situation {
    fn name(self) -> String {
        let mut name = if self.unprivileged { "nobody" } else { "root" }.to_owned();
        if self.switch > 0 {
            name += &format!(", io_uring_disabled={}", self.switch);
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
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

fn situations() -> Vec<Situation> {
    let ordinary = Situation { unprivileged: false, switch: 0, memlock_bytes: None };
    let nobody = Situation { unprivileged: true, ..ordinary };
    let mut all = vec![
        ordinary,
        nobody,
        Situation { memlock_bytes: Some(OLD_MEMLOCK), ..nobody },
        Situation { memlock_bytes: Some(SMALL_MEMLOCK), ..nobody },
    ];
    if fs::exists(SWITCH).unwrap_or(false) {
        for switch in [1, 2] {
            all.extend([Situation { switch, ..ordinary }, Situation { switch, ..nobody }]);
        }
    }
    all
}

pub(super) fn all(results: &mut Results) {
    let help = Command::new(RINGPOLL).arg("help").output().expect("it is in the image");
    let knows_doctor = String::from_utf8_lossy(&help.stdout).contains("  doctor ");
    for situation in situations() {
        let before = getrlimit(Resource::Memlock);
        if let Some(bytes) = situation.memlock_bytes {
            let lowered = Rlimit { current: Some(bytes), maximum: before.maximum };
            setrlimit(Resource::Memlock, lowered).expect("it is only lowered");
        }
        turn_switch(situation.switch);
        let name = situation.name();
        println!("situation {name}");
        for backend in ["auto", "io_uring:single_shot"] {
            let observation = serve(situation, backend);
            results.observations.insert(format!("serve {backend}, {name}"), observation);
        }
        if knows_doctor {
            results.observations.insert(format!("doctor, {name}"), doctor(situation));
        }
        turn_switch(0);
        setrlimit(Resource::Memlock, before).expect("it is what it was");
    }
    let ordinary = Situation { unprivileged: false, switch: 0, memlock_bytes: None };
    for backend in ["epoll:level", "epoll:edge", "epoll:tuned", "io_uring:tuned"] {
        let observation = serve(ordinary, backend);
        results.observations.insert(format!("serve {backend}, root"), observation);
    }
}

/// Where the kernel has none, every situation is that of 0.
fn turn_switch(position: u8) {
    if fs::exists(SWITCH).unwrap_or(false) {
        fs::write(SWITCH, position.to_string()).expect("root may");
    }
}

/// What it finds out about the kernel, the user and the sandbox.
fn doctor(situation: Situation) -> Observation {
    let output = situation.command(&["doctor", "--json"]).output().expect("it is in the image");
    let says = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
    let doctor = serde_json::from_slice(&output.stdout).ok();
    Observation { exit: output.status.code(), says, answers: false, doctor }
}

/// Starts a server, asks it for one answer if it listens, and stops it.
fn serve(situation: Situation, backend: &str) -> Observation {
    let arguments = ["serve", "--backend", backend, "--listen", "127.0.0.1:0", "--stats", "json"];
    let mut child = situation.command(&arguments).spawn().expect("it is in the image");
    let lines = lines_of(&mut child);
    let mut observation = Observation::default();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                let address = line
                    .strip_prefix("listening on ")
                    .and_then(|rest| rest.split(" · ").next()?.parse::<SocketAddr>().ok());
                observation.says.push(without_address(&line));
                if let Some(address) = address {
                    observation.answers = is_answered(address);
                    let _ = kill_process(Pid::from_child(&child), Signal::TERM);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                observation.says.push("(it does not end)".to_owned());
                let _ = child.kill();
            }
        }
    }
    observation.exit = child.wait().expect("a child of ours").code();
    observation
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    // The report at the end fits into the pipe.
    drop(child.stdin.take());
    let (tell, lines) = channel();
    thread::spawn(move || {
        stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
    });
    lines
}

fn without_address(line: &str) -> String {
    match line.strip_prefix("listening on ").and_then(|rest| rest.split_once(" · ")) {
        Some((_, rest)) => format!("listening · {rest}"),
        None => line.to_owned(),
    }
}

fn is_answered(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.0 200 OK\r\n"))
}
