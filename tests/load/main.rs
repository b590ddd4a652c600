//! The load generator against the engines of this project, echo servers and misbehaving servers.

mod backends;
mod command;
mod messages;
mod misbehaving;
mod open_loop;
mod peer;
mod persistent;
mod ports;
mod requests;
mod responses;
mod shapes;
mod streams;
