//! Sending to a socket.

use ::io_uring::{opcode, types::Fd};

use super::buffers::{self, GROUP};
use super::probe_ring::{ProbeRing, retry_on_enomem};
use super::sqe::{self, RECVSEND_POLL_FIRST, UNKNOWN_FLAG};
use super::{Capability, ProbeResult, probe, require, sockets};

/// Capabilities of this group.
pub const ALL: &[Capability] = &[
    probe("send", "IORING_OP_SEND", single),
    probe("send_bundle", "IORING_RECVSEND_BUNDLE: one send of several buffers", bundle),
    probe("send_poll_first", "IORING_RECVSEND_POLL_FIRST: polls before it sends", poll_first),
    probe("send_zc", "IORING_OP_SEND_ZC over TCP", zc),
    probe("send_zc_report_usage", "IORING_SEND_ZC_REPORT_USAGE: reports copies", zc_report_usage),
    probe("send_zc_loopback", "IORING_OP_SEND_ZC without a copy over loopback", zc_loopback),
];

/// `IORING_SEND_ZC_REPORT_USAGE` (io_uring_enter(2)).
const REPORT_USAGE: u16 = 8;
/// `IORING_NOTIF_USAGE_ZC_COPIED` (io_uring_enter(2)).
const COPIED: u32 = 1 << 31;

static PAGE: [u8; 4096] = [b'z'; 4096];

/// Tests IORING_OP_SEND (5.6).
pub fn single() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    probe.run(sqe::send(near, b"hello", 0), "IORING_OP_SEND")?;
    sockets::expect_bytes(far, b"hello")
}

/// Tests IORING_RECVSEND_BUNDLE on a send (6.10): one completion sends two buffers.
pub fn bundle() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    buffers::register(&mut probe, 2, 64, 0)?;
    let send = opcode::SendBundle::new(Fd(near), GROUP).build();
    let sent = probe.run(send, "SEND with IORING_RECVSEND_BUNDLE")?;
    require(sent.result == 128, format!("{} of 128 bytes were sent", sent.result))?;
    sockets::expect_bytes(far, &[0; 128])
}

/// Tests IORING_RECVSEND_POLL_FIRST (5.19) as [`super::receive::poll_first`] does.
pub fn poll_first() -> ProbeResult {
    let (mut probe, near, far) = ProbeRing::with_sockets()?;
    probe.run(sqe::send(near, b"hello", RECVSEND_POLL_FIRST), "IORING_OP_SEND")?;
    sockets::expect_bytes(far, b"hello")?;
    let unknown = sqe::send(near, b"hello", UNKNOWN_FLAG);
    probe.run_expecting(unknown, "SEND with an undefined flag", libc::EINVAL)
}

/// Tests IORING_OP_SEND_ZC (6.0): the send completes, then a notification that the memory can be
/// reused.
pub fn zc() -> ProbeResult {
    send_zc_notification(0).map(drop)
}

/// Tests IORING_SEND_ZC_REPORT_USAGE (6.2).
pub fn zc_report_usage() -> ProbeResult {
    send_zc_notification(REPORT_USAGE).map(drop)
}

/// Tests that a zero-copy send over the loopback interface does not copy. All known kernels
/// copy there.
pub fn zc_loopback() -> ProbeResult {
    let copied = send_zc_notification(REPORT_USAGE)? as u32 & COPIED != 0;
    require(!copied, "the kernel copied the data (IORING_NOTIF_USAGE_ZC_COPIED)")
}

/// Sends a page with IORING_OP_SEND_ZC over TCP and returns the result of its notification.
fn send_zc_notification(ioprio: u16) -> ProbeResult<i32> {
    let mut probe = ProbeRing::new()?;
    let (near, far) = sockets::tcp_pair()?;
    let (near, far) = (probe.own_socket(near), probe.own_socket(far));
    // The page counts towards RLIMIT_MEMLOCK.
    let (send, sent) = retry_on_enomem(|| {
        let send = opcode::SendZc::new(Fd(near), PAGE.as_ptr(), PAGE.len() as u32);
        let send = probe.push(send.zc_flags(ioprio).build())?;
        probe.wait_ok(send, "IORING_OP_SEND_ZC").map(|sent| (send, sent))
    })?;
    require(sent.result == PAGE.len() as i32, format!("{} bytes were sent", sent.result))?;
    require(sent.more(), "IORING_CQE_F_MORE is not set")?;
    sockets::expect_bytes(far, &PAGE)?;
    let notification = probe.wait(send, "the notification of IORING_OP_SEND_ZC")?;
    require(notification.is_notification(), "the second completion is no notification")?;
    Ok(notification.result)
}
