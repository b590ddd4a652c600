//! `ringpoll compare` as a program.

mod arms;
mod cpu_accounting;
mod error_rates;
mod failures;
mod gates;
mod interrupts;
mod ladder;
mod loads;
mod program;
mod results;
mod test_server;
