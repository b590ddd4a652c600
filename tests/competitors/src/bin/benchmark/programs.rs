//! Builds the measured programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The paths of the measured programs.
pub(crate) struct Programs {
    pub(crate) ringpoll: PathBuf,
    competitors: BTreeMap<String, PathBuf>,
    /// The reason if nginx is unavailable.
    pub(crate) no_nginx: Option<String>,
    /// For the files of nginx.
    directory: TempDir,
}

impl Programs {
    /// Builds the competitors, and ringpoll unless it is given.
    ///
    /// # Errors
    /// If cargo fails.
    pub(crate) fn build(ringpoll: Option<PathBuf>) -> Result<Self, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let competitors = cargo(&here.join("Cargo.toml"), &["--bins"])?;
        let ringpoll = match ringpoll {
            Some(file) => file,
            None => {
                let built = cargo(&here.join("../../Cargo.toml"), &["--bin", "ringpoll"])?;
                built.get("ringpoll").cloned().ok_or("cargo did not build ringpoll")?
            }
        };
        let nginx = Command::new("nginx").arg("-v").stderr(Stdio::null()).status();
        let no_nginx = nginx.is_err().then(|| "nginx is not installed".to_owned());
        let directory = TempDir::new().map_err(|error| format!("a directory: {error}"))?;
        Ok(Self { ringpoll, competitors, no_nginx, directory })
    }

    /// Returns the path of a competitor.
    pub(crate) fn competitor(&self, name: &str) -> &Path {
        &self.competitors[name]
    }

    /// Returns the command line of a competitor: program, `{port}` and flags.
    pub(crate) fn command(&self, name: &str, flags: &[&str]) -> Vec<String> {
        let program = self.competitor(name).display().to_string();
        let mut arguments = vec![program, "{port}".to_owned()];
        arguments.extend(flags.iter().map(|&flag| flag.to_owned()));
        if name == "nginx_server" {
            arguments
                .extend(["--directory".to_owned(), self.directory.path().display().to_string()]);
        }
        arguments
    }
}

/// Builds targets and returns the paths of their executables by name.
fn cargo(manifest: &Path, targets: &[&str]) -> Result<BTreeMap<String, PathBuf>, String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(["build", "--release", "--locked", "--message-format", "json-render-diagnostics"])
        .args(targets)
        .arg("--manifest-path")
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo build of {}: {}", manifest.display(), output.status));
    }
    let artifact = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let file = message["executable"].as_str()?;
        Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(file)))
    };
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(artifact).collect())
}
