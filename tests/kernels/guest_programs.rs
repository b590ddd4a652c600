//! Builds the programs for guests in a separate target directory, linked statically: a guest has
//! no libraries.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The programs of an initramfs.
pub(crate) struct GuestPrograms {
    /// A release build.
    pub(crate) ringpoll: PathBuf,
    pub(crate) conformance: PathBuf,
    pub(crate) backends: PathBuf,
    pub(crate) io_uring_faults: PathBuf,
    /// This program, which executes the work in a guest.
    pub(crate) agent: PathBuf,
}

/// Builds all programs.
pub(crate) fn build(directory: &Path) -> Result<GuestPrograms, String> {
    let release = cargo(directory, &["build", "--release", "-p", "ringpoll", "--bin", "ringpoll"])?;
    let suites = ["conformance", "io_uring_faults", "kernels"].map(|suite| ["--test", suite]);
    let arguments = ["test", "--no-run", "-p", "ringpoll"];
    let tests = cargo(directory, &[&arguments[..], suites.as_flattened()].concat())?;
    let backends = cargo(directory, &["test", "--no-run", "-p", "ringpoll-backends", "--lib"])?;
    let find = |artifacts: &[Artifact], name: &str, is_test: bool| {
        let mut found = artifacts.iter().filter(|it| it.name == name && it.is_test == is_test);
        let first = found.next().map(|it| it.executable.clone());
        first.ok_or_else(|| format!("cargo did not build {name}"))
    };
    Ok(GuestPrograms {
        ringpoll: find(&release, "ringpoll", false)?,
        conformance: find(&tests, "conformance", true)?,
        backends: find(&backends, "ringpoll_backends", true)?,
        io_uring_faults: find(&tests, "io_uring_faults", true)?,
        agent: find(&tests, "kernels", true)?,
    })
}

struct Artifact {
    name: String,
    is_test: bool,
    executable: PathBuf,
}

fn cargo(directory: &Path, arguments: &[&str]) -> Result<Vec<Artifact>, String> {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let output = Command::new(program)
        .args(arguments)
        .args(["--locked", "--target", TARGET, "--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(directory)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("RUSTFLAGS", format!("{flags} -C target-feature=+crt-static"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // The programs are in the memory of a guest.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        // Emulation makes a guest about 20 times slower; assertions stay.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
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

/// Returns `rustc --version` of the compiler.
pub(crate) fn compiler() -> String {
    let program = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(program).arg("--version").output();
    output.map_or_else(
        |error| format!("rustc: {error}"),
        |it| String::from_utf8_lossy(&it.stdout).trim().to_owned(),
    )
}
