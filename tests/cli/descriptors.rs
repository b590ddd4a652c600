//! The limit of open files, and the number of connections that follows from it.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::program::{Server, ringpoll, stdout_of};

/// Sets RLIMIT_NOFILE of the command.
fn with_descriptors(command: &mut Command, soft: u64, hard: u64) -> &mut Command {
    let limit = Rlimit { current: Some(soft), maximum: Some(hard) };
    let set = move || setrlimit(Resource::Nofile, limit).map_err(io::Error::from);
    // SAFETY: between fork and exec it makes one system call and does not allocate.
    unsafe { command.pre_exec(set) }
}

#[test]
fn default_connection_limit_fits_the_hard_limit_of_open_files() {
    for (soft, hard, workers, connections) in [
        (64, 64, "1", 32),
        (64, 1000, "1", 968),
        (1000, 1000, "3", 960),
        (16, 16, "1", 1),
        (64, 20_000, "1", 10_000),
    ] {
        let mut command = ringpoll(&["config", "show", "--workers", workers]);
        let shown = stdout_of(&with_descriptors(&mut command, soft, hard).output().unwrap());
        let line = shown.lines().find(|line| line.starts_with("limits.connections")).unwrap();
        let end = format!("# default; here that is {connections}");
        assert!(line.ends_with(&end), "{soft} {hard} {workers}: {line}");
    }
}

#[test]
fn soft_limit_is_raised_to_what_the_connections_need() {
    for (connections, limit) in [("100", "132"), ("2000", "1000"), ("10", "64")] {
        let set = format!("limits.connections={connections}");
        let mut command = ringpoll(&["serve", "--listen", "127.0.0.1:0", "--set", &set]);
        let command = with_descriptors(&mut command, 64, 1000).stdout(Stdio::null());
        let server = Server::start_as(command);
        let limits = fs::read_to_string(format!("/proc/{}/limits", server.process_id())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(line.split_whitespace().nth(3), Some(limit), "{line}");
        let warned =
            server.lines_before_start.iter().any(|line| line.contains("is too low for that"));
        assert_eq!(warned, connections == "2000", "{:?}", server.lines_before_start);
        server.request_hello();
    }
}
