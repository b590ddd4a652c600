//! For tests only: the engines, and everything below them, on a simulated kernel.
//!
//! A history is a string of bytes. It says how the worker is set up, who comes, in which pieces
//! everybody speaks and listens, who leaves and when, which calls and operations fail, in which
//! order events and completions come, how time passes, and when the stop is requested: anything
//! that the interfaces of the kernel allow. The simulated kernel checks each call for what it may
//! do, [`watch`] each step of each connection, and at the end everything must have been given
//! back, and everybody must have been answered who has given no reason not to be.
//!
//! The engines are the real ones: only the calls at their edge go elsewhere, on the one thread
//! that asks for it.

pub(crate) mod calls;
mod choices;
mod epoll;
mod kernel;
mod life;
mod peer;
mod ring;
mod script;
mod setup;
#[cfg(test)]
mod tests;
mod watch;
mod world;

use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

pub use choices::bytes_of_seed;
pub use kernel::{Met, tell_histories};
pub(crate) use ring::SimulatedRing;

use crate::backend::{Backend, KeepAlive, Variant, Worker, open};
use crate::io_uring::IoUringBackend;
use crate::io_uring::faults::Queues;
use crate::io_uring::ring::Ring;
use crate::replies::Replies;
use crate::stop::Stop;
use choices::Choices;
use kernel::Kernel;
use setup::Setup;
use watch::Watch;

/// Runs the history that follows from these bytes, to its end.
///
/// # Panics
/// If the engine does what it may not.
pub fn run_history(variant: Variant, bytes: &[u8]) -> Met {
    let mut choices = Choices::new(bytes);
    let setup = Setup::choose(&mut choices);
    let stop = Stop::new().expect("there are descriptors left");
    // Any descriptor will do: it is only adjusted and closed.
    let listener = OwnedFd::from(UnixDatagram::unbound().expect("there are descriptors left"));
    let number = listener.as_raw_fd();
    let mut worker = Worker::new(TcpListener::from(listener), stop.clone(), setup.response.clone());
    worker.limits = setup.limits.clone();
    worker.deadlines = setup.deadlines;
    worker.closing = setup.closing;
    if setup.keep_alive {
        let replies = Replies::new(setup.response.clone()).expect("it is a response");
        worker.keep_alive = Some(KeepAlive::new(replies.into()));
    }
    worker.drain_timeout = setup.drain_timeout;
    worker.recorder = Some(Box::new(Watch));
    if setup.logs_requests {
        worker.request_log = Some(Box::new(Watch));
    }
    let (options, shutdown_by_call) = (setup.options.clone(), setup.shutdown_by_call);
    let kernel = Kernel::new(choices, setup, number, stop);
    kernel.tell(format_args!("{:#?}", kernel.setup));
    kernel.install();
    let _installed = Installed;
    let mut backend: Box<dyn Backend> = if variant.is_io_uring() {
        let ring = Ring::over(Queues::Simulated(SimulatedRing::default()), 64);
        let ring = ring.with_shutdown_by_call(shutdown_by_call);
        Box::new(IoUringBackend::over(ring, variant == Variant::IoUringTuned, &options))
    } else {
        open(variant, &options).expect("epoll is there")
    };
    let report = backend.run(worker).expect("nothing ends a run but the stop");
    let mut kernel = Kernel::uninstall();
    kernel.ended(&report);
    kernel.met
}

/// Takes the simulated kernel away from the thread, also when a check has failed.
struct Installed;

impl Drop for Installed {
    fn drop(&mut self) {
        Kernel::remove();
    }
}
