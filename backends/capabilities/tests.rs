//! Checks on probe results that hold on any kernel.

use std::collections::BTreeSet;
use std::fs;

use super::*;

#[test]
fn names_are_unique_and_lower_case() {
    let names: BTreeSet<_> = all().map(|capability| capability.name).collect();
    assert_eq!(names.len(), all().count());
    for name in names {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
    }
}

/// The server needs these capabilities, so every kernel that it supports has them.
#[test]
fn kernel_has_capabilities_that_server_needs() {
    let capabilities = Capabilities::probe();
    for (capability, result) in capabilities.iter() {
        println!("{:24} {result:?}", capability.name);
    }
    let used = "ring setup_r_disabled restrictions register_probe feat_nodrop accept recv send \
                shutdown close cancel timeout poll link hardlink fixed_file provide_buffers";
    for name in used.split_whitespace() {
        assert_eq!(capabilities.get(name), Some(&Ok(())), "{name}");
    }
}

/// A kernel with the later of two features also has the earlier one that it builds on.
#[test]
fn results_are_consistent() {
    let found = Capabilities::probe();
    for (later, earlier) in [
        ("setup_defer_taskrun", "setup_single_issuer"),
        ("accept_direct_multishot", "accept_multishot"),
        ("accept_direct_alloc", "accept_direct"),
        ("close_direct", "accept_direct"),
        ("recv_multishot", "buf_ring"),
        ("recv_bundle", "recv_multishot"),
        ("buf_ring_inc", "buf_ring"),
        ("send_zc_report_usage", "send_zc"),
        ("send_zc_loopback", "send_zc_report_usage"),
        ("msg_ring_fd", "msg_ring"),
        ("min_wait", "ext_arg"),
        ("cancel_op", "cancel_any"),
    ] {
        assert!(!found.has(later) || found.has(earlier), "{later} without {earlier}");
    }
}

#[test]
fn probes_close_all_descriptors() {
    if !common::is_own_process("capabilities::tests::probes_close_all_descriptors") {
        return;
    }
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    // The first round may open descriptors that stay open.
    Capabilities::probe();
    let before = open();
    for _ in 0..3 {
        Capabilities::probe();
    }
    assert_eq!(open(), before);
}

/// A missing completion fails a probe, and a ring that is dropped cancels what is in flight.
#[test]
fn missing_completion_times_out() {
    let mut probe = probe_ring::ProbeRing::new().unwrap();
    let (near, _far) = probe.socket_pair().unwrap();
    let poll = probe.push(sqe::poll_multishot(near)).unwrap();
    let error = probe.wait_ok(poll, "a poll").unwrap_err();
    assert_eq!(error.to_string(), "a poll never completed");
}

#[test]
fn error_names_operation_and_errno() {
    let mut probe = probe_ring::ProbeRing::new().unwrap();
    let error = probe.run(sqe::send(-1, b"x", 0), "IORING_OP_SEND").unwrap_err();
    assert_eq!(error.errno(), Some(libc::EBADF));
    assert!(error.to_string().starts_with("IORING_OP_SEND: Bad file descriptor"));
}
