//! The end of a ring: whatever is in flight is cancelled and its completion taken, so that the
//! ring can go, and after it the memory that the kernel was lent.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::counters::{SystemCall, SystemCalls};
use crate::error::BackendError;
use crate::io_uring::ring::Ring;
use crate::socket::check;
use crate::token::{Operation, Token};

/// How often the kernel is waited for. It answers a cancel at once; every wait brings something.
const MOST_WAITS: usize = 1000;

/// Cancels what belongs to the worker itself and takes completions until nothing is in flight.
///
/// Operations of connections have come to their end before, or have been given up: those stay
/// in flight, and [`crate::io_uring::recv_slab`] leaks what they were lent.
pub(crate) fn reap_to_zero(ring: &mut Ring, given_up: usize) -> Result<(), BackendError> {
    for operation in [Operation::Stop, Operation::Tick] {
        ring.cancel(Token::of_worker(operation));
    }
    for _ in 0..MOST_WAITS {
        if ring.in_flight() <= given_up {
            break;
        }
        ring.wait()?;
        while let Some((token, completion)) = ring.next() {
            // An ACCEPT that was faster than its cancel has made a descriptor.
            if let (Operation::Accept, Ok(fd)) = (token.operation, completion.result()) {
                // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    Ok(())
}

/// `accept4` on a listener that no longer waits: what its queue still holds when nobody new can
/// get in. The ring cannot be asked, since an ACCEPT waits for the next in any case.
pub(crate) fn accept_waiting(listener: RawFd, counts: &mut SystemCalls) -> io::Result<RawFd> {
    counts.count(SystemCall::Accept4);
    // SAFETY: the peer's address is not asked for, so there are no pointers.
    check(unsafe { libc::accept4(listener, ptr::null_mut(), ptr::null_mut(), libc::SOCK_CLOEXEC) })
}
