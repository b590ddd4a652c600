//! `ringpoll compare`, as those meet it who run it.

mod common;

#[path = "compare/accounts.rs"]
mod accounts;
#[path = "compare/figures.rs"]
mod figures;
#[path = "compare/gates.rs"]
mod gates;
#[path = "compare/interrupts.rs"]
mod interrupts;
#[path = "compare/ladder.rs"]
mod ladder;
#[path = "compare/loads.rs"]
mod loads;
#[path = "compare/peer.rs"]
mod peer;
#[path = "compare/program.rs"]
mod program;
#[path = "compare/results.rs"]
mod results;
#[path = "compare/surroundings.rs"]
mod surroundings;
