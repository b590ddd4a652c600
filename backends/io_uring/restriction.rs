//! What the server needs of a ring, and that the ring does nothing else.

use ::io_uring::{IoUring, Probe, opcode, register::Restriction};

use crate::error::BackendError;
#[cfg(any(test, feature = "simulation"))]
use crate::io_uring::faults::plan;
use crate::kernel;

/// Every operation that the server cannot do without; the ring is restricted to them, and to
/// [`SHUTDOWN`].
pub(crate) const OPERATIONS: &[(u8, &str)] = &[
    (opcode::Accept::CODE, "IORING_OP_ACCEPT"),
    (opcode::Recv::CODE, "IORING_OP_RECV"),
    (opcode::Send::CODE, "IORING_OP_SEND"),
    (opcode::Close::CODE, "IORING_OP_CLOSE"),
    (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
    (opcode::Timeout::CODE, "IORING_OP_TIMEOUT"),
    (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
];

/// The one operation that came with Linux 5.11. Kernels before that do all others, and the
/// system call of its name is there on every kernel.
const SHUTDOWN: u8 = opcode::Shutdown::CODE;

/// The ring is still disabled: it is asked what it can do, bound to what the server needs, and
/// then enabled. From there on even a process that was taken over cannot open a file through it,
/// which matters since nothing that a ring does is seen by seccomp. Whether it does [`SHUTDOWN`].
pub(crate) fn prove_and_restrict(
    ring: &IoUring,
    operations: &[(u8, &str)],
    beside: Vec<Restriction>,
) -> Result<bool, BackendError> {
    let refused = |error| kernel::refusal("io_uring_register", error);
    let submitter = ring.submitter();
    let mut probe = Probe::new();
    submitter.register_probe(&mut probe).map_err(refused)?;
    for &(code, name) in operations {
        if !does(&probe, code) {
            return Err(kernel::operation_missing(name));
        }
    }
    if !ring.params().is_feature_nodrop() || !ring.params().is_feature_fast_poll() {
        return Err(kernel::operation_missing("IORING_FEAT_NODROP or IORING_FEAT_FAST_POLL"));
    }
    let shuts = does(&probe, SHUTDOWN);
    let mut allowed: Vec<_> =
        operations.iter().map(|&(code, _)| Restriction::sqe_op(code)).collect();
    if shuts {
        allowed.push(Restriction::sqe_op(SHUTDOWN));
    }
    allowed.extend(beside);
    submitter.register_restrictions(&mut allowed).map_err(refused)?;
    submitter.register_enable_rings().map_err(refused)?;
    Ok(shuts)
}

/// Whether the kernel has the operation, as far as the test that runs allows it.
fn does(probe: &Probe, code: u8) -> bool {
    #[cfg(any(test, feature = "simulation"))]
    if plan().missing.contains(&code) {
        return false;
    }
    probe.is_supported(code)
}

#[cfg(test)]
mod tests {
    use ::io_uring::types;

    use super::*;
    use crate::backend::EngineOptions;
    use crate::io_uring::ring::Ring;
    use crate::token::{Operation, Token};

    #[test]
    fn what_the_server_does_not_need_is_denied() {
        let mut ring = Ring::new(&EngineOptions::default()).unwrap();
        let path = c"/etc/passwd";
        let entry = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr()).build();
        // SAFETY: the path is a static.
        unsafe { ring.push(entry, Token::of_worker(Operation::Cancel)) };
        ring.wait().unwrap();
        let (_, completion) = ring.next().unwrap();
        assert_eq!(completion.result().unwrap_err().raw_os_error(), Some(libc::EACCES));
        assert_eq!(ring.in_flight(), 0);
    }
}
