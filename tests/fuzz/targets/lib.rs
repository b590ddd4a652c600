//! What is fuzzed: three functions, each of which takes any bytes and panics if something is
//! wrong. `fuzz_targets/` hands them to libFuzzer, `bounded.rs` to a fixed number of inputs.

mod config;
mod histories;
mod request_head;

pub use config::config;
pub use histories::histories;
pub use request_head::request_head;
