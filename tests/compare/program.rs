//! Runs `ringpoll compare`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ringpoll::result::ComparisonResult;
use tempfile::TempDir;

/// As few blocks as have intervals.
const FEW_BLOCKS: [&str; 4] = ["--blocks", "5", "--budget", "200s"];

/// The shortest rounds that contain requests, in the full form and by default. No test depends on
/// the speed of the machine.
const SHORT_ROUNDS: [[&str; 4]; 2] =
    [["--round", "60ms", "--warm-up", "20ms"], ["--round", "30ms", "--warm-up", "10ms"]];

/// A comparison that has not been started.
pub(crate) struct Comparison {
    pub(crate) command: Command,
    directory: TempDir,
}

/// A comparison that has finished.
pub(crate) struct Finished {
    pub(crate) output: Output,
    json: PathBuf,
    _directory: TempDir,
}

impl Comparison {
    /// Compares these arms under the load churn, with short rounds; the result is written as JSON.
    pub(crate) fn churn(arms: &[&str]) -> Self {
        Self::under_loads(arms, "churn")
    }

    /// Compares these arms under these loads.
    pub(crate) fn under_loads(arms: &[&str], loads: &str) -> Self {
        Self::under_default_loads(arms).with(["--load", loads])
    }

    /// Compares these arms under the default loads.
    pub(crate) fn under_default_loads(arms: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringpoll"));
        // The directory has no config.toml.
        command.current_dir(directory.path()).arg("compare").args(arms).args(FEW_BLOCKS);
        command.args(SHORT_ROUNDS[usize::from(!common::is_full())]);
        command.arg("--json").arg(directory.path().join("result.json"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // The program rejects variables that are no configuration key.
        command.env_remove("RINGPOLL_TESTS");
        Self { command, directory }
    }

    pub(crate) fn with<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Runs the program until it exits.
    pub(crate) fn run(mut self) -> Finished {
        let output = self.command.output().expect("the program starts");
        self.finished(output)
    }

    /// Takes the output of a program that the caller has run.
    pub(crate) fn finished(self, output: Output) -> Finished {
        let json = self.directory.path().join("result.json");
        Finished { output, json, _directory: self.directory }
    }
}

impl Finished {
    pub(crate) fn exit_code(&self) -> i32 {
        self.output.status.code().unwrap_or(-1)
    }

    /// Returns standard error.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Returns standard output.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// The path of the result.
    pub(crate) fn json(&self) -> &Path {
        &self.json
    }

    /// Returns true if the output file exists.
    pub(crate) fn has_json(&self) -> bool {
        self.json.exists()
    }

    /// Returns the result of a comparison that exited with 0.
    pub(crate) fn result(&self) -> ComparisonResult {
        assert_eq!(self.exit_code(), 0, "{}", self.stderr());
        self.result_at_any_exit_code()
    }

    pub(crate) fn result_at_any_exit_code(&self) -> ComparisonResult {
        let text = std::fs::read_to_string(&self.json)
            .unwrap_or_else(|error| panic!("no result: {error}; {}", self.stderr()));
        serde_json::from_str(&text).expect("the result is valid")
    }
}
