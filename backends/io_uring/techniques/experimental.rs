//! Techniques that no measurement on any load or kernel shows to pay. They are off by default.
//!
//! `tuned/experimental.rs` has the part of the engine in them, apart from its main path.

pub(crate) mod bundles;
pub(crate) mod direct_descriptors;
