//! The program, run.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use ringpoll::report::result::ComparisonResult;
use tempfile::TempDir;

/// As short as rounds can be and still have requests in them. Nothing here depends on how fast
/// anything is.
const SHORT: [&str; 8] =
    ["--blocks", "5", "--round", "60ms", "--warm-up", "20ms", "--budget", "200s"];

/// A comparison that is about to be run.
pub(crate) struct Comparison {
    pub(crate) command: Command,
    directory: TempDir,
}

/// What came of one.
pub(crate) struct Compared {
    pub(crate) output: Output,
    json: PathBuf,
    _directory: TempDir,
}

impl Comparison {
    /// Of these arms under one connection a request, with short rounds, its result written as JSON.
    pub(crate) fn of(arms: &[&str]) -> Self {
        Self::of_loads(arms, "churn")
    }

    /// The same under these loads.
    pub(crate) fn of_loads(arms: &[&str], loads: &str) -> Self {
        Self::under_default_loads(arms).with(["--load", loads])
    }

    /// The same under the loads of those who say nothing of them.
    pub(crate) fn under_default_loads(arms: &[&str]) -> Self {
        let directory = TempDir::new().expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringpoll"));
        // No configuration file of whoever runs the tests.
        command.current_dir(directory.path()).arg("compare").args(arms).args(SHORT);
        command.arg("--json").arg(directory.path().join("result.json"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, directory }
    }

    pub(crate) fn with<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Compared {
        let output = self.command.output().expect("the program starts");
        self.ended(output)
    }

    /// What came of it, where somebody else ran it to its end.
    pub(crate) fn ended(self, output: Output) -> Compared {
        let json = self.directory.path().join("result.json");
        Compared { output, json, _directory: self.directory }
    }
}

impl Compared {
    pub(crate) fn exit_code(&self) -> i32 {
        self.output.status.code().unwrap_or(-1)
    }

    /// Standard error.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Standard output.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// The result; it must have come to one.
    pub(crate) fn result(&self) -> ComparisonResult {
        assert_eq!(self.exit_code(), 0, "{}", self.said());
        self.result_whatever_the_exit_code()
    }

    pub(crate) fn result_whatever_the_exit_code(&self) -> ComparisonResult {
        let text = std::fs::read_to_string(&self.json)
            .unwrap_or_else(|error| panic!("no result: {error}; {}", self.said()));
        serde_json::from_str(&text).expect("a result can be read again")
    }
}
