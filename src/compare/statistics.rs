//! The statistics of a comparison: small, seeded, and held to references by their tests.
//!
//! - [`paired`]: from paired rounds to a ratio with an interval.
//! - [`looks`]: how sure an interval must be when one looks at the data more than once.
//! - [`distributions`]: the normal and Student's t distributions.
//! - [`random`]: the one source of chance.

pub mod distributions;
pub mod looks;
pub mod paired;
pub mod random;
