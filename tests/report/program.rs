//! Runs of the program.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use ringpoll::result::ComparisonResult;
use tempfile::TempDir;

use crate::fixture;

/// Creates a directory with these result files.
pub(crate) fn directory_with(results: &[(&str, &ComparisonResult)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, result) in results {
        std::fs::write(directory.path().join(name), fixture::json(result)).unwrap();
    }
    directory
}

/// Returns a command in a directory, without environment variables that change tables.
pub(crate) fn ringpoll(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpoll"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command.env_remove("COLUMNS").env_remove("NO_COLOR");
    command
}

/// Returns standard output after success. Standard error must be empty.
pub(crate) fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns standard output of a run without files.
pub(crate) fn output_of_arguments(arguments: &[&str]) -> String {
    output_of(&mut ringpoll(Path::new(env!("CARGO_TARGET_TMPDIR")), arguments))
}

/// Returns standard error after a failure. Standard output must be empty.
pub(crate) fn error_output(command: &mut Command, exit_code: i32) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let error = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(exit_code), "{error}");
    assert_eq!(stdout, b"", "standard output after a failure");
    error
}
