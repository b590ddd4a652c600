//! Requirements of tests beyond Rust (tools, root, a kernel that allows the engine), and the form
//! of the suites that was asked for.

use std::env;
use std::path::PathBuf;

use ringpoll_backends::{EngineOptions, ErrorKind, Variant, open};

/// Returns whether a skipped test is a failure, as it is in continuous integration.
fn skips_are_failures() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

/// Returns whether `RINGPOLL_TESTS=full` requests every case. By default some suites choose their
/// cases by coverage and repeat less, so that all tests of the workspace take minutes.
pub fn is_full() -> bool {
    env::var_os("RINGPOLL_TESTS").is_some_and(|form| form == "full")
}

/// Returns the path of `tool`. If it is not installed, reports that `test` is skipped.
///
/// # Panics
/// If the tool is missing under `CI=true`.
pub fn find_tool(test: &str, tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // The PATH of a plain user often lacks the directories of administration tools.
    let directories = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = directories.map(|directory| directory.join(tool)).find(|file| file.is_file());
    if found.is_none() {
        assert!(!skips_are_failures(), "{test}: {tool} is not installed");
        println!("skipped: {test}: {tool} is not installed");
    }
    found
}

/// Returns whether this process runs as root. If not, reports that `test` is skipped.
///
/// # Panics
/// If it does not run as root under `CI=true`.
pub fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        assert!(!skips_are_failures(), "{test}: needs root");
        println!("skipped: {test}: needs root");
    }
    is_root
}

/// Returns whether the kernel allows this engine. If not, reports that `test` is skipped.
///
/// # Panics
/// If the kernel refuses the engine under `CI=true`.
pub fn engine_is_available(test: &str, variant: Variant) -> bool {
    let refusal = match open(variant, &EngineOptions::default()) {
        Err(error) if error.kind == ErrorKind::BackendRefused => error,
        _ => return true,
    };
    assert!(!skips_are_failures(), "{test}: {variant}: {refusal:#}");
    println!("skipped: {test}: {variant}: {refusal:#}");
    false
}

/// Returns whether the kernel allows io_uring. If not, reports that `test` is skipped.
///
/// # Panics
/// If the kernel refuses io_uring under `CI=true`.
pub fn io_uring_is_available(test: &str) -> bool {
    engine_is_available(test, Variant::IoUringSingleShot)
}
