//! Bytes to a socket.

use super::ask::{Ask, NO_SUCH_FLAG, POLL_FIRST, REPORT_USAGE};
use super::buffers::{self, GROUP};
use super::trial::{Trial, patiently};
use super::{Answer, Capability, Missing, capability, require, sockets};

/// All of this group.
pub const ALL: &[Capability] = &[
    capability("send", "IORING_OP_SEND", single),
    capability("send_bundle", "IORING_RECVSEND_BUNDLE: one send of several buffers", bundle),
    capability(
        "send_poll_first",
        "IORING_RECVSEND_POLL_FIRST: no attempt before there is room",
        poll_first,
    ),
    capability("send_zero_copy", "IORING_OP_SEND_ZC over TCP", zero_copy),
    capability(
        "send_zero_copy_report",
        "IORING_SEND_ZC_REPORT_USAGE: it says whether it copied",
        zero_copy_report,
    ),
    capability(
        "send_zero_copy_loopback",
        "SEND_ZC over the loopback interface without a copy",
        zero_copy_loopback,
    ),
];

/// `IORING_NOTIF_USAGE_ZC_COPIED` (io_uring_enter(2)).
const COPIED: u32 = 1 << 31;

static PAGE: [u8; 4096] = [b'z'; 4096];

/// IORING_OP_SEND (5.6).
pub fn single() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    trial.does(Ask::send(near, b"hello", 0), "IORING_OP_SEND")?;
    sockets::must_hear(far, b"hello")
}

/// IORING_RECVSEND_BUNDLE on a send (6.10): the bytes of two buffers with one completion.
pub fn bundle() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    buffers::register(&mut trial, 2, 64, 0)?;
    let sent = trial.does(Ask::send_bundle(near, GROUP), "SEND with IORING_RECVSEND_BUNDLE")?;
    require(sent.result == 128, format!("{} of 128 bytes were sent", sent.result))?;
    sockets::must_hear(far, &[0; 128])
}

/// IORING_RECVSEND_POLL_FIRST (5.19), told apart as in [`super::receive::poll_first`].
pub fn poll_first() -> Answer {
    let mut trial = Trial::plain()?;
    let (near, far) = trial.pair()?;
    trial.does(Ask::send(near, b"hello", POLL_FIRST), "IORING_OP_SEND")?;
    sockets::must_hear(far, b"hello")?;
    let unknown = Ask::send(near, b"hello", NO_SUCH_FLAG);
    trial.fails(unknown, "SEND with a flag that does not exist", libc::EINVAL)
}

/// IORING_OP_SEND_ZC (6.0): the completion of the send, then the notification that its memory is
/// free.
pub fn zero_copy() -> Answer {
    notification(0).map(drop)
}

/// IORING_SEND_ZC_REPORT_USAGE (6.2).
pub fn zero_copy_report() -> Answer {
    notification(REPORT_USAGE).map(drop)
}

/// Whether a zero-copy send to this machine itself is one. No kernel so far leaves out the copy.
pub fn zero_copy_loopback() -> Answer {
    let copied = notification(REPORT_USAGE)? as u32 & COPIED != 0;
    require(!copied, "the kernel copied what it sent (IORING_NOTIF_USAGE_ZC_COPIED)")
}

/// Sends a page over TCP without a copy, if the kernel can; what the notification says.
fn notification(how: u16) -> Result<i32, Missing> {
    let mut trial = Trial::plain()?;
    let (near, far) = sockets::tcp_pair()?;
    let (near, far) = (trial.keep(near), trial.keep(far));
    // The page counts as locked memory.
    let (send, sent) = patiently(|| {
        let send = trial.push(Ask::send_zero_copy(near, &PAGE, how))?;
        trial.done(send, "IORING_OP_SEND_ZC").map(|sent| (send, sent))
    })?;
    require(sent.result == PAGE.len() as i32, format!("{} bytes were sent", sent.result))?;
    require(sent.more(), "no notification was promised")?;
    sockets::must_hear(far, &PAGE)?;
    let notification = trial.answer(send, "the notification of IORING_OP_SEND_ZC")?;
    require(
        notification.is_notification(),
        "another completion came in place of the notification",
    )?;
    Ok(notification.result)
}
