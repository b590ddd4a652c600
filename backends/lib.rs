//! A small HTTP server for Linux on two kernel interfaces, epoll(7) and io_uring(7).
//!
//! Every [`Variant`] has the same connection lifecycle, limits and deadlines, and its engine is
//! written to be read next to the others. A worker is one thread with one listener: it accepts,
//! receives a request, sends a fixed response, and closes or keeps the connection alive.
//!
//! ```
//! use ringpoll_backends::{EngineOptions, Stop, Variant, Worker, open};
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let stop = Stop::new()?;
//! let worker = Worker::new(listener, stop.clone(), *b"HTTP/1.0 200 OK\r\n\r\nhello");
//!
//! let server = std::thread::spawn(move || {
//!     // Or `"io_uring:tuned".parse()?`. A ring belongs to the thread that opens it.
//!     let mut backend = open(Variant::EpollLevel, &EngineOptions::default())?;
//!     backend.run(worker)
//! });
//!
//! let mut client = TcpStream::connect(address)?;
//! client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
//! let mut response = String::new();
//! client.read_to_string(&mut response)?;
//! assert!(response.ends_with("hello"));
//!
//! stop.request();
//! assert_eq!(server.join().unwrap()?.counters.requests, 1);
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
//! 1. `lifecycle.rs`: the ten functions of every engine, five `start_*` and five `on_*`.
//! 2. `connection.rs`: the states of a connection, without I/O; `request_head.rs`: finds the end of
//!    a request head.
//! 3. `epoll/level.rs`: the system call is made in `on_*`. `epoll/edge.rs`: edge-triggered.
//!    `epoll/syscalls.rs`: the counted system calls.
//! 4. `io_uring/single_shot.rs`: the operation is submitted in `start_*`.
//! 5. `server.rs`: the part that all engines share; `server/time.rs`: deadlines and the stop;
//!    `server/keep_alive.rs`, `http11.rs`, `responses.rs`, `http/`: keep-alive connections.
//! 6. `epoll/tuned.rs`, `io_uring/tuned.rs`, `io_uring/tuned/`: the ten functions with fewer system
//!    calls. `io_uring/techniques/`: one file for each io_uring feature they use.
//! 7. `io_uring/ring.rs`: the ring; `io_uring/completion.rs`: CQE results;
//!    `io_uring/recv_slab.rs`, `io_uring/guarded_buffers.rs`: receive buffers that the kernel owns
//!    while a RECV is in flight; `io_uring/restriction.rs`: restricts the ring's operations;
//!    `io_uring/teardown.rs`: cancels and reaps what is in flight.
//! 8. `backend.rs`: options, [`Worker`], [`open`]; `counters.rs`, `deadlines.rs`, `error.rs`,
//!    `kernel.rs`: reasons why io_uring is refused; `pending_output.rs`, `request_copies.rs`,
//!    `slab.rs`, `socket.rs`, `stop.rs`, `token.rs`.
//! 9. `io_uring/capabilities.rs`, `io_uring/capabilities/`: the probes of [`capabilities`].
//! 10. Tests: `simulation.rs`, `simulation/`: a simulated kernel; `io_uring/faults.rs`,
//!     `io_uring/faults/`: faults injected into a real ring; `test_process.rs`: a process for one
//!     test.

#[cfg(not(target_os = "linux"))]
compile_error!("ringpoll-backends supports Linux only: epoll and io_uring are Linux interfaces");

mod backend;
#[doc(hidden)] // For the fuzz targets.
pub mod connection;
mod counters;
mod deadlines;
mod epoll;
mod error;
mod http;
mod http11;
mod io_uring;
pub mod kernel;
mod lifecycle;
mod pending_output;
mod request_copies;
#[doc(hidden)] // For the fuzz targets.
pub mod request_head;
mod responses;
mod server;
#[doc(hidden)] // For the fuzz targets.
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod slab;
mod socket;
mod stop;
#[cfg(test)]
mod test_process;
mod token;

pub use backend::{
    Backend, Closing, EngineOptions, KeepAlive, LifecycleEvent, Limits, ParseVariantError,
    Recorder, Report, RequestLog, ShutdownBy, Variant, Worker, open,
};
pub use connection::Next;
pub use counters::{BatchSizes, Counters, SystemCall, SystemCalls};
pub use deadlines::DeadlineLengths;
pub use error::{BackendError, ErrorKind};
pub use io_uring::{Techniques, capabilities};
pub use responses::Responses;
pub use slab::ConnectionId;
pub use socket::{ListenOptions, Listener};
pub use stop::Stop;
