//! Runs the program.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use ringpoll::report::result::ComparisonResult;
use tempfile::TempDir;

use crate::fixture;

/// A directory with results in it, each under its name.
pub(crate) fn directory_with(results: &[(&str, &ComparisonResult)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, result) in results {
        std::fs::write(directory.path().join(name), fixture::json(result)).unwrap();
    }
    directory
}

/// The program in a directory, without what could change its tables.
pub(crate) fn ringpoll(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpoll"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command.env_remove("COLUMNS").env_remove("NO_COLOR");
    command
}

/// What it printed.
pub(crate) fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

/// The same, wherever it runs.
pub(crate) fn printed_by(arguments: &[&str]) -> String {
    printed(&mut ringpoll(Path::new(env!("CARGO_TARGET_TMPDIR")), arguments))
}

/// What it complained about, with that exit code and nothing else printed.
pub(crate) fn complaint(command: &mut Command, exit_code: i32) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let complaint = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(exit_code), "{complaint}");
    assert_eq!(stdout, b"", "who fails prints nothing");
    complaint
}
