//! The end of a ring: whatever is in flight is cancelled and its completion taken, so that the
//! ring can go, and after it the memory that the kernel was lent.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::counters::{SystemCall, SystemCalls};
use crate::io_uring::ring::Ring;
// Tests put a simulated kernel in the place of the real one.
#[cfg(any(test, feature = "simulation"))]
use crate::simulation::calls as libc;
use crate::socket::check;
use crate::token::{Operation, Token};

/// How many ticks the kernel has to answer a cancel, which it does at once.
const MOST_TICKS: usize = 5;

/// Cancels what belongs to the worker itself and takes completions until nothing is in flight.
///
/// Operations of connections have come to their end before, or have been given up. Those stay in
/// flight, as does anything if the kernel will not have it otherwise, and then the owners of what
/// it was lent leak that rather than free it.
pub(crate) fn reap_to_zero(ring: &mut Ring, given_up: usize) {
    ring.cancel(Token::of_worker(Operation::Accept));
    ring.cancel(Token::of_worker(Operation::Stop));
    // The tick goes last: it is what ends a wait in which nothing else comes.
    let mut ticks = 0;
    while ring.in_flight() > given_up + 1 && ticks < MOST_TICKS {
        if ring.wait().is_err() {
            return;
        }
        if take_all(ring) {
            ring.tick();
            ticks += 1;
        }
    }
    ring.cancel(Token::of_worker(Operation::Tick));
    while ring.in_flight() > given_up && ticks < MOST_TICKS {
        if ring.wait().is_err() {
            return;
        }
        take_all(ring);
        ticks += 1;
    }
}

/// Takes what has come; whether the tick was among it.
fn take_all(ring: &mut Ring) -> bool {
    let mut ticked = false;
    while let Some((token, completion)) = ring.next() {
        match token.operation {
            Operation::Tick => ticked = true,
            // One of the ring's own goes with the ring.
            Operation::Accept if ring.accepts_directly => {}
            // SAFETY: no completion of an ACCEPT that was faster than its cancel is looked at
            // twice, and each has made a descriptor of its own.
            Operation::Accept => drop(unsafe { completion.descriptor() }),
            _ => {}
        }
    }
    ticked
}

/// `accept4` on a listener that no longer waits: what its queue still holds when nobody new can
/// get in.
pub(crate) fn accept4(listener: RawFd, counts: &mut SystemCalls) -> io::Result<OwnedFd> {
    counts.count(SystemCall::Accept4);
    // SAFETY: the peer's address is not asked for, so there are no pointers.
    let fd = check(unsafe {
        libc::accept4(listener, ptr::null_mut(), ptr::null_mut(), libc::SOCK_CLOEXEC)
    })?;
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
