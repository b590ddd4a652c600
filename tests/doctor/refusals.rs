//! Reports if io_uring cannot be used: the kind of obstruction, the remedy, and exit code 3.

use serde_json::Value;

use crate::commands::{diagnosis, doctor, refuse_call, stdout_of, with_locked_memory_limit};
use common::{ServerProcess, engine_is_available, wait_until};
use ringpoll_backends::Variant;

const CALLS: [(&str, i64); 3] = [
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
];

#[test]
fn call_refused_by_seccomp_is_named_with_remedy() {
    if !engine_is_available("call_refused_by_seccomp", Variant::IoUringSingleShot) {
        return;
    }
    for (name, call) in CALLS {
        for errno in [libc::EPERM, libc::ENOSYS] {
            let (found, code) = diagnosis(refuse_call(&mut doctor(&["--json"]), call, errno));
            assert_eq!((code, &found["io_uring_usable"]), (3, &false.into()), "{name} {errno}");
            let obstruction = &found["obstruction"];
            assert_eq!(obstruction["kind"], "seccomp", "{obstruction}");
            assert_eq!(obstruction["operation"], name);
            assert_eq!(obstruction["errno"], errno);
            let remedy = obstruction["remedy"].as_str().unwrap();
            assert!(remedy.contains("--seccomp-profile"), "{remedy}");
            assert_eq!(found["auto"]["variant"], "epoll:tuned");
            assert_eq!(found["limits"]["seccomp_filter"], true);
            // Only this call is reported as refused.
            for (other, _) in CALLS {
                assert_eq!(found["capabilities"][other], other != name, "{name}: {other}");
            }
            assert_eq!(found["missing"][name]["errno"], errno);
        }
    }
}

#[test]
fn table_shows_refusal_and_remedy() {
    if !engine_is_available("table_shows_refusal", Variant::IoUringSingleShot) {
        return;
    }
    let mut command = doctor(&[]);
    let output = refuse_call(&mut command, libc::SYS_io_uring_setup, libc::EPERM).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = stdout_of(&output);
    for words in ["io_uring cannot be used: a seccomp filter", "remedy: ", "auto uses epoll:tuned"]
    {
        assert!(text.contains(words), "{words} is not in {text}");
    }
}

#[test]
fn seccomp_profile_allows_exactly_three_calls() {
    let profile: Value =
        serde_json::from_str(&stdout_of(&doctor(&["--seccomp-profile"]).output().unwrap()))
            .unwrap();
    let names: Vec<_> = CALLS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(profile["syscalls"].as_array().unwrap().len(), 1);
    assert_eq!(profile["syscalls"][0]["names"], Value::from(names));
    assert_eq!(profile["syscalls"][0]["action"], "SCMP_ACT_ALLOW");
}

/// Kernels account for the memory of rings in different ways. The doctor must agree with the
/// server.
#[test]
fn locked_memory_verdict_matches_server() {
    for bytes in [0, 4096, 65_536] {
        let (found, code) = diagnosis(with_locked_memory_limit(&mut doctor(&["--json"]), bytes));
        let usable = found["io_uring_usable"] == true;
        assert_eq!(code, if usable { 0 } else { 3 });
        assert_eq!(found["limits"]["locked_memory_limit_bytes"], bytes);
        if !usable {
            assert_eq!(found["obstruction"]["kind"], "locked_memory", "{}", found["obstruction"]);
            assert_eq!(found["obstruction"]["errno"], libc::ENOMEM);
            let remedy = found["obstruction"]["remedy"].as_str().unwrap();
            assert!(remedy.contains("ulimit -l"), "{remedy}");
        }
        // The kernel releases the memory of a closed ring later.
        wait_until("the server to agree with the doctor", || {
            let arguments = ["--backend", "auto", "--listen", "127.0.0.1:0"];
            let server = ServerProcess::start_with(&arguments, |it| {
                with_locked_memory_limit(it, bytes);
            });
            server.start_line.contains(" · io_uring, ") == usable
        });
    }
}
