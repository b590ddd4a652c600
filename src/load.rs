//! The load generator: sends requests to any HTTP server, or messages to an echo, discard or
//! chargen server, verifies every response, and measures latency, throughput and the CPU time that
//! the client itself uses.
//!
//! # Reading order
//!
//! 1. Logic without I/O: `framing` (the end of a response), `received` (a whole response),
//!    `verify` (what is checked), `response` (the reference), `response_stream` (the comparison
//!    with it), `request`, `request_list`, `random`, `message` (the bytes of messages), `payload`
//!    (either), `exchange` (one request and its response), `pacing` (open and closed loop); for
//!    persistent connections `lifetime` and `persistent`.
//! 2. `sockets`: the system calls of a connection, and the reasons for them.
//! 3. `event_loop`: one thread with one epoll instance. `event_loop/one_request` handles
//!    connections that carry one request, `event_loop/persistent` persistent connections.
//! 4. `plan` → `run` → `outcome`: input and result of a run; `response_summary` of a list;
//!    `intervals`: its latencies over time.
//! 5. The command: `arguments` and `request_arguments`, `command`, `progress`, `table`, `json`,
//!    `hdr_log`.
//!
//! # Example
//!
//! ```no_run
//! use ringpoll::load::{Control, Pace, Plan, Rate, Request, run};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let target = "127.0.0.1:8080".parse()?;
//! let mut plan = Plan::new(target, Request::get("/", "localhost", &[])?);
//! plan.pace = Pace::OpenLoop(Rate::per_second(15_000.0)?);
//! let outcome = run(&plan, &Control::new())?;
//! println!("p99: {} ns", outcome.corrected.value_at_quantile(0.99));
//! # Ok(())
//! # }
//! ```

mod arguments;
mod client_cpu;
mod clock;
mod command;
mod control;
mod event_loop;
mod exchange;
mod failures;
mod framing;
mod hdr_log;
mod idle;
mod intervals;
mod json;
mod kind;
mod lifetime;
mod message;
mod message_text;
mod outcome;
mod pacing;
mod payload;
mod persistent;
mod plan;
mod pool;
mod probe;
mod progress;
mod random;
mod received;
mod request;
mod request_arguments;
mod request_list;
mod response;
mod response_stream;
mod response_summary;
mod run;
mod slots;
mod sockets;
mod table;
mod timer;
mod units;
mod verify;
mod warnings;

pub use arguments::{EXIT_CODES, LoadArguments};
pub use client_cpu::{ClientCpu, SATURATION_THRESHOLD};
pub use command::load;
pub use control::{Control, Snapshot};
pub use failures::{FailureCounts, FailureKind, RequestFailure};
pub use framing::{Framing, Malformed};
pub use hdr_log::HdrLog;
pub use intervals::Intervals;
pub use json::{SCHEMA, document, histogram_text};
pub use kind::LoadKind;
pub use lifetime::{LONG_LIFETIME_REQUESTS, Lifetime};
pub use message::{Direction, MAX_MESSAGE_BYTES};
pub use message_text::MessageText;
pub use outcome::{ContinueCounts, EndedBy, IdleCount, Latencies, Outcome};
pub use pacing::{Burst, Pace, Rate};
pub use plan::{CloseBy, Expected, MAX_DURATION, Plan};
pub use pool::ConnectionPool;
pub use probe::ProbeError;
pub use request::{Request, RequestParts};
pub use request_arguments::{RequestArguments, RequestTemplate, without_secrets};
pub use request_list::{MAX_LIST_LINES, RequestList};
pub use response::{Closer, Fault, Mismatch, Reference};
pub use response_summary::{ResponseSummary, counts_text, range_text};
pub use run::{
    LoadError, fetch_references, probe_with_message, raise_descriptor_limit, run, run_with_pool,
};
pub use verify::{BodyCheck, Checks, Verify};
pub use warnings::not_successful;
