//! A named backend is used or refused; only `auto` takes another, and says so.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::program::{Server, complaint, ringpoll};

const IO_URING: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--backend", "io_uring"];

/// From then on, io_uring_setup(2) fails with `errno` in the command and its children.
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

/// Takes a capability away from the command, even where the tests are run as root.
fn without_capability(command: &mut Command, capability: libc::c_ulong) -> &mut Command {
    let drop_capability = move || {
        // Who may not do it has no capabilities anyway.
        // SAFETY: PR_CAPBSET_DROP takes a number and no pointers.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        Ok(())
    };
    // SAFETY: between fork and exec it makes one system call and does not allocate.
    unsafe { command.pre_exec(drop_capability) }
}

/// Leaves no memory for a ring, as an unprivileged user may find it.
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

/// Makes a command find io_uring refused in some way.
type Refuse = fn(&mut Command) -> &mut Command;

/// The ways in which a kernel or a sandbox refuses it, and the words that tell them apart.
fn refusals() -> Vec<(Refuse, [&'static str; 3])> {
    vec![
        (
            |it| refuse_io_uring(it, libc::EPERM),
            ["os error 1)", "seccomp filter forbids", "profile"],
        ),
        (|it| refuse_io_uring(it, libc::ENOSYS), ["os error 38)", "no io_uring", "Linux 5.10"]),
        (without_locked_memory, ["os error 12)", "memlock", "ulimit -l"]),
    ]
}

#[test]
fn a_named_backend_is_refused_with_the_reason_and_the_remedy() {
    for (refuse, words) in refusals() {
        for workers in ["1", "2"] {
            let mut command = ringpoll(&IO_URING);
            let said = complaint(refuse(command.args(["--workers", workers])), 3);
            assert!(said.starts_with("ringpoll: io_uring_setup: "), "{said}");
            for word in words.iter().chain(&["epoll backend"]) {
                assert!(said.contains(word), "{word} is not in {said}");
            }
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}

#[test]
fn auto_takes_epoll_and_says_so_in_one_line() {
    for (refuse, words) in refusals() {
        for workers in ["1", "2"] {
            let arguments = ["serve", "--listen", "127.0.0.1:0", "--workers", workers];
            let mut command = ringpoll(&arguments);
            let server = Server::start_as(refuse(&mut command).stdout(Stdio::null()));
            let [line] = &server.before[..] else { panic!("{:?}", server.before) };
            assert!(line.starts_with("backend auto takes epoll, since io_uring is refused: "));
            for word in words {
                assert!(line.contains(word), "{word} is not in {line}");
            }
            assert!(server.start_line.contains(" · epoll, "), "{}", server.start_line);
            server.ask_for_hello();
            server.stop();
        }
    }
}

#[test]
fn auto_takes_io_uring_where_it_can_and_says_nothing() {
    let server = Server::start(&[]);
    assert!(server.start_line.contains(" · io_uring, "), "{}", server.start_line);
    assert_eq!(server.before, [""; 0]);
}

#[test]
fn epoll_does_not_care_whether_io_uring_is_refused() {
    let mut command = ringpoll(&["serve", "--listen", "127.0.0.1:0", "--backend", "epoll"]);
    let server = Server::start_as(refuse_io_uring(&mut command, libc::EPERM));
    assert_eq!(server.before, [""; 0]);
    server.ask_for_hello();
}

#[test]
fn a_port_without_permission_is_named() {
    const CAP_NET_BIND_SERVICE: libc::c_ulong = 10;
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first.is_ok_and(|first| first.trim() == "0") {
        eprintln!("skipped: here every port may be listened on by everybody");
        return;
    }
    let mut command = ringpoll(&["serve", "--listen", "127.0.0.1:1"]);
    let said = complaint(without_capability(&mut command, CAP_NET_BIND_SERVICE), 1);
    assert!(said.starts_with("ringpoll: listen on 127.0.0.1:1: Permission denied"), "{said}");
    assert!(said.contains("CAP_NET_BIND_SERVICE"), "{said}");
}
