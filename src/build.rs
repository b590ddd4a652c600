//! Tells the program which commit it was built from, for the environment in its results.

use std::process::Command;

fn main() {
    // Whether the tree is clean can change with any of these. A commit is seen in the log: the index
    // is written anew by the very question below, and all would be built a second time.
    for path in [".git/HEAD", ".git/logs/HEAD", "src", "backends", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let description = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .unwrap_or_default();
    println!("cargo::rustc-env=BUILT_FROM_COMMIT={}", description.trim());
}
