//! `ringpoll doctor`, as those meet it who run it: what it says, in which cases, and that it is
//! true.

mod common;

#[path = "doctor/program.rs"]
mod program;
#[path = "doctor/refusals.rs"]
mod refusals;
#[path = "doctor/reports.rs"]
mod reports;
#[path = "doctor/truth.rs"]
mod truth;
