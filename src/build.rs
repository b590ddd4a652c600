//! Sets BUILT_FROM_COMMIT, the commit that results name as the program's version.

use std::process::Command;

fn main() {
    // Any of these can make the tree dirty. Commits change .git/logs/HEAD. .git/index is not
    // watched, because `git describe` writes it, which would cause a second build.
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
