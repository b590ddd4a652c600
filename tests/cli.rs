//! The program as its users meet it: what it prints, what it refuses, how it ends.

#[path = "cli/bodies.rs"]
mod bodies;
#[path = "cli/config_file.rs"]
mod config_file;
#[path = "cli/configuration.rs"]
mod configuration;
#[path = "cli/descriptors.rs"]
mod descriptors;
#[path = "cli/printing.rs"]
mod printing;
#[path = "cli/privileges.rs"]
mod privileges;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/refusals.rs"]
mod refusals;
#[path = "cli/stopping.rs"]
mod stopping;
#[path = "cli/words.rs"]
mod words;
#[path = "cli/workers.rs"]
mod workers;
