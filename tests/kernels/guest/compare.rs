//! The comparison, run in the guest.

use std::path::Path;
use std::process::Command;

use super::{RESULTS, RINGPOLL};
use crate::comparison::RESULT;
use crate::work::Results;

/// Time is made of instructions here and repeats, so few and short rounds are enough; the rate is
/// given, so that all kernels are asked the same. One load, since a table has one.
const SHORT: [&str; 12] = [
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
        .args(SHORT)
        .arg("--json")
        .arg(file)
        .status()
        .expect("it is in the image");
    results.compared = status.code();
}
