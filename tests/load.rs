//! The load generator, against our own engines, and against servers that do not behave.

#[path = "load/backends.rs"]
mod backends;
#[path = "load/command.rs"]
mod command;
#[path = "common/mod.rs"]
mod common;
#[path = "load/misbehaving.rs"]
mod misbehaving;
#[path = "unkillable/namespace.rs"]
#[allow(dead_code, reason = "nothing is filtered here")]
mod namespace;
#[path = "load/open_loop.rs"]
mod open_loop;
#[path = "load/peer.rs"]
mod peer;
#[path = "load/persistent.rs"]
mod persistent;
#[path = "load/ports.rs"]
mod ports;
#[path = "load/shapes.rs"]
mod shapes;
