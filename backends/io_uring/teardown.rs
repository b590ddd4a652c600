//! Ring teardown: cancels what is in flight and reaps the completions, so that the ring can be
//! closed and the memory that the kernel used can be freed.

use crate::io_uring::ring::Ring;
use crate::kernel::Kernel;
use crate::token::{Operation, Token};

/// Limits the wait for cancelled operations, in ticks. The kernel usually cancels at once.
const MAX_TICKS: usize = 5;

/// Cancels the worker's own operations (accept, stop, tick) and reaps completions until only
/// `abandoned` operations are in flight.
///
/// Operations of connections have completed before, except those of `abandoned` connections, which
/// the stop no longer waits for. If anything is in flight afterwards, the owners of the memory
/// leak it instead of freeing it.
pub(crate) fn cancel_and_reap<K: Kernel>(ring: &mut Ring<K>, abandoned: usize) {
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
fn discard_completions<K: Kernel>(ring: &mut Ring<K>) -> bool {
    let mut ticked = false;
    while let Some((token, completion)) = ring.next() {
        match token.operation {
            Operation::Tick => ticked = true,
            // SAFETY: this ACCEPT completed before its cancel. Each completion is visited once and
            // owns a descriptor.
            Operation::Accept => drop(unsafe { completion.accepted_fd() }),
            _ => {}
        }
    }
    ticked
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use super::*;
    use crate::engine_options::EngineOptions;
    use crate::io_uring::single_shot_options;
    use crate::real_kernel::RealKernel;

    /// An ACCEPT that completes before its cancel returns a descriptor, which must be closed.
    #[test]
    fn connection_accepted_during_teardown_is_closed() {
        if !common::io_uring_is_available("teardown::connection_accepted_during_teardown_is_closed")
        {
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let options = single_shot_options(&EngineOptions::default());
        let (mut ring, _) = Ring::<RealKernel>::open(&options).unwrap();
        ring.accept(listener.as_raw_fd(), Token::of_worker(Operation::Accept));
        ring.tick();
        cancel_and_reap(&mut ring, 0);
        assert_eq!(ring.in_flight(), 0);
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the client gets the end of the stream");
    }
}
