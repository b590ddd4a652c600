//! The answers, as far as they can be known without knowing the kernel.

use std::collections::BTreeSet;
use std::fs;

use super::*;
use crate::own_process;

#[test]
fn names_are_unique_and_plain() {
    let names: BTreeSet<_> = all().map(|capability| capability.name).collect();
    assert_eq!(names.len(), all().count());
    for name in names {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
    }
}

/// What every kernel that the server runs on has, and what the server itself uses.
#[test]
fn what_the_server_uses_is_there() {
    let capabilities = Capabilities::probe();
    for (capability, answer) in capabilities.iter() {
        println!("{:24} {answer:?}", capability.name);
    }
    let used = "ring setup_r_disabled restrictions register_probe overflow_kept accept recv send \
                shutdown close cancel timeout poll link hard_link fixed_file provide_buffers";
    for name in used.split_whitespace() {
        assert_eq!(capabilities.get(name), Some(&Ok(())), "{name}");
    }
}

/// What came with a release has come with what it is built on.
#[test]
fn the_answers_agree_with_each_other() {
    let found = Capabilities::probe();
    for (later, earlier) in [
        ("setup_defer_taskrun", "setup_single_issuer"),
        ("accept_direct_multishot", "accept_multishot"),
        ("accept_direct_alloc", "accept_direct"),
        ("close_direct", "accept_direct"),
        ("recv_multishot", "buffer_ring"),
        ("recv_bundle", "recv_multishot"),
        ("buffer_ring_incremental", "buffer_ring"),
        ("send_zero_copy_report", "send_zero_copy"),
        ("send_zero_copy_loopback", "send_zero_copy_report"),
        ("message_ring_fd", "message_ring"),
        ("min_wait", "wait_timeout"),
        ("cancel_operation", "cancel_any"),
    ] {
        assert!(!found.has(later) || found.has(earlier), "{later} without {earlier}");
    }
}

#[test]
fn nothing_is_left_behind() {
    if !own_process::is_inside("io_uring::capabilities::tests::nothing_is_left_behind") {
        return;
    }
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    // The first round may open what stays for good, such as the name of a thread.
    Capabilities::probe();
    let before = open();
    for _ in 0..3 {
        Capabilities::probe();
    }
    assert_eq!(open(), before);
}

/// A completion that never comes ends a trial, and a trial that is dropped with operations in
/// flight takes them back.
#[test]
fn nothing_is_waited_for_without_end() {
    let mut trial = trial::Trial::plain().unwrap();
    let (near, _far) = trial.pair().unwrap();
    let poll = trial.push(ask::Ask::poll_multishot(near)).unwrap();
    let missing = trial.done(poll, "a poll").unwrap_err();
    assert_eq!(missing.to_string(), "a poll never completed");
}

#[test]
fn a_refusal_names_the_operation_and_the_errno() {
    let mut trial = trial::Trial::plain().unwrap();
    let missing = trial.does(ask::Ask::send(-1, b"x", 0), "IORING_OP_SEND").unwrap_err();
    assert_eq!(missing.errno(), Some(libc::EBADF));
    assert!(missing.to_string().starts_with("IORING_OP_SEND: Bad file descriptor"));
}
