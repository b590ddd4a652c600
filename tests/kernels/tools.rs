//! What the matrix needs of the machine.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::common;

/// Commands, and the Debian packages that they are in.
const NEEDED: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("tar", "tar"),
    ("apt-get", "apt"),
    ("apt-cache", "apt"),
    ("dpkg", "dpkg"),
    ("dpkg-deb", "dpkg"),
];

/// Whether everything is there. If not, the test of that name is skipped, and has said so.
///
/// # Panics
/// Under `CI=true`: there a test that is skipped has failed.
pub(crate) fn are_there(test: &str) -> bool {
    if !cfg!(target_arch = "x86_64") {
        skip(test, "the guests are x86-64 machines, and their programs are built on one");
        return false;
    }
    let missing = NEEDED.iter().find(|(command, _)| common::tool(test, command).is_none());
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

/// Says that the test of that name is skipped, and why.
///
/// # Panics
/// Under `CI=true`: there a test that is skipped has failed.
pub(crate) fn skip(test: &str, why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: {why}");
    println!("skipped: {test}: {why}");
}

pub(crate) fn busybox() -> PathBuf {
    common::tool("kernels", "busybox").expect("it was there")
}

/// Whether a program needs no interpreter, which is what a kernel alone can run (elf(5)).
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

/// Runs a command to its end; what it wrote, or what went wrong.
pub(crate) fn run(command: &mut Command) -> Result<Output, String> {
    let what = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{what}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let arguments: Vec<_> = command.get_args().map(|it| it.to_string_lossy()).collect();
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{what} {}: {}: {}", arguments.join(" "), output.status, said.trim()))
}
