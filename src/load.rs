//! The load generator: it puts a load on any server and tells what came back, how fast, and at
//! which cost of its own.
//!
//! # The map: read in this order
//!
//! 1. What does no I/O: `answer` (what every answer must be), `request`, `exchange` (one request
//!    and its answer), `pacing` (when each is due); `life`, `lanes` and `answers` for connections
//!    that persist.
//! 2. `sockets`: the system calls of a connection's life, and why these.
//! 3. `engine`: the loop around them; `engine/conversation`, the steps of one connection a request,
//!    and `engine/persistent`, those of connections that persist.
//! 4. `plan` → [`run`] → `outcome`: what a caller gives and gets.
//! 5. Around it, the command: `arguments`, `command`, `progress`, `table`, `json`.
//!
//! # In a program
//!
//! ```no_run
//! use ringpoll::load::{Control, Pace, Plan, Rate, Request, run};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let target = "127.0.0.1:8080".parse()?;
//! let mut plan = Plan::new(target, Request::get("/", "localhost", &[])?);
//! plan.pace = Pace::Rate(Rate::per_second(15_000.0)?);
//! let outcome = run(&plan, &Control::new())?;
//! println!("p99: {} ns", outcome.corrected.value_at_quantile(0.99));
//! # Ok(())
//! # }
//! ```

mod answer;
mod answers;
mod arguments;
mod clock;
mod command;
mod control;
mod date;
mod engine;
mod exchange;
mod failures;
mod figures;
mod head;
mod idle;
mod json;
mod kept;
mod kind;
mod lanes;
mod life;
mod outcome;
mod own_cost;
mod pacing;
mod plan;
mod probe;
mod progress;
mod remarks;
mod request;
mod run;
mod slots;
mod sockets;
mod table;
mod timer;

pub use answer::{Mismatch, Reference, Unfit};
pub use arguments::{EXIT_CODES, LoadArguments};
pub use command::load;
pub use control::Control;
pub use failures::{Failure, FailureKind, Failures};
pub use json::{SCHEMA, document, histogram_text};
pub use kept::KeptConnections;
pub use kind::LoadKind;
pub(crate) use kind::{DEFAULT_DEPTH, DEFAULT_LARGE_BYTES};
pub use life::{LONG_LIFE, Life};
pub use outcome::{EndedBy, IdleCount, Latencies, Outcome};
pub use own_cost::{OwnCost, SATURATED};
pub use pacing::{Burst, Pace, Rate};
pub use plan::{Expected, LONGEST, Plan};
pub use probe::ProbeError;
pub use request::Request;
pub use run::{LoadError, learn, raise_descriptor_limit, run, run_on};
