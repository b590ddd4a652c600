//! Fuzz targets: functions that take any bytes and panic if a property does not hold.
//! `fuzz_targets/` runs them with libFuzzer, `bounded.rs` on a fixed number of inputs.

mod config;
mod histories;
mod request_head;

pub use config::config;
pub use histories::histories;
pub use request_head::request_head;
