//! The load generator against the engines of this project and against misbehaving servers.

mod backends;
mod command;
mod misbehaving;
mod open_loop;
mod peer;
mod persistent;
mod ports;
mod shapes;
