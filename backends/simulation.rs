//! Simulated kernel for tests: runs the engines deterministically against seeded faults.
//!
//! A history is a string of bytes. It determines the setup of the worker, the peers and their
//! reads, writes and disconnects, which calls and operations fail, the order of events and
//! completions, the passing of time, and when the stop is requested: anything that the interfaces
//! of the kernel allow. The simulated kernel checks that each call is allowed, `checker.rs` checks
//! each lifecycle event of each connection, and at the end every descriptor and operation must be
//! released, and every peer must have its response unless it gave a reason to go without.
//!
//! The engines are the real ones. Only their system calls are redirected, on the thread that
//! installed a simulated kernel.

mod actions;
pub(crate) mod calls;
mod checker;
mod choices;
mod epoll;
mod kernel;
mod model;
mod peer;
mod ring;
mod script;
mod setup;
#[cfg(test)]
mod tests;

use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

pub use choices::bytes_of_seed;
pub use kernel::{Coverage, trace_histories};
pub(crate) use ring::SimulatedRing;

use crate::backend::{Backend, EngineOptions, Variant, open};
use crate::io_uring::IoUringBackend;
use crate::io_uring::faults::Queues;
use crate::io_uring::ring::Ring;
use crate::protocol::Protocol;
use crate::protocols::{Http10, Http11, Responses};
use crate::stop::Stop;
use crate::worker::{Report, WorkerOptions};
use checker::Checker;
use choices::Choices;
use kernel::Kernel;
use setup::Setup;

/// Runs the history that these bytes determine, and returns what it covered.
///
/// # Panics
/// If a check fails.
pub fn run_history(variant: Variant, bytes: &[u8]) -> Coverage {
    let mut choices = Choices::new(bytes);
    let setup = Setup::choose(&mut choices);
    let stop = Stop::new().expect("a free descriptor");
    // Any descriptor will do: the worker only sets options on it and closes it.
    let listener = OwnedFd::from(UnixDatagram::unbound().expect("a free descriptor"));
    let listener_fd = listener.as_raw_fd();
    let mut worker = WorkerOptions::new(TcpListener::from(listener), stop.clone());
    worker.limits = setup.limits.clone();
    worker.deadlines = setup.deadlines;
    worker.closing = setup.closing;
    worker.drain_timeout = setup.drain_timeout;
    worker.recorder = Some(Box::new(Checker));
    if setup.logs_requests {
        worker.request_log = Some(Box::new(Checker));
    }
    let keep_alive = setup.keep_alive.then(|| {
        let responses = Responses::new(setup.response.clone()).expect("it is a response");
        let request_head_bytes = setup.request_head_bytes;
        Http11 { request_head_bytes, ..Http11::new(responses) }
    });
    let http10 = Http10 {
        request_head_bytes: setup.request_head_bytes,
        ..Http10::new(setup.response.clone())
    };
    let (options, shutdown_by_call) = (setup.options.clone(), setup.shutdown_by_call);
    let kernel = Kernel::new(choices, setup, listener_fd, stop);
    kernel.trace(format_args!("{:#?}", kernel.setup));
    kernel.install();
    let _installed = Installed;
    let report = match keep_alive {
        Some(http11) => run(variant, &options, shutdown_by_call, worker, http11),
        None => run(variant, &options, shutdown_by_call, worker, http10),
    };
    let mut kernel = Kernel::uninstall();
    kernel.check_end(&report);
    kernel.coverage
}

fn run<P: Protocol>(
    variant: Variant,
    options: &EngineOptions,
    shutdown_by_call: bool,
    worker: WorkerOptions,
    protocol: P,
) -> Report {
    let report = if variant.is_io_uring() {
        let ring = Ring::on_queues(Queues::Simulated(SimulatedRing::default()), 64);
        let ring = ring.with_shutdown_by_call(shutdown_by_call);
        let is_tuned = variant == Variant::IoUringTuned;
        IoUringBackend::on_ring(ring, is_tuned, options).run(worker, protocol)
    } else {
        open(variant, options).expect("epoll is available").run(worker, protocol)
    };
    report.expect("only the stop ends a run")
}

/// Removes the simulated kernel from the thread on drop, also after a panic.
struct Installed;

impl Drop for Installed {
    fn drop(&mut self) {
        Kernel::remove();
    }
}
