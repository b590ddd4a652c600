//! The same small server on two engines, epoll and io_uring, written side by side.
//!
//! # The map: read in this order
//!
//! 1. `lifecycle.rs`: the ten steps, five asks and five answers. Verbs *ask*, participles are
//!    *answers*.
//! 2. `connection.rs`: the life itself, a state machine that does no I/O.
//! 3. `epoll/level.rs`: with epoll, the work is done in the *answer*.
//! 4. `epoll/edge.rs` beside it: what triggering changes.
//! 5. `io_uring/single_shot.rs` beside it: with io_uring, the work moves into the *ask*.
//! 6. `server.rs`: what is the same for all; `server/time.rs`: its deadlines, and the stop.
//!    `server/persistent.rs` beside it, with `conversation.rs`, `replies.rs` and `http/`: the same
//!    life for as many requests as the peer likes, where [`Worker::keep_alive`] asks for it.
//! 7. `epoll/tuned.rs` and `io_uring/tuned.rs`: the same ten steps once more, as fast as each
//!    interface can take them; `io_uring/techniques/` has a file for each thing that io_uring
//!    offers, with what it replaces and what it gains.
//! 8. The parts: `token`, `slots`, `request_head`, `deadlines`, `counters`, `socket`, `stop`,
//!    `kernel`, `error`, `unsent`; `epoll/syscalls.rs`; `io_uring/ring.rs`, `recv_slab.rs`,
//!    `drain.rs`.
//! 9. [`capabilities`]: what the io_uring of this kernel can do, found by doing it.
//!
//! # A server in a few lines
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
//!     let variant: Variant = "epoll:level".parse()?; // or "epoll:edge", "io_uring:single_shot"
//!     let mut backend = open(variant, &EngineOptions::default())?; // on the thread that runs it
//!     backend.run(worker)
//! });
//!
//! let mut client = TcpStream::connect(address)?;
//! client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.ends_with("hello"));
//!
//! stop.request();
//! assert_eq!(server.join().unwrap()?.counters.requests, 1);
//! # Ok(())
//! # }
//! ```

mod backend;
pub mod connection;
mod conversation;
mod counters;
mod deadlines;
mod epoll;
mod error;
pub mod http;
mod io_uring;
pub mod kernel;
mod lifecycle;
#[cfg(test)]
mod own_process;
mod replies;
mod request_copies;
pub mod request_head;
mod server;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod slots;
mod socket;
mod stop;
pub mod token;
mod unsent;

pub use backend::{
    Backend, Closing, EngineOptions, KeepAlive, Limits, Recorder, Report, RequestLog, ShutdownBy,
    Step, Variant, Worker, open,
};
pub use connection::Next;
pub use counters::{BatchSizes, Counters, SystemCall, SystemCalls};
pub use deadlines::DeadlineLengths;
pub use error::{BackendError, ErrorKind};
pub use io_uring::{Techniques, capabilities};
pub use replies::Replies;
pub use slots::ConnectionId;
pub use socket::{ListenOptions, Listener};
pub use stop::Stop;
