//! Runs `ringpoll compare` in a guest.

use std::path::Path;
use std::process::Command;

use super::{RESULTS, RINGPOLL};
use crate::comparison::RESULT;
use crate::work::Results;

/// Few and short rounds suffice, since counted instructions repeat. A fixed rate gives all kernels
/// the same load.
const SHORT_RUN: [&str; 12] = [
    "--load",
    "churn",
    "--blocks",
    "6",
    "--round",
    "100ms",
    "--warm-up",
    "25ms",
    "--budget",
    "600s",
    "--rate",
    "2000",
];

pub(super) fn run(arms: &[String], results: &mut Results) {
    println!("comparison of {}", arms.join(", "));
    let file = Path::new(RESULTS).join(RESULT);
    let status = Command::new(RINGPOLL)
        .arg("compare")
        .args(arms)
        .args(SHORT_RUN)
        .arg("--json")
        .arg(file)
        .status()
        .expect("it is in the initramfs");
    results.compared = status.code();
}
