//! What a test needs beyond Rust: tools, and a kernel that allows the engine.

use std::env;
use std::path::PathBuf;

use ringpoll_backends::{EngineOptions, ErrorKind, Variant, open};

/// Where everything has to be tested, nothing may be skipped.
fn all_must_run() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

/// Where the tool is, or `None` if the test of that name has to be skipped, and has said so.
///
/// # Panics
/// Under `CI=true`: there a test that is skipped has failed.
pub(crate) fn tool(test: &str, tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Administrators' tools are not on everybody's path.
    let directories = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = directories.map(|directory| directory.join(tool)).find(|file| file.is_file());
    if found.is_none() {
        assert!(!all_must_run(), "{test}: {tool} is not installed");
        println!("skipped: {test}: {tool} is not installed");
    }
    found
}

/// Whether this process is root's. If not, the test of that name has to be skipped, and has said
/// so.
///
/// # Panics
/// Under `CI=true`: there a test that is skipped has failed.
pub(crate) fn root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        assert!(!all_must_run(), "{test}: needs root");
        println!("skipped: {test}: needs root");
    }
    is_root
}

/// Whether the kernel lets this process have that engine. If not, the test of that name has to be
/// skipped, and has said so.
///
/// # Panics
/// Under `CI=true`: there a test that is skipped has failed.
pub(crate) fn engine(test: &str, variant: Variant) -> bool {
    let refusal = match open(variant, &EngineOptions::default()) {
        Err(error) if error.kind == ErrorKind::BackendRefused => error,
        _ => return true,
    };
    assert!(!all_must_run(), "{test}: {variant}: {refusal}");
    println!("skipped: {test}: {variant}: {refusal}");
    false
}
