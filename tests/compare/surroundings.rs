//! Servers that do not start, or do not stay, and users who may not do everything.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::peer;
use crate::program::Comparison;

fn complaint(arms: &[&str], exit_code: i32) -> String {
    let compared = Comparison::of(arms).run();
    assert_eq!(compared.exit_code(), exit_code, "{}", compared.said());
    assert_eq!(compared.shown(), "");
    compared.said()
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let said = complaint(&["epoll:level", "command:no-such-server {port}"], 2);
    assert!(said.contains("no-such-server cannot be started"), "{said}");
}

#[test]
fn a_program_that_does_not_listen_is_quoted() {
    let said = complaint(&["epoll:level", "command:sh -c 'echo why >&2; exit 9' {port}"], 1);
    assert!(said.contains("did not start at all\n  why"), "{said}");
}

#[test]
fn a_server_that_dies_under_load_is_quoted() {
    let dies = peer::arm("dies");
    let said = complaint(&["epoll:level", &dies], 1);
    assert!(said.contains("this is the end"), "{said}");
}

#[test]
fn arms_that_make_no_sense_are_refused_before_anything_is_started() {
    let said = complaint(&["epoll:level", "auto"], 2);
    assert!(said.contains("a comparison never falls back"), "{said}");
}

/// From then on, io_uring_setup(2) fails in the command and its children.
fn refuse_io_uring(command: &mut Command) {
    let rules = BTreeMap::from([(libc::SYS_io_uring_setup, vec![])]);
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let refusal = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    let apply =
        move || apply_filter(&program).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
    // SAFETY: between fork and exec it makes two system calls and does not allocate.
    unsafe { command.pre_exec(apply) };
}

#[test]
fn a_comparison_never_falls_back() {
    let mut comparison = Comparison::of(&["epoll:level", "io_uring:single_shot"]);
    refuse_io_uring(&mut comparison.command);
    let compared = comparison.run();
    assert_eq!(compared.exit_code(), 3, "{}", compared.said());
    assert!(compared.said().contains("seccomp filter forbids"), "{}", compared.said());
}

#[test]
fn whoever_may_not_have_a_namespace_is_told_and_goes_on() {
    let result = Comparison::of(&["epoll:level", "epoll:edge"])
        .with(["--no-namespace", "--blocks", "1"])
        .run()
        .result();
    assert!(!result.method.isolation.network_namespace);
    assert!(result.method.isolation.reason.contains("--no-namespace"));
}

#[test]
fn a_user_without_privileges_has_a_namespace_inside_a_user_namespace_or_is_told_why_not() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: every other comparison of this run is made by such a user");
        return;
    }
    let mut comparison =
        Comparison::of(&["epoll:level", "epoll:edge"]).with(["--blocks", "1", "--json", "-"]);
    comparison.command.uid(65_534).gid(65_534);
    let compared = comparison.run();
    assert_eq!(compared.exit_code(), 0, "{}", compared.said());
    let result: serde_json::Value = serde_json::from_str(&compared.shown()).unwrap();
    let isolation = &result["method"]["isolation"];
    let reason = isolation["reason"].as_str().unwrap();
    let word =
        if isolation["network_namespace"] == true { "user namespace" } else { "run it as root" };
    assert!(reason.contains(word), "{reason}");
}
