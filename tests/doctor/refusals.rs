//! Where io_uring cannot be used: the case, the remedy, and exit code 3.

use serde_json::Value;

use crate::common::{ServerProcess, engine, wait_until};
use crate::program::{diagnosis, doctor, printed, refuse, with_locked_memory};
use ringpoll_backends::Variant;

const CALLS: [(&str, &str, i64); 3] = [
    ("io_uring_setup", "call_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", "call_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", "call_register", libc::SYS_io_uring_register),
];

#[test]
fn each_call_that_a_seccomp_filter_forbids_is_named_with_the_remedy() {
    if !engine("each_call_that_a_seccomp_filter_forbids", Variant::IoUringSingleShot) {
        return;
    }
    for (name, capability, call) in CALLS {
        for errno in [libc::EPERM, libc::ENOSYS] {
            let (found, code) = diagnosis(refuse(&mut doctor(&["--json"]), call, errno));
            assert_eq!((code, &found["io_uring_usable"]), (3, &false.into()), "{name} {errno}");
            let why = &found["obstruction"];
            assert_eq!(why["case"], "seccomp", "{why}");
            assert_eq!(why["operation"], name);
            assert_eq!(why["errno"], errno);
            let remedy = why["remedy"].as_str().unwrap();
            assert!(remedy.contains("--seccomp-profile"), "{remedy}");
            assert_eq!(found["auto"]["variant"], "epoll:tuned");
            assert_eq!(found["limits"]["seccomp_filter"], true);
            // That one call, and no other.
            for (_, other, _) in CALLS {
                assert_eq!(found["capabilities"][other], other != capability, "{name}: {other}");
            }
            assert_eq!(found["missing"][capability]["errno"], errno);
        }
    }
}

#[test]
fn the_table_says_so_too() {
    if !engine("the_table_says_so_too", Variant::IoUringSingleShot) {
        return;
    }
    let mut command = doctor(&[]);
    let output = refuse(&mut command, libc::SYS_io_uring_setup, libc::EPERM).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = printed(&output);
    for words in ["io_uring cannot be used: a seccomp filter", "remedy: ", "takes epoll:tuned"] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
}

#[test]
fn the_profile_names_the_three_calls_and_no_others() {
    let profile: Value =
        serde_json::from_str(&printed(&doctor(&["--seccomp-profile"]).output().unwrap())).unwrap();
    let names: Vec<_> = CALLS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(profile["syscalls"].as_array().unwrap().len(), 1);
    assert_eq!(profile["syscalls"][0]["names"], Value::from(names));
    assert_eq!(profile["syscalls"][0]["action"], "SCMP_ACT_ALLOW");
}

/// Kernels account for the memory of rings in different ways. Whatever this one does, the doctor
/// says the same as the server.
#[test]
fn with_little_memory_it_says_what_the_server_meets() {
    for bytes in [0, 4096, 65_536] {
        let (found, code) = diagnosis(with_locked_memory(&mut doctor(&["--json"]), bytes));
        let usable = found["io_uring_usable"] == true;
        assert_eq!(code, if usable { 0 } else { 3 });
        assert_eq!(found["limits"]["locked_memory_limit_bytes"], bytes);
        if !usable {
            assert_eq!(found["obstruction"]["case"], "locked_memory", "{}", found["obstruction"]);
            assert_eq!(found["obstruction"]["errno"], libc::ENOMEM);
            let remedy = found["obstruction"]["remedy"].as_str().unwrap();
            assert!(remedy.contains("ulimit -l"), "{remedy}");
        }
        // What a ring has locked is given back some time after it was closed.
        wait_until("the server meets the same", || {
            let arguments = ["--backend", "auto", "--listen", "127.0.0.1:0"];
            let server = ServerProcess::start_with(&arguments, |it| {
                with_locked_memory(it, bytes);
            });
            server.start_line.contains(" · io_uring, ") == usable
        });
    }
}
