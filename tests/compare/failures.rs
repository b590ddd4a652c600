//! Servers that do not start or exit early, invalid arguments, and missing privileges.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use ringpoll::result::ComparisonResult;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::program::Comparison;
use crate::test_server;

fn stderr_of(arms: &[&str], exit_code: i32) -> String {
    let finished = Comparison::churn(arms).run();
    assert_eq!(finished.exit_code(), exit_code, "{}", finished.stderr());
    assert_eq!(finished.stdout(), "");
    finished.stderr()
}

#[test]
fn missing_program_is_named() {
    let stderr = stderr_of(&["epoll:level", "command:no-such-server {port}"], 2);
    assert!(stderr.contains("cannot start no-such-server"), "{stderr}");
}

#[test]
fn stderr_of_a_server_that_does_not_listen_is_quoted() {
    let stderr = stderr_of(&["epoll:level", "command:sh -c 'echo why >&2; exit 9' {port}"], 1);
    assert!(stderr.contains("did not start at all\n  why"), "{stderr}");
}

#[test]
fn stderr_of_a_server_that_exits_under_load_is_quoted() {
    let dies = test_server::arm("dies");
    let stderr = stderr_of(&["epoll:level", &dies], 1);
    assert!(stderr.contains("this is the end"), "{stderr}");
}

#[test]
fn auto_is_not_an_arm() {
    let stderr = stderr_of(&["epoll:level", "auto"], 2);
    assert!(stderr.contains("a comparison never falls back"), "{stderr}");
}

#[test]
fn single_unknown_arm_is_named_with_the_known_ones() {
    let stderr = stderr_of(&["nosuch"], 2);
    assert!(
        stderr.starts_with("ringpoll compare: unknown arm `nosuch`. Known arms: epoll, io_uring")
    );
    let stderr = stderr_of(&["epoll", ""], 2);
    assert!(stderr.starts_with("ringpoll compare: unknown arm ``. Known arms: "), "{stderr}");
    let stderr = stderr_of(&["epol:level"], 2);
    assert!(stderr.contains("Did you mean epoll:level?"), "{stderr}");
}

#[test]
fn flags_that_cannot_be_met_are_refused_before_anything_starts() {
    for (flags, part) in [
        (["--fail-if", "p99@saturation > 1.2"], "this is not measured"),
        (["--fail-if", "cpu_per_gib > 1.2"], "this is not measured"),
        (["--decide", "bytes_throughput"], "load churn does not measure it"),
        (["--budget", "1e19"], "at most 30 days"),
    ] {
        let finished = Comparison::churn(&["epoll:level", "epoll:edge"]).with(flags).run();
        assert_eq!(finished.exit_code(), 2, "{flags:?}: {}", finished.stderr());
        assert!(finished.stderr().contains(part), "{flags:?}: {}", finished.stderr());
    }
}

#[test]
fn name_of_an_output_need_not_be_unicode() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(OsStr::from_bytes(b"b\xff.json"));
    let finished = Comparison::churn(&["epoll:level", "epoll:edge"])
        .with(["--rate", "300"])
        .with([OsStr::new("--html"), path.as_os_str()])
        .run();
    finished.result();
    assert!(path.exists());
}

#[test]
fn arm_with_an_invalid_setting_is_named() {
    let stderr = stderr_of(&["epoll", "epoll,backlg=1"], 2);
    let expected = "arm epoll,backlg=1: unknown key backlg; did you mean server.backlog?\n";
    assert_eq!(stderr, expected);
    let stderr = stderr_of(&["epoll", "epoll,backlog=x"], 2);
    assert!(stderr.starts_with("arm epoll,backlog=x: server.backlog must be "), "{stderr}");
}

#[test]
fn unwritable_output_is_refused_before_anything_is_measured() {
    for flag in ["--json", "--html"] {
        // The arm could not be measured: it exits with 1 as soon as it starts.
        let finished = Comparison::churn(&["epoll:level", "command:false {port}"])
            .with([flag, "absent/result"])
            .run();
        assert_eq!(finished.exit_code(), 2, "{}", finished.stderr());
        let expected = format!("ringpoll: {flag} absent/result: cannot open for writing: No such");
        assert!(finished.stderr().starts_with(&expected), "{}", finished.stderr());
    }
}

#[test]
fn result_that_cannot_be_written_is_saved_in_the_temporary_directory() {
    let finished = Comparison::churn(&["epoll:level", "epoll:edge"])
        .with(["--blocks", "1", "--json", "/dev/full"])
        .run();
    let stderr = finished.stderr();
    assert_eq!(finished.exit_code(), 1, "{stderr}");
    assert!(stderr.contains("ringpoll: --json /dev/full: No space left on device"), "{stderr}");
    let (_, saved) = stderr.split_once("The result was saved to ").expect("a path");
    let saved = saved.trim_end().strip_suffix(" instead.").expect("the end of the message");
    let text = std::fs::read_to_string(saved).expect("the saved result");
    let result: ComparisonResult = serde_json::from_str(&text).expect("a complete result");
    assert_eq!(result.arms.len(), 2);
    std::fs::remove_file(saved).expect("the saved result");
}

/// Makes io_uring_setup(2) fail with EPERM in the command and its children.
fn refuse_io_uring(command: &mut Command) {
    let rules = BTreeMap::from([(libc::SYS_io_uring_setup, vec![])]);
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let refusal = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    let apply =
        move || apply_filter(&program).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
    // SAFETY: between fork and exec, the closure makes two system calls and does not allocate.
    unsafe { command.pre_exec(apply) };
}

#[test]
fn refused_engine_does_not_fall_back() {
    let mut comparison = Comparison::churn(&["epoll:level", "io_uring:single_shot"]);
    refuse_io_uring(&mut comparison.command);
    let finished = comparison.run();
    assert_eq!(finished.exit_code(), 3, "{}", finished.stderr());
    assert!(finished.stderr().contains("a seccomp filter denies it"), "{}", finished.stderr());
}

#[test]
fn comparison_without_a_namespace_reports_the_reason() {
    let result = Comparison::churn(&["epoll:level", "epoll:edge"])
        .with(["--no-namespace", "--blocks", "1"])
        .run()
        .result();
    assert!(!result.method.isolation.network_namespace);
    assert!(result.method.isolation.reason.contains("--no-namespace"));
}

#[test]
fn unprivileged_user_gets_a_user_namespace_or_the_reason() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: the other tests run as an unprivileged user already");
        return;
    }
    let mut comparison =
        Comparison::churn(&["epoll:level", "epoll:edge"]).with(["--blocks", "1", "--json", "-"]);
    comparison.command.uid(65_534).gid(65_534);
    let finished = comparison.run();
    assert_eq!(finished.exit_code(), 0, "{}", finished.stderr());
    let result: serde_json::Value = serde_json::from_str(&finished.stdout()).unwrap();
    let isolation = &result["method"]["isolation"];
    let reason = isolation["reason"].as_str().unwrap();
    let expected =
        if isolation["network_namespace"] == true { "user namespace" } else { "run it as root" };
    assert!(reason.contains(expected), "{reason}");
}
