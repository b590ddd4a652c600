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
//! The rest of this page goes on from there. [`examples/`] has whole programs: this echo server, a
//! line protocol, an HTTP server with routes, and a key-value server for redis-cli.
//!
//! [`examples/`]: https://docs.rs/crate/ringpoll-backends/latest/source/examples/
//!
//! # State, split messages and deadlines
//!
//! TCP has no messages: a piece may end anywhere. [`Protocol::Connection`] keeps what is
//! incomplete, with a limit, since a peer need never complete it. [`Protocol::awaits`] says which
//! deadline holds: here `request_head` within a line, which further bytes do not restart, and
//! `keep_alive` between lines ([`DeadlineLengths`]). A protocol does no I/O, so a test needs none.
//!
//! ```
//! use ringpoll_backends::{Awaits, Next, Output, Protocol};
//!
//! /// Sends each line back.
//! struct Lines;
//!
//! impl Protocol for Lines {
//!     /// The start of a line whose end has not arrived.
//!     type Connection = Vec<u8>;
//!
//!     fn on_open(&mut self, _output: &mut Output) -> Vec<u8> {
//!         Vec::new()
//!     }
//!
//!     fn on_recv(&mut self, line: &mut Vec<u8>, bytes: &[u8], output: &mut Output) -> Next {
//!         for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
//!             line.extend_from_slice(piece);
//!             if line.len() > 1000 {
//!                 output.push_static(b"too long\n");
//!                 return Next::Shutdown;
//!             }
//!             if piece.ends_with(b"\n") {
//!                 output.count_request();
//!                 output.push_copy(line);
//!                 output.end_message();
//!                 line.clear();
//!             }
//!         }
//!         Next::Recv
//!     }
//!
//!     fn awaits(&self, line: &Vec<u8>) -> Awaits {
//!         if line.is_empty() { Awaits::NextMessage } else { Awaits::Head }
//!     }
//! }
//!
//! let mut output = Output::default();
//! let mut line = Lines.on_open(&mut output);
//! assert_eq!(Lines.on_recv(&mut line, b"one\ntw", &mut output), Next::Recv);
//! assert_eq!(Lines.awaits(&line), Awaits::Head);
//! assert_eq!(Lines.on_recv(&mut line, b"o\n", &mut output), Next::Recv);
//! assert_eq!(output.to_vec(), b"one\ntwo\n");
//! assert_eq!(Lines.on_recv(&mut line, &[b'a'; 1001], &mut output), Next::Shutdown);
//! ```
//!
//! # Counters
//!
//! [`Output::count_request`] and [`Output::end_message`] feed `requests` and `responses` of the
//! [`Counters`] in the [`Report`] that [`Backend::run`] returns. A response counts once the kernel
//! has accepted its last byte. Bytes, connections, errors and deadlines are counted without them.
//!
//! # Output and backpressure
//!
//! [`Output::push_copy`] copies; [`Output::push_shared`] and [`Output::push_static`] do not: the
//! kernel reads the bytes where they are, until the send completes. Copies in a row are one send,
//! and a shared segment is a send of its own, so copy what is small.
//!
//! Pending output is sent before anything else is received, so a peer that does not read is not
//! read from. Bytes that had already arrived are still passed on: a protocol that must bound its
//! output keeps them and handles them in [`Protocol::on_sent`], as the key-value server does.
//! Output that has no end is appended there as well:
//!
//! ```
//! use ringpoll_backends::{Next, Output, Protocol};
//! use std::sync::Arc;
//!
//! /// Sends the data a number of times, and ends the stream.
//! struct Download {
//!     data: Arc<[u8]>,
//!     times: u32,
//! }
//!
//! impl Protocol for Download {
//!     /// The number of times that are left.
//!     type Connection = u32;
//!
//!     fn on_open(&mut self, output: &mut Output) -> u32 {
//!         output.push_shared(&self.data, 0..self.data.len());
//!         self.times - 1
//!     }
//!
//!     fn on_recv(&mut self, _: &mut u32, _bytes: &[u8], _output: &mut Output) -> Next {
//!         Next::Recv
//!     }
//!
//!     fn on_sent(&mut self, left: &mut u32, output: &mut Output) -> Next {
//!         if *left == 0 {
//!             return Next::Shutdown;
//!         }
//!         *left -= 1;
//!         output.push_shared(&self.data, 0..self.data.len());
//!         Next::Send
//!     }
//! }
//!
//! let mut download = Download { data: b"data".as_slice().into(), times: 1 };
//! let mut output = Output::default();
//! let mut left = download.on_open(&mut output);
//! assert_eq!(output.to_vec(), b"data");
//! assert_eq!(download.on_sent(&mut left, &mut output), Next::Shutdown);
//! ```
//!
//! # The end of a stream
//!
//! [`Next::Shutdown`] sends the pending output and then the end of the stream; [`Next::Close`]
//! discards the output. If the peer may still be sending, choose [`Closing::Lingering`]: a close
//! with unread bytes sends a reset, which can destroy the last response. After the peer has ended
//! its stream, [`Protocol::on_end_of_stream`] may append what is left; the peer can still read it.
//! [`Protocol::on_stop`] announces that the worker stops.
//!
//! # The choice of the engine, and several workers
//!
//! A backend is used or refused, so a fallback is the caller's decision. Each thread has a
//! listener of its own, with `SO_REUSEPORT`, and its own backend and protocol; the kernel
//! distributes the connections.
//!
//! ```
//! use ringpoll_backends::protocols::Echo;
//! use ringpoll_backends::{
//!     Backend, BackendError, EngineOptions, ErrorKind, ListenOptions, Listener, Report, Stop,
//!     Variant, WorkerOptions, open,
//! };
//! use std::thread;
//!
//! fn work(options: &ListenOptions, stop: Stop) -> Result<Report, BackendError> {
//!     let engine = EngineOptions::default();
//!     let mut backend = match open(Variant::IoUringTuned, &engine) {
//!         Err(error) if error.kind == ErrorKind::BackendRefused => {
//!             eprintln!("{error:#}");
//!             open(Variant::EpollTuned, &engine)?
//!         }
//!         opened => opened?,
//!     };
//!     backend.run(WorkerOptions::new(Listener::bind(options)?, stop), Echo)
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
//! // The address names its port: with port 0 each worker would get another one.
//! let options = ListenOptions { reuse_port: true, ..ListenOptions::new(address) };
//! let stop = Stop::new()?;
//! let workers = [(); 2].map(|()| {
//!     let (options, stop) = (options.clone(), stop.clone());
//!     thread::spawn(move || work(&options, stop))
//! });
//! stop.request();
//! for worker in workers {
//!     worker.join().expect("a worker does not panic")?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`capabilities`] probes the operations and flags of this kernel's io_uring that a network server
//! can use.
//!
//! # Map of the files, in reading order
//!
//! 1. `protocol.rs`, `output.rs`: the seam to a protocol. `protocols/`: those that ship.
//! 2. `lifecycle.rs`: the ten functions of every engine, five `start_*` and five `on_*`.
//! 3. `epoll/level.rs`: the system call is made in `on_*`. `epoll/edge.rs`: edge-triggered.
//!    `epoll/syscalls.rs`: the counted system calls.
//! 4. `io_uring/single_shot.rs`: the operation is submitted in `start_*`.
//! 5. `worker/mod.rs`: the part that all engines and protocols share. `worker/connection.rs`: the
//!    states of a connection; `worker/accepting.rs`: accept control; `worker/deadlines.rs`: the
//!    connections that have expired; `worker/drain.rs`: the stop; `worker/observers.rs`,
//!    `worker/options.rs`.
//! 6. `epoll/tuned.rs`, `io_uring/tuned.rs`, `io_uring/tuned/`: the ten functions with fewer system
//!    calls. `io_uring/techniques/`: one file for each io_uring feature they use.
//! 7. `io_uring/ring.rs`: the ring; `completion.rs`: CQE results; `io_uring/recv_slab.rs`:
//!    receive buffers that the kernel owns while a RECV is in flight; `io_uring/restriction.rs`:
//!    restricts the ring's operations; `io_uring/teardown.rs`: cancels and reaps what is in flight.
//! 8. `kernel.rs`: the kernel as a type parameter of the engines, which the packages of the
//!    simulated kernel and of injected faults replace.
//!    `real_kernel.rs`: the one that ships.
//! 9. `open.rs`: the engines by name, [`open`]; `backend.rs`: their trait; `engine_options.rs`,
//!    `techniques.rs`: their options; `counters.rs`, `deadlines.rs`, `error.rs`,
//!    `pending_output.rs`, `refusal.rs`: reasons why io_uring is refused; `request_copies.rs`,
//!    `slab.rs`, `socket.rs`, `stop.rs`, `token.rs`.
//! 10. `capabilities.rs`, `capabilities/`: the probes of [`capabilities`], which use no engine.
//! 11. `examples/echo.rs`, `examples/line_protocol.rs`, `examples/http.rs`, `examples/resp.rs`:
//!     whole servers.

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
    pub use crate::kernel::{Kernel, KernelRing, RingSetup, SubmissionStatus};
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
