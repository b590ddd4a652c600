//! The statistics of a comparison. Tests check them against reference implementations.
//!
//! - [`paired`]: the ratio of paired rounds and its confidence interval.
//! - [`interim_analyses`]: alpha spending, for experiments that may stop early.
//! - [`distributions`]: the normal and Student's t distributions.
//! - [`robust`]: the same for latency percentiles.
//! - [`random`]: the seeded random number generator.

pub mod distributions;
pub mod interim_analyses;
pub mod paired;
pub mod random;
pub mod robust;
