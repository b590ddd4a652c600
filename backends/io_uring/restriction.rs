//! The operations that the server needs, and the restriction of a ring to these
//! (io_uring_register_restrictions(3)).

use ::io_uring::{IoUring, Probe, opcode, register::Restriction};

use crate::error::BackendError;
use crate::refusal;

/// Required operations. The ring is restricted to them and [`SHUTDOWN`].
pub(crate) const OPERATIONS: &[(u8, &str)] = &[
    (opcode::Accept::CODE, "IORING_OP_ACCEPT"),
    (opcode::Recv::CODE, "IORING_OP_RECV"),
    (opcode::Send::CODE, "IORING_OP_SEND"),
    (opcode::Close::CODE, "IORING_OP_CLOSE"),
    (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
    (opcode::Timeout::CODE, "IORING_OP_TIMEOUT"),
    (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
];

/// Optional, since it needs Linux 5.11 and shutdown(2) can replace it. All others are in 5.10.
const SHUTDOWN: u8 = opcode::Shutdown::CODE;

/// Probes a disabled ring (IORING_SETUP_R_DISABLED), restricts it to what the server needs, and
/// enables it. Returns true if the kernel supports [`SHUTDOWN`].
///
/// seccomp does not see the operations of a ring. With the restriction even a compromised process
/// cannot open a file through it.
pub(crate) fn probe_and_restrict(
    ring: &IoUring,
    operations: &[(u8, &str)],
    additional: Vec<Restriction>,
) -> Result<bool, BackendError> {
    let refused = |error| refusal::error("io_uring_register", error);
    let submitter = ring.submitter();
    let mut probe = Probe::new();
    submitter.register_probe(&mut probe).map_err(refused)?;
    check_supported(operations, |code| probe.is_supported(code))?;
    if !ring.params().is_feature_nodrop() || !ring.params().is_feature_fast_poll() {
        return Err(refusal::operation_missing("IORING_FEAT_NODROP or IORING_FEAT_FAST_POLL"));
    }
    let has_shutdown = probe.is_supported(SHUTDOWN);
    let mut allowed: Vec<_> =
        operations.iter().map(|&(code, _)| Restriction::sqe_op(code)).collect();
    if has_shutdown {
        allowed.push(Restriction::sqe_op(SHUTDOWN));
    }
    allowed.extend(additional);
    submitter.register_restrictions(&mut allowed).map_err(refused)?;
    submitter.register_enable_rings().map_err(refused)?;
    Ok(has_shutdown)
}

/// Refuses the ring if it lacks an operation.
fn check_supported(
    operations: &[(u8, &str)],
    is_supported: impl Fn(u8) -> bool,
) -> Result<(), BackendError> {
    match operations.iter().find(|&&(code, _)| !is_supported(code)) {
        Some((_, name)) => Err(refusal::operation_missing(name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ::io_uring::types;

    use super::*;
    use crate::engine_options::EngineOptions;
    use crate::io_uring::ring::Ring;
    use crate::io_uring::single_shot_options;
    use crate::real_kernel::RealKernel;
    use crate::token::{Operation, Token};

    #[test]
    fn unneeded_operation_is_denied() {
        let options = single_shot_options(&EngineOptions::default());
        let (mut ring, _) = Ring::<RealKernel>::open(&options).unwrap();
        let path = c"/etc/passwd";
        let sqe = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr()).build();
        // SAFETY: the path is a static.
        unsafe { ring.push(sqe, Token::of_worker(Operation::Cancel)) };
        ring.wait().unwrap();
        let (_, completion) = ring.next().unwrap();
        assert_eq!(completion.result().unwrap_err().raw_os_error(), Some(libc::EACCES));
        assert_eq!(ring.in_flight(), 0);
    }

    #[test]
    fn missing_operation_is_refused_by_name() {
        assert!(check_supported(OPERATIONS, |_| true).is_ok());
        let refused = check_supported(OPERATIONS, |code| code != opcode::Send::CODE);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("IORING_OP_SEND") && refused.contains("5.10"), "{refused}");
    }
}
