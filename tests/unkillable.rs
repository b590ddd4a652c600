//! What must not end the server, stop it from serving others, or lose an answer that could have
//! been given: limits, deadlines, overload, closing and stopping, for every variant.

mod common;

#[path = "unkillable/client.rs"]
mod client;
#[path = "unkillable/closing.rs"]
mod closing;
#[path = "unkillable/deadline_keys.rs"]
mod deadline_keys;
#[path = "unkillable/deadlines.rs"]
mod deadlines;
#[path = "unkillable/door.rs"]
mod door;
#[path = "unkillable/draining.rs"]
mod draining;
#[path = "unkillable/fairness.rs"]
mod fairness;
#[path = "unkillable/load.rs"]
mod load;
#[path = "unkillable/namespace.rs"]
mod namespace;
#[path = "unkillable/overload.rs"]
mod overload;
#[path = "unkillable/serving.rs"]
mod serving;
#[path = "unkillable/stopping.rs"]
mod stopping;
