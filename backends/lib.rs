//! One small server for Linux on two kernel interfaces, epoll(7) and io_uring(7), for a
//! [`Protocol`] of your own or one of those that ship ([`protocols`]).
//!
//! A protocol gets received bytes and appends output; it does no I/O. Every [`Variant`] serves it
//! with the same connection lifecycle, limits and deadlines, and its engine is written to be read
//! next to the others. This is an echo server:
//!
//! ```
//! use ringpoll_backends::{
//!     Backend, EngineOptions, Next, Output, Protocol, Stop, Variant, WorkerOptions, open,
//! };
//! use std::io::{Read, Write};
//! use std::net::{Shutdown, TcpListener, TcpStream};
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     /// The state of one connection: none.
//!     type Connection = ();
//!
//!     fn on_open(&mut self, _output: &mut Output) {}
//!
//!     fn on_recv(&mut self, _: &mut (), bytes: &[u8], output: &mut Output) -> Next {
//!         output.push_copy(bytes);
//!         Next::Recv
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let stop = Stop::new()?;
//! let worker = WorkerOptions::new(listener, stop.clone());
//!
//! let server = std::thread::spawn(move || {
//!     // Or `"io_uring:tuned".parse()?`. A ring belongs to the thread that opens it.
//!     let mut backend = open(Variant::EpollLevel, &EngineOptions::default())?;
//!     backend.run(worker, Echo)
//! });
//!
//! let mut client = TcpStream::connect(address)?;
//! client.write_all(b"hello")?;
//! client.shutdown(Shutdown::Write)?;
//! let mut received = String::new();
//! client.read_to_string(&mut received)?;
//! assert_eq!(received, "hello");
//!
//! stop.request();
//! assert_eq!(server.join().unwrap()?.counters.accepted, 1);
//! # Ok(())
//! # }
//! ```
//!
//! Where io_uring is unavailable, [`open`] returns an error of [`ErrorKind::BackendRefused`] with
//! the cause and a remedy; the caller decides whether to use epoll. [`capabilities`] probes the
//! operations and flags of this kernel's io_uring that a network server can use.
//!
//! # Map of the files, in reading order
//!
//! 1. `protocol.rs`, `output.rs`: the seam to a protocol. `protocols/`: those that ship.
//! 2. `lifecycle.rs`: the ten functions of every engine, five `start_*` and five `on_*`.
//! 3. `epoll/level.rs`: the system call is made in `on_*`. `epoll/edge.rs`: edge-triggered.
//!    `epoll/syscalls.rs`: the counted system calls.
//! 4. `io_uring/single_shot.rs`: the operation is submitted in `start_*`.
//! 5. `worker/mod.rs`: the part that all engines and protocols share. `worker/connection.rs`: the
//!    states of a connection; `worker/accepting.rs`: accept control; `worker/drain.rs`: the stop;
//!    `worker/observers.rs`, `worker/options.rs`.
//! 6. `epoll/tuned.rs`, `io_uring/tuned.rs`, `io_uring/tuned/`: the ten functions with fewer system
//!    calls. `io_uring/techniques/`: one file for each io_uring feature they use;
//!    `io_uring/techniques/experimental/`: those that do not pay.
//! 7. `io_uring/ring.rs`: the ring; `completion.rs`: CQE results;
//!    `io_uring/descriptor.rs`: descriptors in SQEs; `io_uring/recv_slab.rs`,
//!    `io_uring/guarded_buffers.rs`: receive buffers that the kernel owns while a RECV is in
//!    flight; `io_uring/restriction.rs`: restricts the ring's operations;
//!    `io_uring/teardown.rs`: cancels and reaps what is in flight.
//! 8. `kernel.rs`: the kernel as a type parameter of the engines, which the packages of the
//!    simulated kernel and of injected faults replace.
//!    `real_kernel.rs`: the one that ships.
//! 9. `open.rs`: the engines by name, [`open`]; `backend.rs`: their trait; `engine_options.rs`,
//!    `techniques.rs`: their options; `counters.rs`, `deadlines.rs`, `error.rs`,
//!    `pending_output.rs`, `refusal.rs`: reasons why io_uring is refused; `request_copies.rs`,
//!    `slab.rs`, `socket.rs`, `stop.rs`, `token.rs`.
//! 10. `capabilities.rs`, `capabilities/`: the probes of [`capabilities`], which use no engine.
//! 11. `examples/echo.rs`, `examples/line_protocol.rs`, `examples/resp.rs`: whole servers.

#[cfg(not(target_os = "linux"))]
compile_error!("ringpoll-backends supports Linux only: epoll and io_uring are Linux interfaces");

mod backend;
pub mod capabilities;
mod completion;
mod counters;
mod deadlines;
mod engine_options;
mod epoll;
mod error;
mod io_uring;
mod kernel;
mod lifecycle;
mod open;
mod output;
mod pending_output;
mod protocol;
pub mod protocols;
mod real_kernel;
pub mod refusal;
mod request_copies;
mod slab;
mod socket;
mod stop;
mod techniques;
mod token;
mod worker;

/// The parts of the engines that the test packages need, to run them on other kernels.
#[doc(hidden)]
pub mod testing {
    pub use crate::kernel::{GeteventsArg, Kernel, KernelRing, RingSetup, SubmissionStatus};
    pub use crate::open::open_on;
    pub use crate::real_kernel::RealKernel;
    pub use crate::token::{Operation, Token};
}

pub use backend::Backend;
pub use counters::{BatchSizes, Counters, SystemCall, SystemCalls};
pub use deadlines::DeadlineLengths;
pub use engine_options::{EngineOptions, ShutdownBy};
pub use error::{BackendError, ErrorKind};
pub use open::{AnyBackend, ParseVariantError, Variant, open};
pub use output::Output;
pub use protocol::{Awaits, Next, Protocol};
pub use slab::ConnectionId;
pub use socket::{ListenOptions, Listener};
pub use stop::Stop;
pub use techniques::{Technique, TechniqueValues, Techniques};
pub use worker::{Closing, LifecycleEvent, Limits, Recorder, Report, RequestLog, WorkerOptions};
