//! What runs in a guest: this project's own programs, linked statically, since a guest has no
//! libraries. They are built in a directory of their own, beside the ordinary ones.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The programs, and where the tests expect to find what they need.
pub(crate) struct Payload {
    /// The program as it is released.
    pub(crate) ringpoll: PathBuf,
    pub(crate) conformance: PathBuf,
    pub(crate) backends: PathBuf,
    /// This program, as the one that does the work in the guest.
    pub(crate) agent: PathBuf,
    /// Where the tests have been compiled to look for the program.
    pub(crate) ringpoll_expected_at: PathBuf,
    /// Their working directory (CARGO_TARGET_TMPDIR).
    pub(crate) working_directory: PathBuf,
}

/// Builds all of them. Nothing is done where nothing has changed.
pub(crate) fn build(directory: &Path) -> Result<Payload, String> {
    let release = cargo(directory, &["build", "--release", "-p", "ringpoll", "--bin", "ringpoll"])?;
    let tests = cargo(
        directory,
        &["test", "--no-run", "-p", "ringpoll", "--test", "conformance", "--test", "kernels"],
    )?;
    let backends = cargo(directory, &["test", "--no-run", "-p", "ringpoll-backends", "--lib"])?;
    let find = |artifacts: &[Artifact], name: &str, is_test: bool| {
        let mut found = artifacts.iter().filter(|it| it.name == name && it.is_test == is_test);
        let first = found.next().map(|it| it.executable.clone());
        first.ok_or_else(|| format!("cargo has built no {name}"))
    };
    Ok(Payload {
        ringpoll: find(&release, "ringpoll", false)?,
        conformance: find(&tests, "conformance", true)?,
        backends: find(&backends, "ringpoll_backends", true)?,
        agent: find(&tests, "kernels", true)?,
        ringpoll_expected_at: find(&tests, "ringpoll", false)?,
        working_directory: directory.join("tmp"),
    })
}

struct Artifact {
    name: String,
    is_test: bool,
    executable: PathBuf,
}

fn cargo(directory: &Path, arguments: &[&str]) -> Result<Vec<Artifact>, String> {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // What else is asked of the compiler stays; this is added.
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let output = Command::new(program)
        .args(arguments)
        .args(["--locked", "--target", TARGET, "--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(directory)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("RUSTFLAGS", format!("{flags} -C target-feature=+crt-static"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // A guest has them in memory.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo {}: {}", arguments.join(" "), output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    Ok(messages.filter_map(|message: Value| artifact(&message)).collect())
}

fn artifact(message: &Value) -> Option<Artifact> {
    Some(Artifact {
        name: message["target"]["name"].as_str()?.to_owned(),
        is_test: message["profile"]["test"].as_bool()?,
        executable: message["executable"].as_str()?.into(),
    })
}

/// The compiler that builds them, as it names itself.
pub(crate) fn compiler() -> String {
    let program = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(program).arg("--version").output();
    output.map_or_else(
        |error| format!("rustc: {error}"),
        |it| String::from_utf8_lossy(&it.stdout).trim().to_owned(),
    )
}
