//! The tools that this suite needs on the host.

use std::path::PathBuf;
use std::process::{Command, Output};

/// Commands and their Debian packages.
const REQUIRED_TOOLS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("tar", "tar"),
    ("apt-get", "apt"),
    ("apt-cache", "apt"),
    ("dpkg", "dpkg"),
    ("dpkg-deb", "dpkg"),
];

/// Returns true if all tools are installed. If not, reports that `test` is skipped.
///
/// # Panics
/// If a tool is missing under `CI=true`.
pub(crate) fn are_available(test: &str) -> bool {
    if !cfg!(target_arch = "x86_64") {
        skip(test, "it needs an x86-64 host");
        return false;
    }
    let missing =
        REQUIRED_TOOLS.iter().find(|(command, _)| common::find_tool(test, command).is_none());
    if let Some((_, package)) = missing {
        println!("  (Debian: apt install {package})");
        return false;
    }
    if is_static(&busybox()) {
        return true;
    }
    skip(test, "busybox is not linked statically (Debian: apt install busybox-static)");
    false
}

/// Reports that `test` is skipped.
///
/// # Panics
/// Under `CI=true`.
pub(crate) fn skip(test: &str, reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: {reason}");
    println!("skipped: {test}: {reason}");
}

pub(crate) fn busybox() -> PathBuf {
    common::find_tool("kernels", "busybox").expect("it was there")
}

/// Returns true if a program has no interpreter segment (elf(5)).
fn is_static(program: &std::path::Path) -> bool {
    const INTERPRETER: u32 = 3;
    let Ok(bytes) = std::fs::read(program) else { return false };
    let number = |at: usize, length: usize| -> Option<u64> {
        let mut all = [0; 8];
        all[..length].copy_from_slice(bytes.get(at..at + length)?);
        Some(u64::from_le_bytes(all))
    };
    let headers = || Some((number(32, 8)? as usize, number(54, 2)? as usize, number(56, 2)?));
    let Some((start, size, count)) = headers() else { return false };
    (0..count as usize).all(|index| number(start + index * size, 4) != Some(INTERPRETER.into()))
}

/// Runs a command and returns its output.
pub(crate) fn run(command: &mut Command) -> Result<Output, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let arguments: Vec<_> = command.get_args().map(|it| it.to_string_lossy()).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}: {}", arguments.join(" "), output.status, errors.trim()))
}
