//! Ring teardown: cancels what is in flight and reaps the completions, so that the ring can be
//! closed and the memory that the kernel used can be freed.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::counters::{SystemCall, SystemCalls};
use crate::io_uring::ring::Ring;
// Tests replace the system calls by a simulated kernel.
#[cfg(any(test, feature = "simulation"))]
use crate::simulation::calls as libc;
use crate::socket::check;
use crate::token::{Operation, Token};

/// Limits the wait for cancelled operations, in ticks. The kernel usually cancels at once.
const MAX_TICKS: usize = 5;

/// Cancels the worker's own operations (accept, stop, tick) and reaps completions until only
/// `abandoned` operations are in flight.
///
/// Operations of connections have completed before, except those of `abandoned` connections, which
/// the stop no longer waits for. If anything is in flight afterwards, the owners of the memory
/// leak it instead of freeing it.
pub(crate) fn cancel_and_reap(ring: &mut Ring, abandoned: usize) {
    ring.cancel(Token::of_worker(Operation::Accept));
    ring.cancel(Token::of_worker(Operation::Stop));
    // The tick is cancelled last, since it ends a wait in which nothing else completes.
    let mut ticks = 0;
    while ring.in_flight() > abandoned + 1 && ticks < MAX_TICKS {
        if ring.wait().is_err() {
            return;
        }
        if discard_completions(ring) {
            ring.tick();
            ticks += 1;
        }
    }
    ring.cancel(Token::of_worker(Operation::Tick));
    while ring.in_flight() > abandoned && ticks < MAX_TICKS {
        if ring.wait().is_err() {
            return;
        }
        discard_completions(ring);
        ticks += 1;
    }
}

/// Discards the reaped completions. Returns true if a tick was among them.
fn discard_completions(ring: &mut Ring) -> bool {
    let mut ticked = false;
    while let Some((token, completion)) = ring.next() {
        match token.operation {
            Operation::Tick => ticked = true,
            // A direct descriptor is closed with the ring.
            Operation::Accept if ring.accepts_direct => {}
            // SAFETY: this ACCEPT completed before its cancel. Each completion is visited once and
            // owns a descriptor.
            Operation::Accept => drop(unsafe { completion.accepted_fd() }),
            _ => {}
        }
    }
    ticked
}

/// Calls accept4(2) on a nonblocking listener, to empty its queue during a stop.
pub(crate) fn accept4(listener: RawFd, counts: &mut SystemCalls) -> io::Result<OwnedFd> {
    counts.count(SystemCall::Accept4);
    // SAFETY: both pointers are null: the peer's address is not requested.
    let fd = check(unsafe {
        libc::accept4(listener, ptr::null_mut(), ptr::null_mut(), libc::SOCK_CLOEXEC)
    })?;
    // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
