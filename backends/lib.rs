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
//! 6. `server.rs`: what is the same for all and does no I/O either.
//! 7. The parts: `token`, `slots`, `request_head`, `deadlines`, `counters`, `socket`, `stop`,
//!    `kernel`, `error`; `epoll/syscalls.rs`; `io_uring/ring.rs`, `recv_slab.rs`, `drain.rs`.
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
mod counters;
mod deadlines;
mod error;
pub mod kernel;
mod lifecycle;
mod request_copies;
pub mod request_head;
mod server;
pub mod slots;
mod socket;
mod stop;
pub mod token;

/// The two engines of the documents.
mod epoll {
    mod edge;
    mod level;
    mod syscalls;

    use crate::backend::{Backend, EngineOptions, Report, Worker};
    use crate::error::BackendError;

    /// What epoll reports: a state, for as long as it lasts, or a change, once.
    #[derive(Clone, Copy)]
    pub(crate) enum Trigger {
        Level,
        Edge,
    }

    pub(crate) struct EpollBackend {
        trigger: Trigger,
        options: EngineOptions,
    }

    impl EpollBackend {
        pub(crate) fn new(trigger: Trigger, options: &EngineOptions) -> Self {
            Self { trigger, options: options.clone() }
        }
    }

    impl Backend for EpollBackend {
        fn name(&self) -> &'static str {
            match self.trigger {
                Trigger::Level => "epoll, level triggered",
                Trigger::Edge => "epoll, edge triggered",
            }
        }

        fn run(&mut self, worker: Worker) -> Result<Report, BackendError> {
            worker.check()?;
            match self.trigger {
                Trigger::Level => level::Level::new(worker, &self.options)?.run(),
                Trigger::Edge => edge::Edge::new(worker, &self.options)?.run(),
            }
        }
    }
}

/// The same life on io_uring.
mod io_uring {
    mod drain;
    mod recv_slab;
    pub(crate) mod ring;
    mod single_shot;

    use crate::backend::{Backend, EngineOptions, Report, Worker};
    use crate::error::BackendError;
    use ring::Ring;

    pub(crate) struct IoUringBackend {
        options: EngineOptions,
        /// Made when the backend is opened, so that a refusal comes before anything else; taken
        /// by the first run.
        ring: Option<Ring>,
    }

    impl IoUringBackend {
        pub(crate) fn new(options: &EngineOptions) -> Result<Self, BackendError> {
            Ok(Self { options: options.clone(), ring: Some(Ring::new(options)?) })
        }
    }

    impl Backend for IoUringBackend {
        fn name(&self) -> &'static str {
            "io_uring, single shot"
        }

        fn run(&mut self, worker: Worker) -> Result<Report, BackendError> {
            worker.check()?;
            let ring = match self.ring.take() {
                Some(ring) => ring,
                None => Ring::new(&self.options)?,
            };
            single_shot::SingleShot::new(worker, ring)?.run()
        }
    }
}

pub use backend::{
    Backend, Closing, EngineOptions, Limits, Recorder, Report, RequestLog, Step, Variant, Worker,
    open,
};
pub use counters::{BatchSizes, Counters, SystemCall, SystemCalls};
pub use deadlines::DeadlineLengths;
pub use error::{BackendError, ErrorKind};
pub use socket::{ListenOptions, Listener};
pub use stop::Stop;
