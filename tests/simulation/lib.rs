//! Simulated kernel for tests: runs the engines deterministically against seeded faults.
//!
//! A history is a string of bytes. It determines the setup of the worker, the peers and their
//! reads, writes and disconnects, which calls and operations fail, the order of events and
//! completions, the passing of time, and when the stop is requested: anything that the interfaces
//! of the kernel allow. The simulated kernel checks that each call is allowed, `checker.rs` checks
//! each lifecycle event of each connection, and at the end every descriptor and operation must be
//! released, and every peer must have its response unless it gave a reason to go without.
//!
//! The engines are the real ones, with another kernel as their type parameter. The state of that
//! kernel belongs to the thread.

mod actions;
mod checker;
mod choices;
mod coverage;
mod epoll;
mod model;
mod peer;
mod queue_entries;
mod ring;
mod script;
mod setup;
mod simulated_kernel;
mod simulated_ring;
mod state;

use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use ringpoll_backends::protocols::{Chargen, Discard, Echo, Http10, Http11, Responses};
use ringpoll_backends::testing::open_on;
use ringpoll_backends::{Backend, EngineOptions, Protocol, Report, Stop, Variant, WorkerOptions};

use checker::Checker;
use choices::Choices;
pub use choices::bytes_of_seed;
pub use coverage::Coverage;
pub use queue_entries::{RawCqe, RawSqe};
use setup::{Service, Setup};
use simulated_kernel::SimulatedKernel;
use state::State;
pub use state::trace_histories;

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
    let (options, service) = (setup.options.clone(), setup.service);
    let (response, request_head_bytes) = (setup.response.clone(), setup.request_head_bytes);
    let state = State::new(choices, setup, listener_fd, stop);
    state.trace(format_args!("{:#?}", state.setup));
    state.install();
    let _installed = Installed;
    let report = match service {
        Service::Http10 => {
            let mut http = Http10::new(response);
            http.request_head_bytes = request_head_bytes;
            run(variant, &options, worker, http)
        }
        Service::Http11 => {
            let mut http = Http11::new(Responses::new(response).expect("it is a response"));
            http.request_head_bytes = request_head_bytes;
            run(variant, &options, worker, http)
        }
        Service::Echo => run(variant, &options, worker, Echo),
        Service::Discard => run(variant, &options, worker, Discard),
        Service::Chargen => run(variant, &options, worker, Chargen::default()),
    };
    let mut state = State::uninstall();
    state.check_end(&report);
    state.coverage
}

fn run<P: Protocol>(
    variant: Variant,
    options: &EngineOptions,
    worker: WorkerOptions,
    protocol: P,
) -> Report {
    let mut backend =
        open_on::<SimulatedKernel>(variant, options).expect("the simulated kernel refuses none");
    backend.run(worker, protocol).expect("only the stop ends a run")
}

/// Removes the simulated kernel from the thread on drop, also after a panic.
struct Installed;

impl Drop for Installed {
    fn drop(&mut self) {
        State::remove();
    }
}
