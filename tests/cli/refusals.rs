//! A named backend is used or refused; only `auto` falls back, and reports it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::program::{Server, ringpoll, stderr_of_failure};

const IO_URING: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--backend", "io_uring"];

/// Makes io_uring_setup(2) fail with `errno` in the command.
fn refuse_io_uring(command: &mut Command, errno: i32) -> &mut Command {
    let rules = BTreeMap::from([(libc::SYS_io_uring_setup, vec![])]);
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let refusal = SeccompAction::Errno(errno as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    let apply = move || apply_filter(&program).map_err(|_| errno_of(libc::EINVAL));
    // SAFETY: between fork and exec it makes two system calls and does not allocate.
    unsafe { command.pre_exec(apply) }
}

/// Drops a capability of the command, even if the tests run as root.
fn without_capability(command: &mut Command, capability: libc::c_ulong) -> &mut Command {
    let drop_capability = move || {
        // Without the privilege to drop it, the process has no capabilities anyway.
        // SAFETY: PR_CAPBSET_DROP takes a number and no pointers.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        Ok(())
    };
    // SAFETY: between fork and exec it makes one system call and does not allocate.
    unsafe { command.pre_exec(drop_capability) }
}

/// Allows no locked memory for a ring, as for some unprivileged users.
fn without_locked_memory(command: &mut Command) -> &mut Command {
    const CAP_IPC_LOCK: libc::c_ulong = 14;
    let lower = || {
        let nothing = Rlimit { current: Some(0), maximum: Some(0) };
        setrlimit(Resource::Memlock, nothing).map_err(io::Error::from)
    };
    // SAFETY: between fork and exec it makes one system call and does not allocate.
    unsafe { without_capability(command, CAP_IPC_LOCK).pre_exec(lower) }
}

fn errno_of(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// Makes the kernel refuse io_uring to a command.
type Refuse = fn(&mut Command) -> &mut Command;

/// Returns the ways in which io_uring is refused, with words of the message for each.
fn refusals() -> Vec<(Refuse, [&'static str; 3])> {
    vec![
        (
            |it| refuse_io_uring(it, libc::EPERM),
            ["os error 1)", "seccomp filter denies", "profile"],
        ),
        (|it| refuse_io_uring(it, libc::ENOSYS), ["os error 38)", "no io_uring", "Linux 5.10"]),
        (without_locked_memory, ["os error 12)", "memlock", "ulimit -l"]),
    ]
}

#[test]
fn named_backend_is_refused_with_reason_and_remedy() {
    for (refuse, words) in refusals() {
        for workers in ["1", "2"] {
            let mut command = ringpoll(&IO_URING);
            let message = stderr_of_failure(refuse(command.args(["--workers", workers])), 3);
            assert!(message.starts_with("ringpoll: io_uring_setup: "), "{message}");
            for word in words.iter().chain(&["epoll backend"]) {
                assert!(message.contains(word), "{word} is not in {message}");
            }
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
}

#[test]
fn auto_falls_back_to_epoll_with_one_line() {
    for (refuse, words) in refusals() {
        for workers in ["1", "2"] {
            let arguments = ["serve", "--listen", "127.0.0.1:0", "--workers", workers];
            let mut command = ringpoll(&arguments);
            let server = Server::start_as(refuse(&mut command).stdout(Stdio::null()));
            let [line] = &server.lines_before_start[..] else {
                panic!("{:?}", server.lines_before_start)
            };
            assert!(line.starts_with("backend auto uses epoll, because io_uring is refused: "));
            for word in words {
                assert!(line.contains(word), "{word} is not in {line}");
            }
            assert!(server.start_line.contains(" · epoll, "), "{}", server.start_line);
            server.request_hello();
            server.stop();
        }
    }
}

#[test]
fn auto_uses_io_uring_without_a_message() {
    let server = Server::start(&[]);
    assert!(server.start_line.contains(" · io_uring, "), "{}", server.start_line);
    assert_eq!(server.lines_before_start, [""; 0]);
}

#[test]
fn epoll_works_if_io_uring_is_refused() {
    let mut command = ringpoll(&["serve", "--listen", "127.0.0.1:0", "--backend", "epoll"]);
    let server = Server::start_as(refuse_io_uring(&mut command, libc::EPERM));
    assert_eq!(server.lines_before_start, [""; 0]);
    server.request_hello();
}

#[test]
fn privileged_port_is_refused_with_the_missing_capability() {
    const CAP_NET_BIND_SERVICE: libc::c_ulong = 10;
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first.is_ok_and(|first| first.trim() == "0") {
        eprintln!("skipped: all ports are unprivileged here");
        return;
    }
    let mut command = ringpoll(&["serve", "--listen", "127.0.0.1:1"]);
    let message = stderr_of_failure(without_capability(&mut command, CAP_NET_BIND_SERVICE), 1);
    let denied = "ringpoll: listen on 127.0.0.1:1: Permission denied";
    assert!(message.starts_with(denied), "{message}");
    assert!(message.contains("CAP_NET_BIND_SERVICE"), "{message}");
}
